"""The entry point: choosing a command, and turning errors into messages and statuses."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import fake_engine
import pytest

from firkin.cli import context, flags, main, program, registry
from firkin.cli.commands.container import create
from firkin.cli.commands.container import run as run_command

PATH = [str(pathlib.Path(main.__file__).parents[2])]


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["pss"], 1, "firkin: unknown command: firkin pss\n\nDid you mean this?\n    firkin ps"),
        (["container", "lss"], 1, "firkin: unknown command: firkin container lss"),
        (["rm"], 1, "firkin: 'firkin rm' requires at least 1 argument\n\nUsage:  firkin rm [O"),
        (["container", "rename", "a"], 1, "firkin: 'firkin container rename' requires 2 arg"),
        (["rm", "-x"], 125, "unknown shorthand flag: 'x' in -x\n\nUsage:  firkin rm [OPTIONS]"),
        (["--bogus"], 125, "unknown flag: --bogus"),
        (["run", "-p", "x:y", "b"], 125, "firkin: invalid containerPort: y"),
        (["run", "-d", "-a", "stdin", "b"], 1, "conflicting options: cannot specify both --att"),
        (["-H", "unix:///nonexistent", "ps"], 1, "Cannot connect to the Docker daemon at unix:"),
        (["-H", "unix:///nonexistent", "run", "b"], 125, "firkin: Cannot connect to the Docker"),
        (["-H", "gopher://x", "ps"], 1, "cannot use the engine address 'gopher://x'"),
    ],
)
def test_errors(
    argv: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(argv) == status
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.out == ""


def test_help_of_a_command_lists_flags_and_aliases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["ps", "--help"]) == 0
    out = capsys.readouterr().out
    assert "firkin container ls, firkin container list, firkin container ps, firkin ps" in out
    assert "-a, --all" in out and "-n, --last int" in out and "(default -1)" in out


def test_every_command_of_containers_can_be_loaded() -> None:
    for verb in registry.GROUPS["container"][1]:
        assert registry.load("container", verb).COMMAND.short


def test_run_has_all_of_dockers_flags() -> None:
    own = {"health-on-failure", "replace", "secret"}
    shown = [flag.name for flag in run_command.COMMAND.flags if not flag.hidden]
    assert own < set(shown)
    visible = [name for name in shown if name not in own]
    assert len(set(visible)) == len(visible) == 101  # And --help, which every command has.
    assert len([flag for flag in create.COMMAND.flags if not flag.hidden]) == 98 + len(own)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ('exec: "nosuch": executable file not found in $PATH', 127),
        ('exec: "/nosuch": stat /nosuch: no such file or directory', 127),
        ('exec: "/etc": is a directory: permission denied', 126),
        ("driver failed programming external connectivity", 125),
    ],
)
def test_status_of_a_start_that_fails(message: str, status: int) -> None:
    assert run_command.status_of_start_error(message) == status


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("busybox", ("busybox", "latest")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a:1", ("host:5000/a", "1")),
        ("a@sha256:00", ("a", "sha256:00")),
    ],
)
def test_image_names(image: str, parts: tuple[str, str]) -> None:
    assert create.split_image(image) == parts


HEAVY = """
aiohttp argparse ast asyncio collections concurrent dataclasses datetime email enum functools
hashlib http.client httptools importlib.metadata inspect json logging msgspec pathlib random re
selectors shutil socket ssl string subprocess tempfile textwrap threading traceback typing urllib
firkin.cli.template firkin.cli.help firkin.cli.plugins firkin.cli.contextstore firkin.client.tls
firkin.client.ssh
"""
"""What costs milliseconds to import and has no place in a command that only asks and shows."""


@pytest.mark.parametrize(
    "words",
    [
        ["ps", "-a"], ["kill", "box"], ["exec", "box", "true"], ["create", "-p", "1:2", "box"],
        ["build", "-q", "-t", "a/b:1", "."],
    ],
    ids=str,
)  # fmt: skip
def test_imports_nothing_heavy(words: list[str], tmp_path: pathlib.Path) -> None:
    answers = {
        "GET /containers/json": [
            {"Id": "a" * 64, "Names": ["/box"], "Image": "b", "Command": "c", "Created": 1}
        ],
        "POST /containers/box/kill": None,
        "POST /containers/create": {"Id": "a", "Warnings": []},
        "POST /containers/box/exec": (409, {"message": "is not running"}),
        "GET /containers/box/json": {"Id": "a", "Config": {}, "State": {}},
    }
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    code = (
        "import sys; from firkin.cli import main; main.run(sys.argv[1:]);"
        f"print(*[name for name in {HEAVY.split()!r} if name in sys.modules])"
    )
    with fake_engine.FakeEngine(tmp_path, answers) as engine:
        command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {PATH!r};" + code]
        done = subprocess.run(
            [*command, "-H", f"unix://{engine.socket}", *words],
            capture_output=True, text=True, check=True, cwd=tmp_path,
        )  # fmt: skip
        assert engine.requests, done.stderr
    assert done.stdout.splitlines()[-1] == ""


def test_help_imports_nothing_of_the_engines() -> None:
    """Every command is asked for its line: none may import what only its work needs."""
    code = f"import sys; sys.path[:0] = {PATH!r}; from firkin.cli import main; "
    code += "assert main.run(['--help']) == 0; print(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "firkin.cli.commands.image.pull" in loaded
    assert not loaded & {
        "aiohttp", "asyncio", "dataclasses", "firkin.doctor", "firkin.reference", "inspect",
        "msgspec", "shutil", "socket", "ssl", "tempfile",
    }  # fmt: skip


def test_proxies_of_the_configuration(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"proxies": {"default": {"httpProxy": "http://p", "noProxy": "x"}}}'
    )
    with fake_engine.FakeEngine(tmp_path, {"POST /containers/create": {"Id": "a"}}) as engine:
        words = ["--config", str(tmp_path), "-H", f"unix://{engine.socket}", "create"]
        assert main.run([*words, "-e", "no_proxy=y", "-e", "A=b", "busybox"]) == 0
        body = json.loads(engine.requests[-1][3])
    assert body["Env"] == [
        "no_proxy=y", "A=b", "HTTP_PROXY=http://p", "http_proxy=http://p", "NO_PROXY=x",
    ]  # fmt: skip


def test_prune_filters_of_the_configuration(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"pruneFilters": ["label!=keep", "label!=gone", "until=24h", "bad"]}'
    )
    with fake_engine.FakeEngine(tmp_path, {"POST /networks/prune": {}}) as engine:
        words = ["--config", str(tmp_path), "-H", f"unix://{engine.socket}", "network", "prune"]
        assert main.run([*words, "-f", "--filter", "label=gone"]) == 0
        query = json.loads(engine.requests[-1][2]["filters"][0])
    assert query == {"label": ["gone"], "label!": ["keep"], "until": ["24h"]}


def test_headers_of_the_configuration(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"HttpHeaders": {"X-A": "1", "User-Agent": "no"}}')
    monkeypatch.setenv("DOCKER_CUSTOM_HEADERS", 'X-B=2,"X-C=3,4"')
    values, _ = flags.parse(program.GLOBAL_FLAGS, ["--config", str(tmp_path)], interspersed=False)
    client = context.Cli(values).client
    agent = client._headers.pop("User-Agent")
    assert "Firkin" in agent
    assert client._headers == {"X-A": "1", "X-B": "2", "X-C": "3,4"}


@pytest.mark.parametrize(
    "before", ["", "sys.stdout.reconfigure(encoding='cp1252', newline='\\r\\n')"]
)
def test_output_is_utf_8_with_plain_line_ends_everywhere(before: str) -> None:
    """Also where the system's encoding and line ends are others, as on Windows."""
    code = f"import sys; sys.path[:0] = {PATH!r}; {before}\n"
    code += "sys.stderr = sys.stdout\nfrom firkin.cli import main; main.main()"
    word = "…\udcff".encode("utf-8", "surrogateescape")
    done = subprocess.run(
        [sys.executable, "-c", code, "-l", word, "ps"], capture_output=True, check=False
    )
    head, _, rest = done.stdout.partition(b": ")
    assert (head, done.returncode) == (b"Unable to parse logging level", 1)
    assert rest.startswith(word + b" (want") and rest.endswith(b")\n") and b"\r" not in rest
