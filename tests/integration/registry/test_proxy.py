"""The pull-through cache: fresh, stale, expired, and an upstream that lies."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import registryrig as rig


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[rig.Server]:
    with rig.serving(tmp_path / "upstream", '[auth]\nmode = "users"\n') as server:
        done = server.run("user", "--admin", "--password-stdin", "--", "add", "u", stdin="pw\n")
        assert done.returncode == 0
        server.http = rig.Http("127.0.0.1", server.port, rig.basic("u", "pw"))
        yield server


def config(endpoint: str, **more: object) -> str:
    lines = [f'upstream = "{endpoint}"', 'username = "u"', 'password = "pw"', "timeout = 5"]
    return "\n".join(["[proxy]", *lines, *(f"{key} = {value}" for key, value in more.items())])


def test_cache(upstream: rig.Server, tmp_path: Path) -> None:
    layer = os.urandom(3_000_000)
    digest = upstream.http.push_image("a/b", "v1", layer)
    with rig.serving(tmp_path / "cache", config(f"http://{upstream.name}", ttl=0)) as cache:
        http = cache.http
        assert http.get("/v2/a/b/manifests/v1").headers["Docker-Content-Digest"] == digest
        blob = f"/v2/a/b/blobs/{rig.digest(layer)}"
        head = http.ask("HEAD", blob)
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(layer)))
        with ThreadPoolExecutor(6) as pool:
            assert all(a.body == layer for a in pool.map(lambda _: http.get(blob), range(6)))
        assert http.get(blob, Range="bytes=5-9").body == layer[5:10]
        for target in ("manifests/none", f"blobs/{rig.digest(b'?')}"):
            assert http.get(f"/v2/a/b/{target}").status == 404
        assert http.get("/v2/none/manifests/v1").status == 404
        answer = http.ask("POST", "/v2/a/b/blobs/uploads/", b"")
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")
        changed = upstream.http.push_image("a/b", "v1", b"other")
        assert http.get("/v2/a/b/manifests/v1").headers["Docker-Content-Digest"] == changed
        upstream.end()
        for reference in ("v1", digest):
            assert http.get(f"/v2/a/b/manifests/{reference}").status == 200
        assert http.get(blob).body == layer
        answer = http.get("/v2/a/b/manifests/v2")
        assert (answer.status, answer.code) == (503, "UNAVAILABLE")
        assert cache.run("scrub").returncode == 0
        upstream.start()
        assert http.get("/v2/a/b/manifests/v1").status == 200


def test_tags_stay_fresh_for_a_while_and_unused_ones_expire(
    upstream: rig.Server, tmp_path: Path
) -> None:
    upstream.http.push_image("a", "v1", b"layer")
    with rig.serving(tmp_path / "cache", config(f"http://{upstream.name}", ttl=600)) as cache:
        first = cache.http.get("/v2/a/manifests/v1")
        cache.http.get(f"/v2/a/blobs/{rig.digest(b'layer')}")
        upstream.http.push_image("a", "v1", b"newer")
        assert cache.http.get("/v2/a/manifests/v1").body == first.body
        cache.config.write_text(config(f"http://{upstream.name}", expire_days=0.0000001))
        done = cache.run("gc", "--grace", "0", "--untagged-days", "0")
        assert "Untagged: a:v1" in done.stdout, done
        assert not [path for path in (cache.data / "blobs").rglob("*") if path.is_file()]


class Liar(BaseHTTPRequestHandler):
    """A registry that sends wrong bytes, too many, too few, or a wrong manifest."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"x" * 500_000
        length = len(body)
        if "manifests" in self.path:
            body = rig.encode(rig.image(b"{}"))
            length = len(body)
        elif "cut" in self.path:
            body = body[:-1]
        elif "long" in self.path:
            length -= 1000
        self.send_response(200)
        self.send_header("Content-Type", rig.OCI_MANIFEST)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, *words: object) -> None:
        pass


def test_an_upstream_that_lies(tmp_path: Path) -> None:
    liar = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=liar.serve_forever, daemon=True).start()
    right = f"sha256:{hashlib.sha256(b'x' * 500_000).hexdigest()}"
    with rig.serving(tmp_path, config(f"http://127.0.0.1:{liar.server_port}")) as cache:
        http = cache.http
        for name, digest in (("cut", right), ("long", right), ("wrong", rig.digest(b"?"))):
            try:
                body = http.get(f"/v2/{name}/blobs/{digest}").body
            except OSError:
                body = b""
            except Exception as error:  # http.client: the body broke off
                body = getattr(error, "partial", b"")
            assert len(body) < 500_000 - 1000
        assert http.get(f"/v2/a/manifests/{rig.digest(b'?')}").status == 503
        assert http.get(f"/v2/good/blobs/{right}").body == b"x" * 500_000
        assert cache.run("scrub").stdout.startswith("1 blobs")
    liar.shutdown()
    liar.server_close()
