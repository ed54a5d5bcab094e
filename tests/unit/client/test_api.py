"""The client's HTTP core against a scripted engine on a real socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from firkin.client import addresses, api, containers, http, transport


class Engine:
    """Answers each connection's requests with the next of its scripted answers."""

    address = "unix://scripted"
    host_header = "localhost"
    base = ""

    def __init__(self, *answers: bytes, close: bool = False) -> None:
        self.answers = list(answers)
        self.close = close
        self.requests: list[bytes] = []
        self.connections = 0

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.connections += 1
        threading.Thread(target=self._serve, args=(theirs,), daemon=True).start()
        return ours

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            while self.answers:
                request = b""
                while b"\r\n\r\n" not in request:
                    if not (data := sock.recv(65536)):
                        return
                    request += data
                head, _, body = request.partition(b"\r\n\r\n")
                lower = head.lower()
                if b"transfer-encoding: chunked" in lower:
                    while not body.endswith(b"0\r\n\r\n"):
                        body += sock.recv(65536)
                elif b"content-length: " in lower:
                    length = int(lower.partition(b"content-length: ")[2].split(b"\r\n")[0])
                    while len(body) < length:
                        body += sock.recv(65536)
                self.requests.append(head + b"\r\n\r\n" + body)
                sock.sendall(self.answers.pop(0))
                if self.close:
                    return


def answer(value: object, status: int = 200) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def test_a_call_is_versioned_and_reuses_its_connection() -> None:
    engine = Engine(answer([]), answer({"Id": "x"}))
    client = api.Client(engine)
    assert containers.listing(client, all=True, filters={"name": {"a b": True}}) == []
    assert containers.inspect(client, "a/b")["Id"] == "x"
    assert engine.requests[0].startswith(
        b"GET /v1.56/containers/json?all=1&filters=%7B%22name%22%3A%7B%22a%20b%22%3Atrue%7D%7D "
    )
    assert engine.requests[1].startswith(b"GET /v1.56/containers/a%2Fb/json HTTP/1.1\r\n")
    assert engine.connections == 1


def test_a_connection_that_the_engine_closed_is_not_used_again() -> None:
    engine = Engine(answer(1), answer(2), close=True)
    client = api.Client(engine)
    assert client.call("GET", "/a") == 1
    assert client._idle is not None
    client._idle[1].recv(1)  # Waits until the other end is closed.
    assert client.call("GET", "/b") == 2
    assert engine.connections == 2


def test_an_older_engine_is_spoken_to_in_its_version() -> None:
    refusal = {"message": "client version 1.56 is too new. Maximum supported API version is 1.41"}
    engine = Engine(answer(refusal, 400), answer({"Id": "x"}), answer([]))
    client = api.Client(engine)
    assert containers.create(client, {"Image": "a"})["Id"] == "x"
    assert containers.listing(client) == []
    assert [request.split()[1][:7] for request in engine.requests] == [
        b"/v1.56/",
        b"/v1.41/",
        b"/v1.41/",
    ]
    assert engine.requests[1].endswith(b'{"Image":"a"}')


def test_a_version_that_was_asked_for_is_kept() -> None:
    refusal = {"message": "client version 1.50 is too new. Maximum supported API version is 1.41"}
    client = api.Client(Engine(answer(refusal, 400)), "1.50")
    with pytest.raises(api.APIError, match="too new") as refused:
        client.call("GET", "/x")
    assert refused.value.status == 400


def test_an_upload_asks_for_the_version_first_and_is_chunked() -> None:
    pong = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK"
    engine = Engine(pong, answer({}))
    client = api.Client(engine)
    client.release(client.request("POST", "/images/load", None, iter((b"ab", b"", b"c"))))
    assert engine.requests[0].startswith(b"GET /_ping ")
    assert engine.requests[1].startswith(b"POST /v1.41/images/load ")
    assert engine.requests[1].endswith(b"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "No such container: x"}', "No such container: x"),
        (b"plain words", "plain words"),
        (b"", "the engine answered 404"),
        (b"[1]", "[1]"),
    ],
)
def test_errors_carry_the_status_and_the_engines_words(body: bytes, message: str) -> None:
    raw = b"HTTP/1.1 404 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with pytest.raises(api.APIError) as refused:
        api.Client(Engine(raw)).call("GET", "/x")
    assert (refused.value.status, str(refused.value)) == (404, message)


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp", b"HTTP/1.1 200 OK"]
)
def test_a_hijacked_stream_has_the_bytes_that_came_with_its_header(head: bytes) -> None:
    kind = b"Content-Type: application/vnd.docker.multiplexed-stream"
    engine = Engine(head + b"\r\n" + kind + b"\r\n\r\nearly")
    stream = api.Client(engine).hijack("/containers/x/attach", {"stream": True})
    assert stream.multiplexed
    got = b""
    while data := stream.receive():
        got += data
    assert got == b"early"
    assert b"Upgrade: tcp" in engine.requests[0]


def test_a_body_that_breaks_off_is_an_error() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[1,"
    with pytest.raises(api.ConnectionFailed, match="middle"):
        api.Client(Engine(raw)).call("GET", "/x")


@pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nno json"])
def test_what_is_no_engine_is_told(raw: bytes) -> None:
    with pytest.raises(api.ConnectionFailed):
        api.Client(Engine(raw)).call("GET", "/x")


def test_an_engine_below_a_path() -> None:
    engine = Engine(answer({}))
    engine.base = "/below"
    api.Client(engine, "1.50").call("GET", "/x")
    assert engine.requests[0].startswith(b"GET /below/v1.50/x HTTP/1.1")


def test_json_values_come_line_by_line() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = head + b'3\r\n{"a\r\n8\r\n":1}\n\n{}\r\n0\r\n\r\n'
    response = api.Client(Engine(raw)).request("GET", "/events")
    values: Iterator[object] = response.json_values()
    assert list(values) == [{"a": 1}, {}]
    assert response.reusable


def test_a_line_break_cannot_be_smuggled_into_a_header() -> None:
    ours, _theirs = socket.socketpair()
    with pytest.raises(http.ProtocolError):
        http.send_request(ours, "GET", "/x HTTP/1.1\r\nX: y", "h", {}, None)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("unix:///a/b", "unix:///a/b"),
        ("tcp://h", "tcp://h:2375"),
        ("tcp://[::1]:99", "tcp://[::1]:99"),
        ("h:1", "tcp://h:1"),
        ("tcp://h:1/", "tcp://h:1"),
        ("tcp://h:1/below/a/path/", "tcp://h:1/below/a/path"),
    ],
)
def test_addresses(address: str, shown: str) -> None:
    assert addresses.parse(address).address == shown


@pytest.mark.parametrize(
    "address", ["ftp://x", "tcp://h:x", "tcp://h:99999", "tcp://[::1", "tcp://h/a b"]
)
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(transport.BadAddress):
        addresses.parse(address)


def test_no_engine(tmp_path: object) -> None:
    with pytest.raises(api.ConnectionFailed, match="Cannot connect to the Docker daemon at unix:"):
        api.Client(addresses.parse(f"unix://{tmp_path}/none")).call("GET", "/x")


def test_default_address_from_the_environment() -> None:
    both = {"FIRKIN_HOST": "unix:///f", "DOCKER_HOST": "unix:///d"}
    assert addresses.default_address(both) == "unix:///f"
    assert addresses.default_address({"DOCKER_HOST": "unix:///d"}) == "unix:///d"
