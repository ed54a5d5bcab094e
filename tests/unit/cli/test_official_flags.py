"""Every command and flag of the official client is here too, or named as still to come."""

from __future__ import annotations

import json
import pathlib

import pytest

from firkin.cli import registry

RECORDED: dict[str, dict[str, list[str]]] = json.loads(
    (pathlib.Path(__file__).parent / "data" / "flags_recorded.json").read_text()
)

LATER = {
    "checkpoint", "config", "node", "plugin",
    "service", "stack", "swarm", "trust", "volume update",
}  # fmt: skip
"""Commands, or groups of them, that come with the parts of the engine that they are for."""

LATER_FLAGS = {
    "disable-content-trust": "content trust is gone from Docker too",
    "kernel-memory": "gone from Docker and from the kernel",
}
CLUSTER_VOLUMES = {
    "availability", "group", "limit-bytes", "required-bytes", "scope", "secret", "sharing",
    "topology-preferred", "topology-required", "type", "cluster",
}  # fmt: skip


def later(path: str) -> bool:
    return path in LATER or path.split()[0] in LATER


def ours(path: str) -> registry.Found:
    found, rest = registry.find(path.split())
    assert isinstance(found, registry.Found) and not rest, path
    return found


@pytest.mark.parametrize("path", [path for path in RECORDED if not later(path)])
def test_flags(path: str) -> None:
    known = {flag.name: [flag.short and f"-{flag.short.lstrip('-')}", flag.type_name]
             for flag in ours(path).load().COMMAND.flags}  # fmt: skip
    ignored = set(LATER_FLAGS) | (CLUSTER_VOLUMES if path.startswith("volume ") else set())
    expected = {name: flag for name, flag in RECORDED[path].items() if name not in ignored}
    assert {name: known.get(name) for name in expected} == expected


@pytest.mark.parametrize("path", sorted(LATER))
def test_what_is_still_to_come_has_not_come_yet(path: str) -> None:
    """Whoever adds such a command takes its name out of the list above."""
    words = path.split()
    assert words[0] not in registry.TOP
    assert words[0] not in registry.GROUPS or (
        len(words) == 2 and words[1] not in registry.GROUPS[words[0]][1]
    )
    assert any(known == path or known.startswith(f"{path} ") for known in RECORDED)
