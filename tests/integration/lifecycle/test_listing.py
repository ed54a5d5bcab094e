"""The listing after each change: remembered rows say what rows made anew say."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import unixhttp
from rig import Engine

pytestmark = pytest.mark.root

CHANGES = (
    ("create", "--name", "lists", "-v", "listed:/v", "-p", "127.0.0.1::80", "--network", "ln",
     "--health-cmd", "true", "--health-interval", "1h", "busybox", "sleep", "1000"),
    ("rename", "lists", "listed"),
    ("start", "listed"),
    ("network", "create", "ln2"),
    ("network", "connect", "--alias", "x", "ln2", "listed"),
    ("pause", "listed"),
    ("unpause", "listed"),
    ("update", "--label-add", "a=b", "listed"),
    ("update", "--publish-add", "127.0.0.1::81", "listed"),
    ("network", "disconnect", "ln", "listed"),
    ("restart", "-t", "0", "listed"),
    ("stop", "-t", "0", "listed"),
    ("network", "disconnect", "ln2", "listed"),
    ("network", "rm", "ln", "ln2"),
    ("rm", "-v", "listed"),
)  # fmt: skip


def rows(engine: Engine, version: str, query: str) -> list[dict[str, Any]]:
    status, found = unixhttp.ask(engine.socket, "GET", f"/{version}/containers/json?all=1{query}")
    assert status == 200, found
    for row in found:
        row.pop("SizeRw", None)
        row.pop("SizeRootFs", None)
        row["Status"] = row["Status"].partition(" ")[0]  # the rest goes with the time
    return list(found)


def test_every_change_shows(engine: Engine) -> None:
    engine.run("network", "create", "ln")
    engine.run("volume", "create", "listed")
    seen = []
    for words in CHANGES:
        engine.run(*words)
        for version in ("v1.44", "v1.55"):
            # With sizes nothing is remembered. Twice: the second time from memory for sure.
            for _ in range(2):
                assert rows(engine, version, "") == rows(engine, version, "&size=1"), words
        seen.append(rows(engine, "v1.55", ""))
    assert seen[-1] == []
    plain = [change for change, words in zip(seen, CHANGES, strict=True) if words[0] != "network"]
    assert all(before != after for before, after in itertools.pairwise(plain))
    engine.run("volume", "rm", "listed")
