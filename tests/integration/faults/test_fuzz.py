"""Every operation of the API with values that nobody checked.

Whatever comes: an answer, never a 500, never a traceback in the log, and the engine goes on. The
operations are those of the engine's own table; bodies are made of the fields that the API knows.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import urllib.parse
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import rig
import unixhttp
from firkin.api import server
from firkin.types import container, image, network, volume

pytestmark = pytest.mark.root

ROUNDS = 12
"""Requests for each operation."""

_FIELDS = sorted(
    {
        msgspec.structs.fields(kind)[index].encode_name
        for module in (container, image, network, volume)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        for index in range(len(msgspec.structs.fields(kind)))
    }
)
_QUERIES = (
    "all", "condition", "detach", "filters", "follow", "force", "format", "fromImage", "fromSrc",
    "h", "limit", "link", "name", "names", "noprune", "path", "platform", "ps_args", "repo",
    "signal",
    "since", "size", "stderr", "stdin", "stdout", "stream", "t", "tag", "tail", "term", "type",
    "until", "v", "verbose", "w",
)  # fmt: skip
_TEXTS = (
    "", "0", "1", "-1", "true", "busybox", "there", "bridge", "none", "container:there",
    "../..", "/",
    "/etc/passwd", "%00", "\x00", "a" * 5000, "sha256:" + "0" * 64, "🐳", "[]", "{}",
    '{"name":["there"]}', '{"label":{"a=b":true}}', '["x"]', "9" * 30, "1.5", "NaN", "null",
    "2020-01-01T00:00:00Z", "SIGKILL", "exec", "80/tcp", "0.0.0.0:80:80/sctp", "::1", "10.0.0.0/8",
)  # fmt: skip


class Chance:
    """Values of any kind, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, values: Any) -> Any:
        return self._random.choice(values)

    def text(self) -> str:
        return str(self.one(_TEXTS))

    def json(self, depth: int = 0) -> Any:
        kind = self._random.randrange(9 if depth < 4 else 5)
        if kind < 2:
            return self.text()
        if kind < 5:
            return self.one((None, True, False, 0, -1, 1 << 70, 1.5, 65536))
        if kind < 7:
            return [self.json(depth + 1) for _ in range(self._random.randrange(3))]
        return {self.one(_FIELDS): self.json(depth + 1) for _ in range(self._random.randrange(6))}

    def body(self) -> bytes | None:
        kind = self._random.randrange(8)
        if kind == 0:
            return None
        if kind == 1:
            return self.one((b"", b"{", b"\xff\xfe", b"[" * 5000, b'"x"', b"null", b"\x1f\x8b\x08"))
        value = {self.one(_FIELDS): self.json() for _ in range(self._random.randrange(8))}
        if kind > 4:
            value |= {"Image": "busybox", "Cmd": ["true"], "HostConfig": self.json()}
        return json.dumps(value).encode()

    def target(self, pattern: str) -> str:
        path = pattern
        while "{" in path:
            head, _, tail = path.partition("{")
            value = self.one(("there", "busybox", "bridge", self.text() or "x"))
            path = head + urllib.parse.quote(str(value), safe="") + tail.partition("}")[2]
        names = [self.one(_QUERIES) for _ in range(self._random.randrange(4))]
        query = urllib.parse.urlencode([(name, self.text()) for name in names])
        return path + ("?" + query if query else "")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Engine]:
    with rig.running(tmp_path_factory.mktemp("fuzz"), f"fkfz{os.getpid()}") as made:
        yield made


def _restock(engine: rig.Engine) -> None:
    """Some operations remove what the others are to find."""
    if unixhttp.ask(engine.socket, "GET", "/images/busybox/json")[0] == 404:
        engine.add_busybox()
    if unixhttp.ask(engine.socket, "GET", "/containers/there/json")[0] == 404:
        engine.run("create", "--name", "there", "busybox", "sleep", "1000")


def _ask(engine: rig.Engine, method: str, target: str, body: bytes | None) -> tuple[int, Any]:
    """The answer; 0 for a stream that is still open after a moment, which is left then."""
    connection = unixhttp.Connection(engine.socket, timeout=5)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, target, body, headers)
        connection.sock.settimeout(2)
        answer = connection.getresponse()
        status = answer.status
        text = answer.read() if status >= 400 else b""
    except TimeoutError:
        return 0, None
    except (http.client.HTTPException, OSError) as error:
        return 0, str(error)
    finally:
        connection.close()
    return status, text


@pytest.mark.parametrize("seed", range(4))
def test_no_operation_fails_on_nonsense(engine: rig.Engine, seed: int) -> None:
    chance = Chance(seed)
    for method, pattern in server.table().operations():
        _restock(engine)
        for _ in range(ROUNDS):
            target, body = chance.target(pattern), chance.body()
            status, text = _ask(engine, method, target, body)
            told = (method, target, body, status, text)
            assert status not in (500, 502), told
            if status >= 400 and method != "HEAD":
                assert json.loads(text)["message"], told
        assert unixhttp.ask(engine.socket, "GET", "/_ping") == (200, "OK"), (method, pattern)
    assert "Traceback" not in (engine.directory / "log").read_text()
