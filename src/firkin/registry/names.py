"""The distribution-spec's grammar of repository names, tags and digests.

Names, tags and digests come from strangers and end in paths, keys and headers: everything enters
through one of the functions here, which raise the spec's error for what does not fit.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from firkin.registry import errors

if TYPE_CHECKING:
    from hashlib import _Hash

NAME_LIMIT = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_HEX = re.compile(r"[0-9a-f]+")
_DIGITS = {"sha256": 64, "sha512": 128}

ALGORITHMS = tuple(_DIGITS)
"""The digest algorithms of the image-spec; both are verified and stored."""

CANONICAL = "sha256"


def is_name(text: str) -> bool:
    """Whether ``text`` may be a repository's name."""
    return len(text) <= NAME_LIMIT and _NAME.fullmatch(text) is not None


def name(text: str) -> str:
    """A repository's name, or ``NAME_INVALID``."""
    if not is_name(text):
        raise errors.Failure(
            "NAME_INVALID",
            f"{text[:300]!r} is not a repository name: lower-case letters and digits, joined by "
            f"'.', '_', '__' or dashes, in parts joined by '/', {NAME_LIMIT} characters at most",
        )
    return text


def is_tag(text: str) -> bool:
    """Whether ``text`` may be a tag."""
    return _TAG.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether ``text`` is a digest of an algorithm that is served, and so safe in a path."""
    algorithm, _, digits = text.partition(":")
    return len(digits) == _DIGITS.get(algorithm, -1) and _HEX.fullmatch(digits) is not None


def digest(text: str) -> str:
    """A digest of a supported algorithm, or ``DIGEST_INVALID``."""
    if not is_digest(text):
        known = " or ".join(f"{a}:<{n} hex digits>" for a, n in _DIGITS.items())
        raise errors.Failure("DIGEST_INVALID", f"{text[:200]!r} is not a digest: expected {known}")
    return text


def reference(text: str) -> str:
    """A tag or a digest: what stands for a manifest in a URL."""
    if is_tag(text) or is_digest(text):
        return text
    if ":" in text:
        return digest(text)
    raise errors.Failure(
        "TAG_INVALID",
        f"{text[:200]!r} is neither a tag (a word character, then up to 127 of letters, digits, "
        "'_', '.' and '-') nor a digest",
    )


def algorithm(text: str) -> str:
    """A digest algorithm, or ``DIGEST_INVALID``."""
    if text not in _DIGITS:
        raise errors.Failure(
            "DIGEST_INVALID",
            f"digest algorithm {text[:50]!r} is not supported: use " + " or ".join(_DIGITS),
        )
    return text


def hasher(wanted: str) -> _Hash:
    """A new hash object of a supported algorithm."""
    return hashlib.new(algorithm(wanted))


def digest_of(data: bytes, wanted: str = CANONICAL) -> str:
    """The digest of ``data``."""
    return f"{wanted}:{hashlib.new(wanted, data).hexdigest()}"
