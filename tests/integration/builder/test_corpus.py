"""Every Dockerfile of the corpus makes the image that it must, and again from the cache."""

from __future__ import annotations

import re
from typing import Any

import cases
import pytest

import unixhttp
from conftest import build, save
from rig import Engine

pytestmark = pytest.mark.root

CASES = cases.every()


def subset(wanted: Any, found: Any) -> bool:
    """Whether ``found`` has all that ``wanted`` has."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(name in found and subset(value, found[name]) for name, value in wanted.items())
    return bool(wanted == found)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(builds: Engine, case: cases.Case) -> None:
    tar = case.context()
    expect = case.expect
    answer = build(builds, tar, **case.options)
    if wanted := expect.get("error"):
        assert re.search(wanted, answer.error), answer.error
        return
    assert answer.image, (answer.error, answer.log)
    for text in expect.get("log", []):
        assert re.search(text, answer.log), (text, answer.log)
    _, shown = unixhttp.ask(builds.socket, "GET", f"/images/{answer.image}/json")
    config = {name: value for name, value in shown["Config"].items() if value is not None}
    wanted_config = expect.get("config", {})
    assert subset(wanted_config, config), (wanted_config, config)
    for name in expect.get("absent", []):
        assert not config.get(name), (name, config)
    if "layers" in expect:
        assert len(shown["RootFS"]["Layers"]) == expect["layers"]
    if expect.get("files"):
        files = cases.files_of(save(builds, answer.image))
        wrong = [cases.matches(files, path, value) for path, value in expect["files"].items()]
        assert not any(wrong), [one for one in wrong if one]
    again = build(builds, tar, **case.options)
    assert again.image == answer.image, again.log
    if expect.get("steps"):
        assert again.cached == expect["steps"], again.log
