"""Image names: the reference grammar of the distribution project, and Docker's familiar forms.

::

    reference   name [":" tag] ["@" digest]
    name        [domain "/"] component *["/" component]
    domain      host [":" port]; only when it has a "." or ":", is "localhost" or has a capital
    component   lower-case letters and digits, joined by ".", "_", "__" or dashes
    tag         a word character, then up to 127 of word characters, "." and "-"
    digest      algorithm ":" hex

The *canonical* form names everything: ``docker.io/library/busybox:latest``. The *familiar* form
leaves out what users leave out: ``busybox:latest``. The engine stores canonical names only and
shows familiar ones. Whether a text is rather an image's (short) id is for the image service to say.

Source of the rules: the distribution project's reference package and the OCI distribution-spec.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from firkin import errdefs

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_MAX_NAME = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-f]{32,}")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_HEX64 = re.compile(r"[0-9a-f]{64}")


class Reference(NamedTuple):
    """A name of an image, normalised. ``tag`` and ``digest`` are "" when not given."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The repository, canonical: ``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as users write it: ``busybox``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(_OFFICIAL)
        # "library/a/b" cannot be shortened: "a/b" is another repository.
        return self.path if "/" in rest else rest

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def familiar(self) -> str:
        """The whole reference as users write it: ``busybox:latest``."""
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def tagged(self) -> Reference:
        """The same with the default tag when it has neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return Reference(self.domain, self.path, DEFAULT_TAG)


def _invalid(text: str, why: str) -> errdefs.InvalidParameter:
    shown = text if len(text) <= 300 else text[:300] + "..."
    return errdefs.InvalidParameter(f"invalid reference format: {why} (in {shown!r})")


def is_domain(text: str) -> bool:
    """Whether ``text`` can be a registry's host[:port]."""
    return _DOMAIN.fullmatch(text) is not None


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    explicit = "." in first or ":" in first or first == "localhost" or first.lower() != first
    domain, path = (first, rest) if slash and explicit else (DEFAULT_DOMAIN, name)
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _OFFICIAL + path
    return domain, path


def parse(text: str) -> Reference:
    """Parse and normalise ``text``; no default tag is added (see :meth:`Reference.tagged`).

    Raises ``InvalidParameter`` that begins with "invalid reference format" and names the fault.
    """
    if _HEX64.fullmatch(text):
        raise errdefs.InvalidParameter(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings: "
            "write an image id as sha256:<hex>"
        )
    if not text:
        raise _invalid(text, "the name is empty")
    name, at, digest = text.partition("@")
    if at:
        validate_digest(digest, text)
    tag = ""
    colon = name.rfind(":")
    if colon > name.rfind("/"):
        name, tag = name[:colon], name[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise _invalid(text, f"the tag {tag[:150]!r} may have letters, digits, '_', '.', '-'")
    domain, path = _split_domain(name)
    if not _DOMAIN.fullmatch(domain):
        raise _invalid(text, f"{domain!r} is not a registry's host[:port]")
    if not _PATH.fullmatch(path):
        if path.lower() != path:
            raise _invalid(text, f"repository name ({path}) must be lowercase")
        raise _invalid(text, f"{name!r} is not a repository name")
    if len(domain) + 1 + len(path) > _MAX_NAME:
        raise _invalid(text, f"repository name must not be more than {_MAX_NAME} characters")
    return Reference(domain, path, tag, digest)


def combine(repository: str, tag: str = "") -> Reference:
    """The reference that an API call's ``repo`` and ``tag`` parameters mean together.

    A tag inside ``repository`` counts when ``tag`` is empty; a digest is refused, because a digest
    is a property of the content and cannot be given to it.
    """
    parsed = parse(repository)
    if parsed.digest:
        raise errdefs.InvalidParameter(
            f"cannot tag an image with the digest reference {repository!r}: give repository[:tag]"
        )
    if not tag:
        return parsed.tagged()
    if not _TAG.fullmatch(tag):
        raise _invalid(f"{repository}:{tag}", f"{tag[:150]!r} is not a tag")
    return Reference(parsed.domain, parsed.path, tag)


def validate_digest(digest: str, context: str = "") -> str:
    """Return ``digest`` when it is well formed, with sha256 of exactly 64 hex digits."""
    good = _SHA256 if digest.startswith("sha256:") else _DIGEST
    if not good.fullmatch(digest):
        raise _invalid(context or digest, f"{digest[:150]!r} is not a digest")
    return digest


def is_sha256(digest: str) -> bool:
    """Whether ``digest`` is "sha256:" and 64 lower-case hex digits, and so safe as a file name."""
    return _SHA256.fullmatch(digest) is not None
