"""Plugins of Docker's client, found, asked, listed and run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIRKIN = str(Path(sys.executable).parent / "firkin")
GOOD = '{"SchemaVersion":"0.1.0","Vendor":"V","Version":"v1","ShortDescription":"Says hello"}'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "cli-plugins").mkdir()
    add(tmp_path, "hello", GOOD)
    return tmp_path


def add(config: Path, name: str, metadata: str) -> None:
    path = config / "cli-plugins" / f"docker-{name}"
    path.write_text(
        "#!/bin/sh\n"
        f"[ \"$1\" = docker-cli-plugin-metadata ] && {{ echo '{metadata}'; exit; }}\n"
        'echo "args:$*"; echo "host:$DOCKER_HOST"; cat; exit 7\n'
    )
    path.chmod(0o755)


def run(config: Path, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    return subprocess.run(
        [FIRKIN, *words], env={**clean, "DOCKER_CONFIG": str(config), **env},
        capture_output=True, text=True, input=stdin, timeout=60, check=False,
    )  # fmt: skip


def test_a_plugin_gets_all_words_streams_and_the_engine(config: Path) -> None:
    done = run(
        config, "--debug", "hello", "-x", "a b", "--help", stdin="in", DOCKER_HOST="unix:///y"
    )
    assert done.stdout == "args:--debug hello -x a b --help\nhost:unix:///y\nin"
    assert done.returncode == 7
    assert "host:unix://" in run(config, "hello").stdout
    assert "host:\n" in run(config, "-H", "unix:///z", "hello").stdout
    assert run(config, "help", "hello").stdout.startswith("args:help hello\n")


def test_plugins_are_listed(config: Path) -> None:
    add(config, "bad", "{")
    add(config, "old", GOOD.replace("0.1.0", "9"))
    add(config, "nobody", GOOD.replace('"V"', '""'))
    add(config, "unseen", GOOD.replace("}", ',"Hidden":true}'))
    (config / "cli-plugins" / "docker-plain").write_text("not executable")
    text = run(config, "--help").stdout
    assert "  hello*      Says hello\n" in text
    invalid = text.partition("Invalid Plugins:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in invalid.splitlines()] == ["bad", "nobody", "old"]
    assert "unseen" not in text and "plain" not in text
    info = run(config, "-H", "unix:///nonexistent", "info").stdout
    assert "  hello: Says hello (V)\n    Version:  v1\n    Path:     " in info


@pytest.mark.parametrize("name", ["bad", "old", "nosuch", "../hello", ""])
def test_what_is_no_plugin_is_an_unknown_command(config: Path, name: str) -> None:
    add(config, "bad", "{")
    add(config, "old", GOOD.replace("0.1.0", "9"))
    done = run(config, name)
    assert done.returncode == 1
    assert "unknown command" in done.stderr


def test_an_alias_of_the_configuration(config: Path) -> None:
    (config / "config.json").write_text('{"aliases": {"baker": "hello"}}')
    assert run(config, "-D", "baker", "x").stdout.startswith("args:-D hello x\n")


def test_own_commands_come_first(config: Path) -> None:
    add(config, "ps", GOOD)
    assert "args:" not in run(config, "-H", "unix:///nonexistent", "ps").stdout


def test_further_directories(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "cli-plugins").mkdir(parents=True)
    add(other, "more", GOOD)
    (config / "config.json").write_text(f'{{"cliPluginsExtraDirs": ["{other}/cli-plugins"]}}')
    assert run(config, "more").stdout.startswith("args:more\n")
