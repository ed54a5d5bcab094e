"""Our bodies of ``create`` against those that Docker's client was recorded sending."""

from __future__ import annotations

import json
import pathlib
import shlex
from typing import Any

import pytest

from firkin.cli import errors, flags
from firkin.cli.opts import body, runflags

DATA = pathlib.Path(__file__).parent / "data"
RECORDED: list[dict[str, Any]] = json.loads((DATA / "run_recorded.json").read_text())


@pytest.fixture(autouse=True)
def _same_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    monkeypatch.setenv("FROM_ENV", "from-env")
    for name in ("NOT_SET", "NOT_SET_ANYWHERE"):
        monkeypatch.delenv(name, raising=False)


def _build(case: str) -> tuple[str, dict[str, Any]]:
    values, args = flags.parse(runflags.FLAGS, shlex.split(case), interspersed=False)
    query = f"name={values.text('name')}" if values.text("name") else ""
    if platform := values.text("platform"):
        query = "platform=" + platform.replace("/", "%2F")
    return query, body.build(values, args)


def _unordered(built: dict[str, Any]) -> dict[str, Any]:
    """Docker's client keeps these in a map and sends them in random order."""
    for holder, key in ((built, "Env"), (built["HostConfig"], "Binds")):
        holder[key] = sorted(holder[key]) if holder[key] else holder[key]
    return built


@pytest.mark.parametrize("recorded", RECORDED, ids=[item["case"] for item in RECORDED])
def test_like_docker(recorded: dict[str, Any]) -> None:
    case = recorded["case"]
    if "body" not in recorded:
        with pytest.raises(errors.CliError) as refused:
            _build(case)
        assert refused.value.status == recorded["status"]
        return
    expected = json.loads(json.dumps(recorded["body"]).replace("$PARENT", str(DATA.parent)))
    query, built = _build(case)
    assert _unordered(built) == _unordered(expected)
    assert query == recorded["query"]


def test_the_record_is_of_the_present_cases() -> None:
    lines = (DATA / "run_cases.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert [item["case"] for item in RECORDED] == wanted, "run record_docker.py again"
