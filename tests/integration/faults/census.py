"""Counting what an engine has on the host, to see that nothing stays."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from pathlib import Path

from rig import Engine

Census = dict[str, set[str]]

_KEYS = {
    "containers": "id",
    "endpoints": "container",
    "volumes": "name",
    "snapshots": "key",
    "images": "id",
}
_ID = re.compile(r"[0-9a-f]{64}")


def _words(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def _cgroups(engine: Engine) -> set[str]:
    root = Path("/sys/fs/cgroup")
    found: set[Path] = set()
    for pattern in ("*/firkin/*", "*/*/firkin/*", "firkin/*", "*.slice/firkin-*.scope"):
        found.update(path for path in root.glob(pattern) if _ID.search(path.name))
    others = _watched_by_others(engine)
    return {str(path) for path in found if _ID.findall(path.name)[-1] not in others}


def _watched_by_others(engine: Engine) -> set[str]:
    """Ids of the containers of other engines on this host."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"conmon") and str(engine.directory).encode() not in b" ".join(
                words
            ):
                found.add(words[words.index(b"--cid") + 1].decode())
    return found


def _published(engine: Engine) -> set[str]:
    listing = json.loads(_words("nft", "-j", "list", "table", "inet", engine.table()) or "{}")
    return {
        json.dumps(element)
        for item in listing.get("nftables", [])
        if "map" in item
        for element in item["map"].get("elem", [])
    }


def _rows(engine: Engine) -> set[str]:
    with engine.database() as database:
        return {
            f"{table} {row[0]}"
            for table, column in _KEYS.items()
            for row in database.execute(f"SELECT {column} FROM {table}")
        }


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def take(engine: Engine) -> Census:
    """Everything of this engine by kind. Prepared network namespaces and their wires are no leak
    but have to be as many as each other, and not more than the engine keeps."""
    namespaces = _names(engine.exec / "netns")
    wires = {line.split()[1].split("@")[0] for line in
             _words("ip", "-o", "link", "show", "master", engine.bridge).splitlines()}  # fmt: skip
    return {
        "mounts": set(engine.mounts(engine.exec / "containers")) | set(engine.mounts(engine.data)),
        "processes": {str(pid) for pid in engine.processes()},
        "bundles": _names(engine.exec / "containers"),
        "homes": _names(engine.data / "containers"),
        "snapshots": _names(engine.data / "snapshots"),
        "blobs": _names(engine.data / "content/blobs/sha256"),
        "ingests": _names(engine.data / "content/ingest"),
        "volumes": _names(engine.data / "volumes"),
        "rows": _rows(engine),
        "cgroups": _cgroups(engine),
        "published": _published(engine),
        "runtime state": {
            str(path) for path in (engine.exec / "runtimes").glob("*/*") if _ID.search(path.name)
        },
        "namespaces without a wire": {f"{len(namespaces)} and {len(wires)}"}
        if len(namespaces) != len(wires) or len(namespaces) > 4
        else set(),
    }


def settle(engine: Engine, expected: Census, seconds: float = 30.0) -> Census:
    """Wait until the engine has exactly what is expected; returns what differs in the end.

    ``{}`` is what a test wants. Removal answers before helpers have ended, hence the waiting.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = take(engine)
        different = {}
        for kind, names in found.items():
            missing = {f"missing {name}" for name in expected[kind] - names}
            if kind == "cgroups":  # those of engines before this one may go meanwhile
                missing = set()
            if wrong := (names - expected[kind]) | missing:
                different[kind] = wrong
        if not different or time.monotonic() > deadline:
            return different
        time.sleep(0.2)
