"""Values of the build's flags: outputs, caches, secrets, agents, contexts, attestations."""

from __future__ import annotations

import os

from firkin.cli import errors
from firkin.cli.opts import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SECRET_LIMIT = 500 << 10
OUTPUTS = ("cacheonly", "docker", "image", "local", "oci", "registry", "tar")


def fields(value: str) -> dict[str, str]:
    """``key=value,...`` as a dict; a key alone is "true"."""
    found: dict[str, str] = {}
    for field in text.fields(value):
        key, equals, rest = field.partition("=")
        found[key.strip().lower()] = rest if equals else "true"
    return found


def output(value: str) -> dict[str, str]:
    """``type=TYPE,dest=PATH,...``, or a directory, or ``-`` for a tar on standard output."""
    if value == "-":
        return {"type": "tar", "dest": "-"}
    if "=" not in value:
        return {"type": "local", "dest": value}
    found = fields(value)
    kind = found.get("type")
    if kind not in OUTPUTS:
        raise ValueError(f"type is required and one of {', '.join(OUTPUTS)}")
    if kind in ("local", "tar", "oci") and not found.get("dest"):
        if kind == "local":
            raise ValueError("dest is required for the local output: the directory to write to")
        found["dest"] = "-"
    return found


def cache(value: str) -> dict[str, str]:
    """``type=registry|local|inline,...``, or a name alone for a registry's."""
    if "=" not in value:
        return {"type": "registry", "ref": value}
    found = fields(value)
    if found.get("type") not in ("registry", "local", "inline"):
        raise ValueError("type is registry, local or inline")
    return found


def secret(value: str) -> tuple[str, bytes]:
    """``id=ID[,src=FILE|,env=NAME][,type=file|env]``: the secret's id and content."""
    found = fields(value)
    source = found.get("src") or found.get("source") or ""
    identity = found.get("id") or source
    kind = found.get("type", "")
    variable = found.get("env", "")
    if not identity:
        raise ValueError("a secret needs an id")
    if kind == "env" and not variable:
        variable, source = source or identity, ""
    if not source and not variable and identity in os.environ and kind != "file":
        variable = identity
    if variable:
        if variable not in os.environ:
            raise ValueError(f"secret {identity}: the environment variable {variable} is not set")
        return identity, os.environ[variable].encode("utf-8", "surrogateescape")
    try:
        with open(source or identity, "rb") as file:
            data = file.read(_SECRET_LIMIT + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"secret {identity}: open {source or identity}: {reason}") from None
    if len(data) > _SECRET_LIMIT:
        raise ValueError(f"secret {identity}: larger than {_SECRET_LIMIT >> 10} KB")
    return identity, data


def agent(value: str) -> tuple[str, str]:
    """``default|ID[=SOCKET]``: an agent's id and the socket where it answers."""
    identity, _, path = value.partition("=")
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise ValueError("no agent: SSH_AUTH_SOCK is not set, or give its socket as ID=SOCKET")
    return identity or "default", os.path.abspath(path)


def named_context(value: str) -> tuple[str, str]:
    """``name=SOURCE``."""
    name, equals, source = value.partition("=")
    if not equals or not name or not source:
        raise ValueError(
            "write NAME=PATH, NAME=docker-image://REF, NAME=oci-layout://PATH[:TAG][@DIGEST], "
            "NAME=build:PATH[,file=FILE][,target=STAGE][,arg=NAME=VALUE] or NAME=URL"
        )
    return name, source


def layout(source: str) -> tuple[str, str, str]:
    """``PATH[:TAG][@DIGEST]``: the directory, the tag and the digest of an image in it."""
    path, _, digest = source.partition("@")
    tag = ""
    if not os.path.isdir(path) and ":" in path:
        path, _, tag = path.rpartition(":")
    return path, tag, digest


def nested(source: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """``PATH[,file=FILE][,target=STAGE][,arg=NAME=VALUE]``: another build's directory, its settings
    and its build arguments. Raises ``ValueError``."""
    path, *rest = text.fields(source)
    settings: dict[str, str] = {}
    args: dict[str, str] = {}
    for field in rest:
        key, _, value = field.partition("=")
        if key == "arg":
            name, equals, given = value.partition("=")
            args[name] = given if equals else os.environ.get(name, "")
        elif key in ("file", "target") and value:
            settings[key] = value
        else:
            raise ValueError(f"a build as a context has file=, target= and arg=, not {field!r}")
    return path, settings, args


def attestation(value: str) -> tuple[str, str]:
    """``type=sbom|provenance[,mode=max|min][,disabled=true]``: the type and its settings."""
    found = fields(value)
    kind = found.pop("type", "")
    if kind not in ("sbom", "provenance"):
        raise ValueError("type is sbom or provenance")
    if found.get("disabled") == "true":
        return kind, ""
    return kind, found.get("mode", "min")


def extract(stream: Any, target: str) -> None:
    """Write the files of a tar into a directory, following none of its links."""
    import stat
    import tarfile

    os.makedirs(target, exist_ok=True)

    def place(name: str) -> str:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise errors.CliError(f"the result has a file outside of it: {name!r}")
        path = target
        for part in parts[:-1]:
            path = os.path.join(path, part)
            if os.path.islink(path):
                os.unlink(path)
            os.makedirs(path, exist_ok=True)
        return os.path.join(path, parts[-1]) if parts else path

    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            path = place(member.name)
            if member.isdir():
                if os.path.islink(path):
                    os.unlink(path)
                os.makedirs(path, exist_ok=True)
                os.chmod(path, member.mode | stat.S_IRWXU)
                continue
            if os.path.lexists(path) and not os.path.isdir(path):
                os.unlink(path)
            if member.issym():
                os.symlink(member.linkname, path)
            elif member.islnk():
                os.link(place(member.linkname), path, follow_symlinks=False)
            elif member.isreg():
                source = tar.extractfile(member)
                assert source is not None
                with open(path, "wb") as file:
                    while data := source.read(1 << 20):
                        file.write(data)
                os.chmod(path, member.mode & 0o7777)
                os.utime(path, (member.mtime, member.mtime))


def image_name(value: str) -> str:
    """An image's name, for ``--tag``. Raises ``ValueError``."""
    if not _plain(value):
        from firkin import errdefs, reference

        try:
            reference.parse(value)
        except errdefs.InvalidParameter as error:
            raise ValueError(str(error)) from None
    return value


def _plain(value: str) -> bool:
    """Whether a name is right at first sight: the grammar takes longer to import than a build."""
    name, colon, tag = value.partition(":")
    words = [*name.split("/"), *(tag.split(".") if colon else ())]
    return (
        len(value) < 64
        and value.isascii()
        and value.lower() == value
        and all(word.isalnum() for word in words)
    )
