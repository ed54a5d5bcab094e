"""Kills, full disks, failing storages, slow links: nothing corrupt is ever served."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import registryrig as rig
import s3rig


def push_all(
    server: rig.Server,
    name: str,
    until: float,
    done: dict[str, list[bytes]],
    tried: set[str],
) -> None:
    """Push images in chunks until ``until``; what was acknowledged goes into ``done``.

    ``tried`` gets the digests of what may be there although the answer was cut off.
    """
    number = 0
    while time.monotonic() < until:
        layers = [os.urandom(random.randrange(1, 1_500_000)) for _ in range(2)]
        try:
            for layer in layers:
                where = server.http.begin(name)
                half = len(layer) // 2
                for part in (layer[:half], layer[half:]):
                    answer = server.http.ask("PATCH", where, part)
                    assert answer.status == 202
                answer = server.http.ask("PUT", f"{where}?digest={rig.digest(layer)}", b"")
                assert answer.status == 201
            server.http.push_blob(name, b"{}")
            tried.update(map(rig.digest, layers))
            digest = server.http.push_manifest(name, f"t{number}", rig.image(b"{}", *layers))
        except (OSError, http.client.HTTPException, AssertionError):
            time.sleep(0.05)  # the registry is being killed and started again
            continue
        done[f"{name}@{digest}"] = layers
        number += 1


def test_killed_while_others_push(tmp_path: Path) -> None:
    """What was acknowledged survives SIGKILL at any moment; what was not leaves nothing wrong."""
    server = rig.Server(tmp_path)
    server.start("--workers", "2")
    done: dict[str, list[bytes]] = {}
    tried: set[str] = set()
    until = time.monotonic() + 8
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        pushing = [pool.submit(push_all, server, f"r{n}", until, done, tried) for n in range(3)]
        while time.monotonic() < until:
            time.sleep(random.uniform(0.3, 1.2))
            server.end(signal.SIGKILL)
            server.start("--workers", "2")
        for future in pushing:
            future.result()
    try:
        assert done
        for image, layers in done.items():
            name, _, digest = image.partition("@")
            answer = server.http.get(f"/v2/{name}/manifests/{digest}")
            assert (answer.status, rig.digest(answer.body)) == (200, digest)
            for layer in layers:
                assert server.http.get(f"/v2/{name}/blobs/{rig.digest(layer)}").body == layer
        found = server.run("scrub")
        assert found.returncode == 0, found.stdout
        (tmp_path / "registry.toml").write_text("[uploads]\nexpire = 0\n")
        time.sleep(0.1)
        server.run("gc", "--grace", "0")
        assert list((server.data / "uploads").iterdir()) == []
        blobs = [path for path in (server.data / "blobs").rglob("*") if path.is_file()]
        stored = {f"sha256:{path.name}" for path in blobs} - {rig.digest(b"{}")}
        needed = {rig.digest(layer) for layers in done.values() for layer in layers}
        assert needed <= stored <= needed | tried
    finally:
        server.end()


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with rig.serving(tmp_path, "", "--workers", "2") as server:
        assert server.process is not None
        parent = server.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children")
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if server.http.get("/v2/").status == 200:
                    break
            assert time.monotonic() < deadline
        server.http.push_image("a", "v1", b"layer")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    image, point = tmp_path / "disk", tmp_path / "mount"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(48 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    yield point
    subprocess.run(["umount", "-l", point], check=True)


@pytest.mark.root
def test_full_disk(small_disk: Path) -> None:
    with rig.serving(small_disk, "") as server:
        http = server.http
        first = os.urandom(8 << 20)
        http.push_image("a", "v1", first)
        statuses = []
        for _ in range(8):
            data = os.urandom(8 << 20)
            try:
                where = http.begin("a")
                answer = http.ask("PUT", f"{where}?digest={rig.digest(data)}", data)
            except (OSError, http_errors):
                continue
            except AssertionError as error:  # even beginning an upload takes some room
                assert "503" in str(error) or "500" in str(error)
                break
            statuses.append(answer.status)
            if answer.status != 201:
                assert answer.code in ("UNAVAILABLE", "UNKNOWN")
                assert b"full" in answer.body
        assert 201 in statuses
        assert http.get(f"/v2/a/blobs/{rig.digest(first)}").body == first
        assert http.get("/v2/a/manifests/v1").status == 200
        found = server.run("scrub")
        assert found.returncode == 0, found.stdout
        # Making room needs some room for the index: drop an upload that was cut.
        for path in (server.data / "uploads").iterdir():
            path.unlink()
        done = server.run("gc", "--grace", "0")
        assert done.returncode == 0, done.stderr
        http.push_image("a", "v2", os.urandom(1 << 20))


http_errors = http.client.HTTPException


def test_s3(tmp_path: Path) -> None:
    """A whole life over S3, then broken and slow connections to it."""
    with s3rig.serving() as endpoint, s3rig.faulty(endpoint) as proxy:
        config = s3rig.config(proxy.endpoint, timeout=5.0, attempts=2)
        with rig.serving(tmp_path, config) as server:
            http = server.http
            layer = os.urandom(2_000_000)
            digest = http.push_image("a", "v1", layer)
            blob = f"/v2/a/blobs/{rig.digest(layer)}"
            assert http.get(blob).body == layer
            assert http.get(blob, Range="bytes=100-299").body == layer[100:300]
            assert http.get("/health").json == {"status": "ok"}

            proxy.cut = 700_000
            with pytest.raises((http_errors, OSError)):
                http.get(blob)
            proxy.cut = 0
            answer = http.get(blob)
            assert (answer.status, answer.code) == (503, "UNAVAILABLE")
            assert http.get("/health").status == 503
            other = os.urandom(500_000)
            where = http.begin("a")
            answer = http.ask("PUT", f"{where}?digest={rig.digest(other)}", other)
            assert answer.status == 503
            assert http.get(f"/v2/a/blobs/{rig.digest(other)}").status == 404
            proxy.cut = -1
            assert http.ask("PUT", f"{where}?digest={rig.digest(other)}", b"").status == 201
            assert http.get(f"/v2/a/blobs/{rig.digest(other)}").body == other

            proxy.refuse = 1  # one failure is retried by the library
            assert http.get(blob).body == layer
            proxy.rate = 1_000_000
            assert http.get(blob).body == layer
            proxy.rate = 0
            assert server.run("scrub").returncode == 0
            http.ask("DELETE", f"/v2/a/manifests/{digest}")
            assert "Deleted 3 blobs" in server.run("gc", "--grace", "0").stdout
            listed = s3rig.client(endpoint).list_objects_v2(Bucket=s3rig.BUCKET)
            assert listed["KeyCount"] == 0


def test_s3_redirect(tmp_path: Path) -> None:
    with (
        s3rig.serving() as endpoint,
        rig.serving(tmp_path, s3rig.config(endpoint, redirect=60)) as server,
    ):
        digest = server.http.push_blob("a", b"fetched directly")
        answer = server.http.get(f"/v2/a/blobs/{digest}")
        assert answer.status == 307
        assert answer.headers["Location"].startswith(endpoint)


def test_slow_clients_do_not_stop_others(tmp_path: Path) -> None:
    """Clients that read or send next to nothing hold no thread and no lock."""
    with rig.serving(tmp_path, "", "--workers", "1") as server:
        data = os.urandom(20 << 20)
        digest = server.http.push_blob("a", data)
        slow = []
        for _ in range(80):
            connection = server.http.connection()
            connection.request("GET", f"/v2/a/blobs/{digest}")
            slow.append(connection)
        for _ in range(80):
            connection = server.http.connection()
            connection.putrequest("PATCH", server.http.begin("a"))
            connection.putheader("Content-Length", "1000000")
            connection.endheaders(b"some")
            slow.append(connection)
        assert server.http.get(f"/v2/a/blobs/{digest}").body == data
        server.http.push_image("a", "v1", os.urandom(1 << 20))
        for connection in slow:
            connection.close()
