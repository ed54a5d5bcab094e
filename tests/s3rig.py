"""An S3 API server of a test's own (moto), with a way to make it fail or dawdle."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
import urllib.request
from collections.abc import Iterator

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "blobs"
KEYS = {"access_key": "test", "secret_key": "test", "region": "us-east-1"}


def client(endpoint: str):  # type: ignore[no-untyped-def]
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name=KEYS["region"],
        aws_access_key_id=KEYS["access_key"], aws_secret_access_key=KEYS["secret_key"],
    )  # fmt: skip


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A server with an empty bucket; gives its endpoint."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        # All servers of a process share what they store, those that have ended too.
        reset = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset, timeout=10).close()
        client(endpoint).create_bucket(Bucket=BUCKET)
        yield endpoint
    finally:
        server.stop()


def config(endpoint: str, **more: object) -> str:
    """The registry's configuration for it."""
    values = {"bucket": BUCKET, "endpoint": endpoint, "prefix": "registry/a", **KEYS, **more}
    lines = [
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"
        for key, value in values.items()
    ]
    return "\n".join(["[s3]", *lines, ""])


class Faults(socketserver.ThreadingTCPServer):
    """A proxy before a server that cuts connections and slows them down, as it is told.

    ``cut`` is after how many bytes of an answer a connection breaks, -1 for never; ``refuse`` how
    many of the next connections are closed at once; ``rate`` bytes a second, 0 for no limit.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.target = target
        self.cut = -1
        self.refuse = 0
        self.rate = 0
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"


class _Forward(socketserver.BaseRequestHandler):
    server: Faults

    def handle(self) -> None:
        if self.server.refuse > 0:
            self.server.refuse -= 1
            return
        with socket.create_connection(self.server.target) as upstream:
            thread = threading.Thread(target=self._pump, args=(self.request, upstream, False))
            thread.start()
            self._pump(upstream, self.request, True)
            thread.join()

    def _pump(self, source: socket.socket, target: socket.socket, answer: bool) -> None:
        sent = 0
        try:
            while data := source.recv(65536):
                cut = self.server.cut
                if answer and 0 <= cut < sent + len(data):
                    target.sendall(data[: max(0, cut - sent)])
                    break
                target.sendall(data)
                sent += len(data)
                if self.server.rate:
                    time.sleep(len(data) / self.server.rate)
        except OSError:
            pass
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def faulty(endpoint: str) -> Iterator[Faults]:
    """A proxy before ``endpoint``."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    with Faults((host, int(port))) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()
