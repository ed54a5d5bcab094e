"""A context as one file, to carry it to another machine: the tar archive of Docker's client.

``meta.json`` at the top, TLS files as ``tls/docker/NAME``. What is imported comes from strangers:
only regular files of these names are read, each with a limit, and nothing is unpacked to a path
that the archive names. A zip file with the same members is accepted too.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

from firkin.cli import contextstore, errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from firkin.cli.contextstore import Meta

META = "meta.json"
_TLS = f"tls/{contextstore.ENDPOINT}/"
_LIMIT = 10 << 20


def pack(meta: Meta, tls: dict[str, bytes]) -> bytes:
    """The archive of a context."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        text = json.dumps(meta, separators=(",", ":"), ensure_ascii=False).encode()
        _add(archive, META, text, 0o644)
        _add(archive, "tls", None, 0o700)
        if tls:
            _add(archive, _TLS.rstrip("/"), None, 0o700)
        for name, content in tls.items():
            _add(archive, _TLS + name, content, 0o600)
    return out.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes | None, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    if content is None:
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    else:
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def unpack(data: bytes, name: str) -> tuple[Meta, dict[str, bytes]]:
    """The metadata, renamed to ``name``, and the TLS files. Raises CliError."""
    meta: Meta | None = None
    tls: dict[str, bytes] = {}
    try:
        for member, content in _zip(data) if data[:4] == b"PK\x03\x04" else _tar(data):
            if member == META:
                meta = json.loads(content)
            elif member.startswith(_TLS):
                file = member[len(_TLS) :]
                if file not in contextstore.TLS_FILES:
                    raise errors.CliError(
                        f"the archive has an unexpected TLS file: {member[:80]!r}"
                    )
                tls[file] = content
            elif member.startswith("tls/"):
                continue  # Another kind of endpoint, of no use here.
            else:
                raise errors.CliError(f"unexpected context file: {member[:80]!r}")
    except (tarfile.TarError, zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise errors.CliError(f"this is no archive of a context: {error}") from None
    if not isinstance(meta, dict) or not isinstance(meta.get("Endpoints", {}), dict):
        raise errors.CliError(f"this is no archive of a context: {META} is missing or damaged")
    meta["Name"] = name
    return meta, tls


def _tar(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a tar archive. Docker's client ends it with its last byte of content."""
    padded = data + bytes(-len(data) % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
    with tarfile.open(fileobj=io.BytesIO(padded), mode="r:") as archive:
        for entry in archive:
            if entry.isdir():
                continue
            if not entry.isfile():
                raise ValueError(f"{entry.name[:80]!r} is neither a file nor a directory")
            if entry.size > _LIMIT:
                raise ValueError(f"{entry.name[:80]!r} is too large")
            if entry.offset_data + entry.size > len(data):
                raise ValueError(f"{entry.name[:80]!r} is cut off")
            file = archive.extractfile(entry)
            yield entry.name, file.read(_LIMIT) if file else b""


def _zip(data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            with archive.open(entry) as file:
                content = file.read(_LIMIT + 1)
            if len(content) > _LIMIT:
                raise ValueError(f"{entry.filename[:80]!r} is too large")
            yield entry.filename, content
