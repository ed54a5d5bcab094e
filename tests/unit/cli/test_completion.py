"""What the shells are offered, and the scripts that ask for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from firkin.cli import completion, main, registry

ANSWERS = {
    "GET /containers/json": [
        {"Id": "1", "Names": ["/web"]}, {"Id": "2", "Names": ["/db", "/web/alias"]}
    ],
    "GET /images/json": [{"Id": "3", "RepoTags": ["busybox:latest", "a/b:1"]}],
    "GET /networks": [{"Id": "4", "Name": "net1"}],
    "GET /volumes": {"Volumes": [{"Name": "vol1"}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected", "directive"),
    [
        (["ru"], ["run"], 4),
        (
            ["volume", ""],
            [
                "clone",
                "create",
                "exists",
                "export",
                "import",
                "inspect",
                "ls",
                "prune",
                "rename",
                "rm",
            ],
            4,
        ),
        (["system", "d"], ["df"], 4),
        (["ps", "--no"], ["--no-trunc"], 4),
        (["--log-level", "d"], ["debug"], 4),
        (["stop", ""], ["db", "web"], 4),
        (["stop", "web", ""], ["db"], 4),
        (["stop", "-t", ""], [], 4),
        (["stop", "-t", "3", "w"], ["web"], 4),
        (["logs", "web", ""], [], 4),
        (["run", "-it", "--rm", "b"], ["busybox:latest"], 4),
        (["run", "--network", "n"], ["net1"], 4),
        (["run", "--network=n"], ["--network=net1"], 4),
        (["run", "--env-file", ""], [], 0),
        (["run", "busybox", "--net"], [], 4),
        (["container", "run", "--pull", ""], ["always", "missing", "never"], 4),
        (["network", "connect", ""], ["net1"], 4),
        (["network", "connect", "net1", ""], ["db", "web"], 4),
        (["volume", "rm", "v"], ["vol1"], 4),
        (["inspect", ""], ["a/b:1", "busybox:latest", "db", "net1", "vol1", "web"], 4),
        (["rmi", "a/"], ["a/b:1"], 4),
        (["nosuch", ""], [], 4),
        (["ps", ""], [], 4),
        (["context", "use", ""], ["default"], 4),
        (["completion", "z"], ["zsh"], 4),
        (["import", ""], [], 0),
    ],
)
def test_candidates(
    tmp_path: Path, words: list[str], expected: list[str], directive: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with FakeEngine(tmp_path, ANSWERS) as engine:
        found, told = completion.complete(["-H", f"unix://{engine.socket}", *words])
    assert ([name for name, _ in found], told) == (expected, directive)


def test_the_answer_of_the_hidden_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["__complete", "network", "c"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["connect", "create", ":4"]
    assert all("\t" in line for line in lines[:-1])
    assert main.run(["__completeNoDesc", "network", "c"]) == 0
    assert capsys.readouterr().out == "connect\ncreate\n:4\n"
    assert main.run(["-H", "unix:///nonexistent", "__complete", "stop", ""]) == 0
    assert capsys.readouterr() == (":4\n", "")


def test_every_place_with_arguments_is_a_command() -> None:
    for group, verb in completion.ARGUMENTS:
        assert registry.load(group, verb).COMMAND.arguments


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_well_formed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", shell]) == 0
    script = capsys.readouterr().out
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    main.run(["completion", "bash"])
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    program = Path(sys.executable).parent / "firkin"
    with FakeEngine(tmp_path, ANSWERS) as engine:
        for line, words, expected in (
            ("rmi bus", "rmi bus", "busybox:latest"),
            ("rmi busybox:la", "rmi busybox : la", "latest"),
            ("stop ", "stop ''", "db web"),
        ):
            command = f"{program} -H unix://{engine.socket} {line}"
            code = (
                f"source {script}; COMP_LINE='{command}'; COMP_POINT=${{#COMP_LINE}}; "
                f"COMP_WORDS=({program} {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); "
                'COMP_WORDBREAKS=" :="; _firkin; echo "${COMPREPLY[@]}"'
            )
            done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
            assert (done.stdout.strip(), done.stderr) == (expected, "")
