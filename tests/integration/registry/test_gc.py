"""Garbage collection while others push, retention, scrubbing."""

from __future__ import annotations

import concurrent.futures
import os
import time
from pathlib import Path

import registryrig as rig


def stored(server: rig.Server) -> set[str]:
    return {path.name for path in (server.data / "blobs").rglob("*") if path.is_file()}


def digits(data: bytes) -> str:
    return rig.digest(data).partition(":")[2]


def gc(server: rig.Server, *words: str) -> str:
    done = server.run("gc", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_goes_and_what_stays(tmp_path: Path) -> None:
    with rig.serving(tmp_path, "") as server:
        http = server.http
        http.push_image("a", "v1", b"used")
        http.push_blob("a", b"unused")
        http.push_blob("b", b"used")  # a link that no manifest needs, of a blob that another does
        assert "Deleted 0 blobs" in gc(server)  # the grace period protects what is being pushed
        before = stored(server)
        assert "Would delete 1 blobs" in gc(server, "--grace", "0", "--dry-run")
        assert stored(server) == before
        assert http.get(f"/v2/a/blobs/{rig.digest(b'unused')}").status == 200
        assert "Deleted 1 blobs" in gc(server, "--grace", "0")
        assert digits(b"unused") not in stored(server)
        assert http.get(f"/v2/a/blobs/{rig.digest(b'unused')}").status == 404
        assert http.get(f"/v2/b/blobs/{rig.digest(b'used')}").status == 404
        assert http.get(f"/v2/a/blobs/{rig.digest(b'used')}").body == b"used"
        http.ask(
            "DELETE",
            f"/v2/a/manifests/{http.get('/v2/a/manifests/v1').headers['Docker-Content-Digest']}",
        )
        gc(server, "--grace", "0")
        assert stored(server) == set()
        assert http.get("/v2/a/tags/list").code == "NAME_UNKNOWN"
        assert http.push_blob("a", b"unused") == rig.digest(b"unused")
        assert "0 problems" in server.run("scrub").stdout


def test_untagged_manifests(tmp_path: Path) -> None:
    with rig.serving(tmp_path, "") as server:
        http = server.http
        child = http.push_image("a", "", b"child")
        size = len(http.get(f"/v2/a/manifests/{child}").body)
        index = http.push_manifest("a", "all", rig.index((child, size)))
        subject = {"mediaType": rig.OCI_INDEX, "digest": index, "size": 1}
        signature = http.push_image("a", "", b"signature", subject=subject)
        loose = http.push_image("a", "", b"loose")
        assert "0 manifests" in gc(server, "--grace", "0")  # by default they stay
        out = gc(server, "--grace", "0", "--untagged-days", "0")
        assert out.startswith(f"Deleted: a@{loose}\n")
        for digest in (child, index, signature):
            assert http.get(f"/v2/a/manifests/{digest}").status == 200
        http.ask("DELETE", "/v2/a/manifests/all")
        out = gc(server, "--grace", "0", "--untagged-days", "0")
        assert "3 manifests" in out  # the index, then what it held and what was about it
        assert stored(server) == set()


def test_retention(tmp_path: Path) -> None:
    config = """
    [[gc.retention]]
    repositories = "app/*"
    tags = "release-*"
    keep = true
    [[gc.retention]]
    repositories = "app/*"
    tags = "ci-*"
    keep_last = 2
    [[gc.retention]]
    repositories = "app/*"
    tags = "day-*"
    keep_days = 1
    """
    with rig.serving(tmp_path, config) as server:
        for tag in ("ci-1", "ci-2", "ci-3", "release-1", "latest", "day-1"):
            server.http.push_image("app/web", tag, tag.encode())
            time.sleep(0.02)
        server.http.push_image("other", "ci-1")
        assert gc(server, "--dry-run").startswith("Untagged: app/web:ci-1\n")
        assert "1 tags" in gc(server)
        tags = server.http.get("/v2/app/web/tags/list").json["tags"]
        assert tags == ["ci-2", "ci-3", "day-1", "latest", "release-1"]
        assert server.http.get("/v2/other/tags/list").json["tags"] == ["ci-1"]


def test_collecting_while_others_push(tmp_path: Path) -> None:
    """Pushes of images that share blobs, deletions, and collections without a grace period.

    A push may be told that a blob has gone, and then pushes it again; an image that was taken is
    whole until somebody deletes it.
    """
    with rig.serving(tmp_path, "", "--workers", "2") as server:
        deadline = time.monotonic() + 6
        shared = [os.urandom(50_000) for _ in range(4)]

        def push(number: int) -> int:
            http, done = rig.Http("127.0.0.1", server.port), 0
            name = f"r{number}"
            while time.monotonic() < deadline:
                own = os.urandom(1000)
                layers = [shared[(done + number) % 4], shared[done % 4], own]
                for _ in range(30):
                    for layer in (b"{}", *layers):
                        http.push_blob(name, layer)
                    document = rig.image(b"{}", *layers)
                    answer = http.ask("PUT", f"/v2/{name}/manifests/v1", rig.encode(document))
                    if answer.status == 201:
                        break
                    assert answer.code == "MANIFEST_BLOB_UNKNOWN", answer
                else:
                    continue  # the collector was always faster
                digest = answer.headers["Docker-Content-Digest"]
                for layer in layers:
                    found = http.get(f"/v2/{name}/blobs/{rig.digest(layer)}")
                    assert (found.status, found.body) == (200, layer)
                assert http.ask("DELETE", f"/v2/{name}/manifests/{digest}").status == 202
                done += 1
            return done

        def collect() -> int:
            count = 0
            while time.monotonic() < deadline:
                gc(server, "--grace", "0")
                count += 1
            return count

        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            pushing = [pool.submit(push, number) for number in range(3)]
            collecting = pool.submit(collect)
            assert sum(future.result() for future in pushing) > 0
            assert collecting.result() > 0
        done = server.run("scrub")
        assert (done.returncode, "0 problems" in done.stdout) == (0, True), done.stdout
        gc(server, "--grace", "0")
        assert stored(server) == set()


def test_expired_uploads(tmp_path: Path) -> None:
    with rig.serving(tmp_path, "[uploads]\nexpire = 3600\n") as server:
        where, other = server.http.begin("a"), server.http.begin("a")
        server.http.ask("PATCH", where, b"some")
        server.http.ask("PATCH", other, b"some")
        old = time.time() - 7200
        os.utime(server.data / "uploads" / where.rpartition("/")[2], (old, old))
        assert "1 uploads" in gc(server, "--dry-run")
        assert server.http.get(where).status == 204
        assert "1 uploads" in gc(server)
        assert server.http.get(where).status == 404
        assert server.http.get(other).status == 204


def test_scrub(tmp_path: Path) -> None:
    with rig.serving(tmp_path, "") as server:
        http = server.http
        http.push_image("a", "v1", b"first", b"second", b"third")
        paths = {path.name: path for path in (server.data / "blobs").rglob("*")}
        paths[digits(b"first")].write_bytes(b"fIrst")
        paths[digits(b"second")].unlink()
        done = server.run("scrub")
        assert done.returncode == 1
        assert f"blob {rig.digest(b'first')}: its bytes have the digest" in done.stdout
        assert f"blob {rig.digest(b'second')}: it is missing" in done.stdout
        assert "third" not in done.stdout
        assert server.run("scrub", "--repair").returncode == 1
        for data in (b"first", b"second"):
            assert http.get(f"/v2/a/blobs/{rig.digest(data)}").status == 404
        done = server.run("scrub")
        assert f"blob {rig.digest(b'first')} is missing; push the image again" in done.stdout
        http.push_image("a", "v1", b"first", b"second", b"third")
        assert http.get(f"/v2/a/blobs/{rig.digest(b'first')}").body == b"first"
        assert server.run("scrub").returncode == 0
