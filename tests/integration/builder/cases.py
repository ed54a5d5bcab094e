"""The corpus: Dockerfiles with their contexts and what must come out of them.

A case is one text file of parts, each begun by a line ``-- NAME --``: ``Dockerfile``, files of the
context (``PATH``; ``PATH -> TARGET`` for a symbolic link, ``PATH 0755`` for a mode), ``options``
(JSON: query parameters of the build) and ``expect`` (JSON): members of the image's ``config``,
``files`` of its file system, ``layers``, ``log`` or an ``error``.

A file is expected as its text, or as ``[mode, uid, gid, text]`` with null for what does not matter;
null means that there is none; ``"dir"``, ``"link:TARGET"``.
"""

from __future__ import annotations

import io
import json
import stat
import tarfile
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"


class Case:
    """One file of the corpus."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.parts: dict[str, str] = {}
        name = ""
        lines: list[str] = []
        for line in [*path.read_text().splitlines(), "-- end --"]:
            if line.startswith("-- ") and line.endswith(" --"):
                if name:
                    self.parts[name] = "".join(f"{one}\n" for one in lines)
                name, lines = line[3:-3].strip(), []
            else:
                lines.append(line)
        self.expect: dict[str, Any] = json.loads(self.parts.get("expect", "{}"))
        self.options: dict[str, Any] = json.loads(self.parts.get("options", "{}"))

    def context(self) -> bytes:
        """The context as a tar."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, text in self.parts.items():
                if name in ("options", "expect", "end"):
                    continue
                words = name.split(" ")
                info = tarfile.TarInfo(words[0].removeprefix("context/"))
                info.mtime, info.mode = 1_600_000_000, 0o644
                data = text.encode()
                if len(words) == 3 and words[1] == "->":
                    info.type, info.linkname, data = tarfile.SYMTYPE, words[2], b""
                elif len(words) == 2:
                    info.mode = int(words[1], 8)
                if info.name.endswith("/"):
                    info.type, data = tarfile.DIRTYPE, b""
                    info.mode = 0o755 if len(words) == 1 else info.mode
                if info.name.endswith(".tar") and not text.startswith("raw:"):
                    data = archive(json.loads(text))
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()


def archive(files: dict[str, Any]) -> bytes:
    """A tar with these files: name to text, or ``[mode, uid, gid, text]``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, value in files.items():
            mode, uid, gid, text = value if isinstance(value, list) else (0o644, 0, 0, value)
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = mode, uid, gid, 1_500_000_000
            data = text.encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def every() -> list[Case]:
    return [Case(path) for path in sorted(CORPUS.glob("*.txt"))]


def files_of(saved: bytes) -> dict[str, tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]]:
    """The file system of the image in a saved archive: path to its entry and content."""
    found: dict[str, Any] = {}
    with tarfile.open(fileobj=io.BytesIO(saved)) as outer:

        def read(name: str) -> bytes:
            member = outer.extractfile(name)
            assert member is not None
            return member.read()

        manifest = json.loads(read("manifest.json"))[0]
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(read(layer))) as tar:
                apply(tar, found)
    return found


def apply(tar: tarfile.TarFile, found: dict[str, Any]) -> None:
    """One layer on top of what is there (image-spec, whiteouts)."""
    for member in tar:
        path = member.name.removeprefix("./").strip("/")
        if path == ".":
            continue
        parent, _, base = path.rpartition("/")
        if base.startswith(".wh."):
            hidden = f"{parent}/{base[4:]}".strip("/")
            prefix = f"{parent}/" if base == ".wh..wh..opq" else f"{hidden}/"
            for name in [n for n in found if n == hidden or n.startswith(prefix)]:
                del found[name]
            continue
        file = tar.extractfile(member) if member.isreg() else None
        if not member.isdir():
            for name in [n for n in found if n.startswith(f"{path}/")]:
                del found[name]
        content = file.read() if file is not None else b""
        if member.islnk():
            target = found[member.linkname.removeprefix("./").strip("/")]
            found[path] = target
            continue
        found[path] = (member, content)


def matches(files: dict[str, Any], path: str, wanted: Any) -> str:
    """What is wrong with a file; "" when it is as expected."""
    there = files.get(path.strip("/"))
    if wanted is None:
        return "" if there is None else f"{path} is there"
    if there is None:
        return f"{path} is not there; there are {sorted(f for f in files if '/' not in f)}"
    entry, content = there
    if wanted == "dir":
        return "" if entry.isdir() else f"{path} is no directory"
    if isinstance(wanted, str) and wanted.startswith("link:"):
        good = entry.issym() and entry.linkname == wanted[5:]
        return "" if good else f"{path} is not {wanted}: {entry.linkname!r}"
    mode, uid, gid, text = wanted if isinstance(wanted, list) else (None, None, None, wanted)
    if mode is not None and stat.S_IMODE(entry.mode) != int(mode, 8):
        return f"{path} has the mode {entry.mode:o}, not {mode}"
    if uid is not None and (entry.uid, entry.gid) != (uid, gid):
        return f"{path} belongs to {entry.uid}:{entry.gid}, not {uid}:{gid}"
    if text is not None and content.decode() != text:
        return f"{path} has {content.decode()!r}, not {text!r}"
    return ""
