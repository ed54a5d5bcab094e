"""Help pages: the same commands, arguments, aliases, flags, types and defaults; own words."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from firkin.cli import registry

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="needs the official client")

FIRKIN = str(Path(sys.executable).parent / "firkin")
FLAG = re.compile(r"^ {2,6}(?:(-\w), )?--([\w-]+)(?: (\S+))?(.*(?:\n {9,}.*)*)", re.MULTILINE)
DEFAULT = re.compile(r"\(default ((?:map)?\[\]|\"[^\"]*\"|[\w.]+)\)")
PLACES = [
    (group, verb)
    for group, (_, verbs) in registry.GROUPS.items()
    for verb in verbs
    if (group, verb) not in registry.HIDDEN and group not in registry.OWN
]
OTHER_VERSIONS = {"disable-content-trust", "kernel-memory", "pause", "no-pause", "help"}
"""Flags that the official client shows in some versions only."""
CLUSTER_VOLUMES = {
    "availability", "group", "limit-bytes", "required-bytes", "scope", "secret", "sharing",
    "topology-preferred", "topology-required", "type", "cluster",
}  # fmt: skip
"""Flags for volumes of a swarm, which come with swarm."""
BUILDX_FLAGS = {
    "allow", "annotation", "attest", "build-context", "cache-to", "call", "check", "load",
    "metadata-file", "no-cache-filter", "output", "progress", "provenance", "push", "sbom",
    "secret", "ssh",
}  # fmt: skip
"""What ``docker build`` takes where the plug-in buildx is installed."""
LEGACY_FLAGS = {"compress", "force-rm", "isolation", "rm", "squash"}
"""What it takes without the plug-in: taken, but not shown."""
OWN_FLAGS = {
    "build": BUILDX_FLAGS | LEGACY_FLAGS | {"graph", "why"},
    "pull": {"dry-run"},
    "run": {"health-on-failure", "replace", "secret"},
    "create": {"health-on-failure", "replace", "secret"},
    "update": {"label-add", "label-rm", "publish-add", "publish-rm"},
    "prune": {"max-used-space", "min-free-space", "reserved-space"},  # buildx's
    "port": {"reachable"},
    "ls": {"reachable"},
    "ps": {"reachable"},
}
OWN_COMMANDS = {
    "check", "clone", "completion", "doctor", "exists", "reload", "scp", "du", "volume export",
    "volume import", "volume rename",
}  # fmt: skip
"""What is Firkin's own, by verb."""


def page(client: str, *words: str) -> str:
    done = subprocess.run([client, *words, "--help"], capture_output=True, text=True, check=True)
    return re.sub(r"\bfirkin\b", "docker", done.stdout)


def flags_of(text: str) -> dict[str, tuple[str, str, str]]:
    """Short form, type and default of every flag."""
    found = {}
    for match in FLAG.finditer(text.partition("Options:\n")[2]):
        default = DEFAULT.search(" ".join(match[4].split()))
        shown = default[1] if default else ""
        found[match[2]] = (match[1] or "", match[3] or "", "" if shown == "0" else shown)
        assert len(match[4].split()) > 1, f"--{match[2]} has no description"
    return found


def section(text: str, title: str) -> list[str]:
    """The first words of the lines below a title."""
    body = text.partition(f"\n{title}:\n")[2].partition("\n\n")[0]
    return [line.split()[0].rstrip("*") for line in body.splitlines() if line.startswith("  ")]


@pytest.mark.parametrize(("group", "verb"), PLACES, ids=" ".join)
def test_command(group: str, verb: str) -> None:
    if OWN_COMMANDS & {verb, f"{group} {verb}"}:
        pytest.skip("no command of the official client")
    ours, theirs = page(FIRKIN, group, verb), page("docker", group, verb)
    assert ours.splitlines()[0] == theirs.splitlines()[0]
    if verb != "build":  # theirs have the plug-in's names
        assert section(ours, "Aliases") == section(theirs, "Aliases")
    ignored = OTHER_VERSIONS | (CLUSTER_VOLUMES if group == "volume" else set())
    ignored = ignored | OWN_FLAGS.get(verb, set())
    known, expected = (
        {name: flag for name, flag in flags_of(text).items() if name not in ignored}
        for text in (ours, theirs)
    )
    assert known == expected
    assert any(len(line.split()) > 1 for line in ours.splitlines()[2:4])


@pytest.mark.parametrize("name", [name for name in registry.TOP if name not in OWN_COMMANDS])
def test_top_level_name(name: str) -> None:
    ours, theirs = page(FIRKIN, name), page("docker", name)
    assert ours.splitlines()[0] == theirs.splitlines()[0]
    assert section(ours, "Aliases") == section(theirs, "Aliases")


@pytest.mark.parametrize("group", [name for name in registry.GROUPS if name not in registry.OWN])
def test_group(group: str) -> None:
    ours, theirs = page(FIRKIN, group), page("docker", group)
    assert ours.splitlines()[0] == theirs.splitlines()[0]
    listed = section(ours, "Commands")
    assert listed == sorted(listed)
    extra = set(listed) - set(section(theirs, "Commands"))
    assert all(OWN_COMMANDS & {verb, f"{group} {verb}"} for verb in extra)


def test_program() -> None:
    ours, theirs = page(FIRKIN), page("docker")
    assert ours.splitlines()[0] == theirs.splitlines()[0]
    for title in ("Common Commands", "Management Commands", "Commands"):
        found = [
            name
            for name in section(ours, title)
            if name not in registry.OWN and name != "secret"  # theirs wants a swarm for it
        ]
        assert found
        assert set(found) - OWN_COMMANDS - {"build"} <= set(section(theirs, title))
        order = [name for name in section(theirs, title) if name in found]
        assert [name for name in found if name not in OWN_COMMANDS] == order
    known, expected = flags_of(ours), flags_of(theirs)
    assert {name: flag[:2] for name, flag in known.items()} == {
        name: flag[:2] for name, flag in expected.items()
    }


@pytest.mark.parametrize("group", ["container", "image", "network", "volume", "system", "context"])
def test_a_group_alone_shows_its_help_as_an_error(group: str) -> None:
    for client in (FIRKIN, "docker"):
        done = subprocess.run([client, group], capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert done.stdout == ""
        assert done.stderr.startswith("Usage: ")
