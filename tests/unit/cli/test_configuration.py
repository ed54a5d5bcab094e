"""A ``config.json`` that is damaged, half right, or speaks of programs that are not here."""

from __future__ import annotations

import json
import pathlib

import fake_engine
import pytest

from firkin.cli import configfile


@pytest.mark.parametrize(
    ("text", "left", "warning"),
    [
        ("", {}, ""),
        ("\n", {}, ""),
        ("{bad", {}, "Error parsing config file"),
        ("[]", {}, "it holds no JSON object"),
        ('{"psFormat": 5, "auths": {}}', {"auths": {}}, "psFormat is not text; it is ignored"),
        ('{"auths": 5, "psFormat": "x"}', {"psFormat": "x"}, "auths is not an object"),
        ('{"credsStore": null}', {"credsStore": None}, ""),
        ('{"unknown": 5}', {"unknown": 5}, ""),
    ],
)
def test_what_is_read(
    text: str,
    left: dict[str, object],
    warning: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "config.json").write_text(text)
    assert configfile.read(str(tmp_path)) == left
    said = capsys.readouterr().err
    assert warning in said if warning else not said


def test_a_folder_in_its_place(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").mkdir()
    assert configfile.read(str(tmp_path)) == {}
    path = tmp_path / "config.json"
    assert f"Error loading config file: open {path}: is a directory" in capsys.readouterr().err


def test_a_pull_goes_on_without_a_missing_helper(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text('{"credsStore": "nosuch-helper"}')
    with fake_engine.FakeEngine(
        tmp_path, {"POST /images/create": b'{"status":"done"}\n'}
    ) as engine:
        assert engine.run("pull", "r.example/x") == 0
    shown = capsys.readouterr()
    assert "done" in shown.out
    assert "going on without credentials" in shown.err
    assert "docker-credential-nosuch-helper" in shown.err


def test_words_that_are_no_utf_8(tmp_path: pathlib.Path) -> None:
    with fake_engine.FakeEngine(tmp_path, {"POST /containers/create": {"Id": "a"}}) as engine:
        assert engine.run("create", "busybox", "echo", "a\udcff\U0001f40b") == 0
        body = json.loads(engine.requests[-1][3].decode())
    assert body["Cmd"] == ["echo", "a\ufffd\U0001f40b"]
