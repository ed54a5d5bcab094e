"""Why a step was not in the cache: what of its key is other than the last time."""

from __future__ import annotations

from typing import Any

import msgspec

from firkin.builder import cache, graph

_FILES = 5000
_SHOWN = 5


def parts(vertex: graph.Vertex, key: dict[str, Any], files: dict[str, str]) -> dict[str, Any]:
    """What to remember of a step's key; values of variables only as digests."""
    op = vertex.op
    found: dict[str, Any] = {"step": vertex.name.partition("] ")[2] or vertex.name}
    if isinstance(op, graph.Run):
        found["command"] = op.args
        found["env"] = {
            name: cache.key_of(value)[:16]
            for name, _, value in (item.partition("=") for item in op.env)
        }
        rest = msgspec.to_builtins(op)
        found["options"] = cache.key_of(
            {name: rest[name] for name in ("mounts", "network", "security", "user", "cwd")}
        )
    else:
        found["options"] = cache.key_of(key["op"])
    found["inputs"] = key["inputs"]
    if len(files) <= _FILES:
        found["files"] = files
    found["digests"] = key["files"]
    return found


def compare(before: dict[str, Any] | None, now: dict[str, Any]) -> str:
    """The difference in words; "" when there is none."""
    if before is None:
        return "it was not built here before"
    reasons: list[str] = []
    if before.get("command") != now.get("command") or (
        "command" not in now and before.get("step") != now.get("step")
    ):
        reasons.append(f"the instruction was: {before.get('step', '')}")
    reasons += _variables(before.get("env") or {}, now.get("env") or {})
    if before.get("digests") != now.get("digests"):
        reasons.append(_files(before.get("files"), now.get("files")))
    if not reasons and before.get("options") != now.get("options"):
        reasons.append("its options or mounts have changed")
    if not reasons and before.get("inputs") != now.get("inputs"):
        reasons.append("a step or image that it depends on has changed")
    return "; ".join(reasons) or "its result is no longer in the cache"


def _variables(before: dict[str, str], now: dict[str, str]) -> list[str]:
    changed = sorted(
        name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
    )
    if not changed:
        return []
    return [f"variable {', '.join(changed[:_SHOWN])} has changed"]


def _files(before: dict[str, str] | None, now: dict[str, str] | None) -> str:
    if before is None or now is None:
        return "files have changed"
    kinds = {
        "changed": [path for path, digest in now.items() if before.get(path, digest) != digest],
        "added": [path for path in now if path not in before],
        "removed": [path for path in before if path not in now],
    }
    said = []
    for kind, paths in kinds.items():
        # A directory is there only when nothing below it says more.
        shown = sorted(paths)
        if shown:
            more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
            said.append(f"{kind}: {', '.join(shown[:_SHOWN])}{more}")
    return "files " + "; ".join(said) if said else "files have changed"
