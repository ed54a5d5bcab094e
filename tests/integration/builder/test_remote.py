"""What comes from elsewhere: Git repositories, downloads, SSH agents; real servers on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_client import made, run

import remoteservers
import sshrig
from remoteservers import TOKEN, Servers
from rig import Engine

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with remoteservers.serving(tmp_path_factory.mktemp("servers")) as made:
        yield made


def shown(engine: Engine, name: str) -> list[str]:
    return engine.out("run", "--rm", name, "sh", "-c", "cat /ls; cat /ctx/f /ctx/g; true").split()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{git}", ["Dockerfile", "f", "sub", "two"]),
        ("{git}#v1", ["Dockerfile", "f", "sub", "one"]),
        ("{git}#{first}", ["Dockerfile", "f", "sub", "one"]),
        ("{git}#v1:sub", ["Dockerfile", "g", "sub"]),
        ("{git}?ref=v1&subdir=sub", ["Dockerfile", "g", "sub"]),
        ("{http}/repo.git#dev", ["Dockerfile", "f", "sub", "one"]),
        ("{http}/ctx.tar.gz", ["Dockerfile", "f", "two"]),
        ("{http}/moved/ctx.tar.gz", ["Dockerfile", "f", "two"]),
        ("{http}/alone", ["alone"]),
    ],
)
def test_contexts(builds: Engine, servers: Servers, source: str, found: list[str]) -> None:
    made(builds, "-t", "remote", source.format_map(vars(servers)))
    listed = [one for one in shown(builds, "remote") if not one.startswith(".")]
    assert listed == found


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{git}#nope", "couldn't find remote ref nope"),
        ("{git}#v1:none", "has no directory 'none' at v1"),
        ("{git}#v1:../x", "leads out of the repository"),
        ("{http}/nothing", "the server answered 404"),
        ("http://127.0.0.1:1/x", "cannot download http://127.0.0.1:1/x"),
    ],
)
def test_contexts_that_are_none(builds: Engine, servers: Servers, source: str, words: str) -> None:
    done = run(builds, source.format_map(vars(servers)))
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    ("add", "found"),
    [
        ("--keep-git-dir=true {git}#v1", ".dockerignore .git Dockerfile f ignored sub"),
        ("{git}#v1", ".dockerignore Dockerfile f ignored sub"),
        ("{git}#v1:sub", "Dockerfile g"),
        ("--checksum={first} {git}#v1", ".dockerignore Dockerfile f ignored sub"),
        ("--checksum=sha256:{digest} {http}/ctx.tar.gz", "ctx.tar.gz"),
        ("--unpack=true {http}/moved/ctx.tar.gz", "Dockerfile f"),
        ("{http}/private/ctx.tar.gz", "ctx.tar.gz"),
    ],
)
def test_add(builds: Engine, servers: Servers, add: str, found: str) -> None:
    text = f"FROM busybox\nADD {add.format_map(vars(servers))} /r/\nRUN ls -A /r > /ls\n"
    made(builds, "-t", "added", "--secret", "id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOK", "-",
         stdin=text.encode(), env={"TOK": TOKEN})  # fmt: skip
    assert builds.out("run", "--rm", "added", "cat", "/ls").split() == found.split()


@pytest.mark.parametrize(
    ("add", "words"),
    [
        ("--checksum=1234567 {git}", "1234567 was expected"),
        ("--checksum=sha256:" + "0" * 64 + " {http}/ctx.tar.gz", "digest mismatch sha256:"),
        ("{http}/private/ctx.tar.gz", "the server answered 401"),
    ],
)
def test_add_that_fails(builds: Engine, servers: Servers, add: str, words: str) -> None:
    done = run(
        builds, "-", stdin=f"FROM busybox\nADD {add.format_map(vars(servers))} /r/\n".encode()
    )
    assert done.returncode == 1
    assert words in done.stderr


def test_named_contexts_from_elsewhere(builds: Engine, servers: Servers) -> None:
    text = b"FROM busybox\nCOPY --from=g f /g\nCOPY --from=t f /t\n"
    made(builds, "-t", "elsewhere", "--build-context", f"g={servers.git}#v1",
         "--build-context", f"t={servers.http}/ctx.tar.gz", "-", stdin=text)  # fmt: skip
    assert builds.out("run", "--rm", "elsewhere", "cat", "/g", "/t").split() == ["one", "two"]


# SSH agents


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """The socket of an agent with one key, whose comment is firkin-key."""
    with sshrig.agent(tmp_path) as path:
        yield path


def test_an_agent(builds: Engine, tmp_path: Path, agent: str) -> None:
    root = sshrig.context(tmp_path / "c")
    words = ("-t", "agent", "--ssh", "default", "--ssh", f"two={agent}", str(root))
    made(builds, *words, env={"SSH_AUTH_SOCK": agent})
    keys, owner, mode, where = _lines(builds, "agent")
    assert "firkin-key" in keys
    assert (owner, mode, where) == ("1234", "640", "/run/two")
    builds.run("run", "--rm", "agent", "sh", "-c", "! test -e /run")
    assert made(builds, *words, env={"SSH_AUTH_SOCK": agent}).count("CACHED") == 5


def _lines(engine: Engine, name: str) -> list[str]:
    keys, owner, where = engine.out("run", "--rm", name, "cat", "/keys", "/owner", "/where").split(
        "\n"
    )
    return [keys, *owner.split(), where]


def test_agents_that_are_not_there(builds: Engine, tmp_path: Path) -> None:
    text = b"FROM busybox\nRUN --mount=type=ssh,required true\n"
    done = run(builds, "-", stdin=text)
    assert "SSH agent 'default' is not forwarded, and it is required" in done.stderr
    done = run(builds, "--ssh", f"default={tmp_path}/none", "-", stdin=text)
    assert f"no SSH agent answers at {tmp_path}/none" in done.stderr
    assert done.returncode == 1


def test_several_secrets(builds: Engine, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("from a file")
    text = (
        b"FROM busybox\nRUN --mount=type=secret,id=a,env=A --mount=type=secret,id=b "
        b"--mount=type=secret,id=c,target=/c,required=false --mount=type=secret,id=a,target=/a "
        b'test "$A" = first && test "$(cat /run/secrets/b)" = "from a file" && ! test -e /c && '
        b'test "$(cat /a)" = first\nRUN ! test -e /run/secrets && ! test -e /a && test -z "$A"\n'
    )
    made(builds, "--secret", "id=a,env=FIRST", "--secret", f"id=b,src={tmp_path}/b", "-",
         stdin=text, env={"FIRST": "first"})  # fmt: skip
