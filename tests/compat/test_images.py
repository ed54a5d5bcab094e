"""Images through both clients: archives in and out, names, history."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

import rig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root

Files = dict[str, bytes]


def _tar(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def oci_archive(layers: list[Files], compression: str, name: str) -> bytes:
    """An OCI layout with one image."""
    plain = [_tar(layer) for layer in layers]
    packed = {
        "": lambda data: data,
        "+gzip": gzip.compress,
        "+zstd": zstandard.ZstdCompressor().compress,
    }[compression]
    blobs: Files = {}

    def add(data: bytes, media: str) -> dict[str, object]:
        blobs["blobs/sha256/" + _digest(data)[7:]] = data
        return {"mediaType": media, "digest": _digest(data), "size": len(data)}

    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["cat", "/hello"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(data) for data in plain]},
    }).encode()  # fmt: skip
    media = "application/vnd.oci.image."
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{media}manifest.v1+json",
        "config": add(config, f"{media}config.v1+json"),
        "layers": [add(packed(data), f"{media}layer.v1.tar{compression}") for data in plain],
    }
    top = add(json.dumps(manifest).encode(), f"{media}manifest.v1+json")
    top["annotations"] = {"io.containerd.image.name": name}
    index = {"schemaVersion": 2, "manifests": [top]}
    return _tar({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
                 "index.json": json.dumps(index).encode(), **blobs})  # fmt: skip


def _busybox_layer() -> Files:
    return {"bin/cat": Path("/bin/busybox").read_bytes()}


@pytest.mark.parametrize("compression", ["", "+gzip", "+zstd"])
def test_oci_layouts(engine: Engine, client: str, compression: str) -> None:
    layer = _busybox_layer()
    archive = oci_archive([layer, {"hello": b"said\n"}], compression, "docker.io/library/made:1")
    out = engine.out("load", client=client, stdin=archive)
    assert out == "Loaded image: made:1"
    config = json.loads(engine.out("inspect", "made:1", client=client))[0]
    assert len(config["RootFS"]["Layers"]) == 2
    engine.run("rmi", "made:1", client=client)


def test_layers_are_told_while_they_come(engine: Engine) -> None:
    layer = {"big": os.urandom(3 << 20)}
    archive = oci_archive([layer], "", "docker.io/library/told:1")

    def load(query: str) -> list[dict[str, Any]]:
        headers = {"Content-Type": "application/x-tar"}
        connection = unixhttp.Connection(engine.socket)
        connection.request("POST", f"/v1.44/images/load{query}", archive, headers)
        return [json.loads(line) for line in connection.getresponse().read().splitlines()]

    *bars, last = load("")
    assert last == {"stream": "Loaded image: told:1\n"}
    size, name = len(_tar(layer)), _digest(_tar(layer))[7:19]
    assert bars[-1]["progressDetail"] == {"current": size, "total": size}
    assert {(bar["id"], bar["status"]) for bar in bars} == {(name, "Loading layer")}
    assert load("?quiet=1") == [last]
    engine.run("rmi", "told:1")


def test_layers_are_stored_once(engine: Engine) -> None:
    def blobs() -> set[str]:
        return set(os.listdir(engine.data / "content/blobs/sha256"))

    layer = {"big": os.urandom(1 << 20)}
    before = blobs()
    engine.run("load", stdin=oci_archive([layer], "", "docker.io/library/one:1"))
    one = blobs()
    engine.run("load", stdin=oci_archive([layer, {"x": b"y"}], "", "docker.io/library/two:1"))
    assert len(blobs() - one) == 3  # a layer, a config, a manifest
    engine.run("rmi", "one:1")
    assert _digest(_tar(layer))[7:] in blobs()
    engine.run("rmi", "two:1")
    assert blobs() == before


def test_changed_bytes_are_refused(engine: Engine, client: str) -> None:
    archive = oci_archive([{"hello": b"true words\n"}], "", "docker.io/library/lie:1")
    changed = archive.replace(b"true words\n", b"tru3 words\n")
    assert changed != archive
    done = engine.run("load", client=client, stdin=changed, check=False)
    assert done.returncode == 1
    assert b"digest" in done.stderr
    assert "lie" not in engine.out("images", "--format", "{{.Repository}}")


@pytest.mark.parametrize("packed", ["plain", "gzip", "zstd"])
def test_save_and_load(engine: Engine, client: str, packed: str, tmp_path: Path) -> None:
    engine.run("tag", "busybox", "copy:1", client=client)
    before = engine.out("inspect", "-f", "{{.Id}} {{.RootFS}}", "copy:1", client=client)
    engine.run("save", "-o", str(tmp_path / "a.tar"), "copy:1", client=client)
    data = (tmp_path / "a.tar").read_bytes()
    if packed == "gzip":
        data = gzip.compress(data, 1)
    elif packed == "zstd":
        data = zstandard.ZstdCompressor().compress(data)
    engine.run("rmi", "copy:1", client=client)
    engine.run("load", client=client, stdin=data)
    assert engine.out("inspect", "-f", "{{.Id}} {{.RootFS}}", "copy:1", client=client) == before
    engine.run("rmi", "copy:1", client=client)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_archives_of_skopeo(engine: Engine, client: str, kind: str, tmp_path: Path) -> None:
    engine.run("save", "-o", str(tmp_path / "a.tar"), "busybox", client=client)
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", f"docker-archive:{tmp_path}/a.tar",
         f"{kind}:{tmp_path}/b.tar:docker.io/library/moved:1"], check=True, capture_output=True,
    )  # fmt: skip
    engine.run("load", "-i", str(tmp_path / "b.tar"), client=client)
    assert engine.out("run", "--rm", "moved:1", "echo", "runs", client=client) == "runs"
    engine.run("rmi", "moved:1", client=client)


def test_import_with_changes(engine: Engine, client: str) -> None:
    tar = subprocess.run([rig.ROOT / "scripts/busybox-image"], capture_output=True).stdout
    changes = ["ENV A=b", 'CMD ["sh", "-c", "echo $A $PWD"]', "WORKDIR /tmp", "LABEL x=y",
               "EXPOSE 8080/udp", "USER nobody", "STOPSIGNAL SIGINT"]  # fmt: skip
    words = [word for change in changes for word in ("-c", change)]
    engine.run("import", *words, "-m", "by hand", "-", "changed:1", client=client, stdin=tar)
    assert engine.out("run", "--rm", "changed:1", client=client) == "b /tmp"
    config = json.loads(engine.out("inspect", "changed:1", client=client))[0]["Config"]
    assert config["Labels"] == {"x": "y"}
    assert config["User"] == "nobody"
    assert list(config["ExposedPorts"]) == ["8080/udp"]
    history = engine.out("history", "--format", "{{.Comment}}", "changed:1", client=client)
    assert "by hand" in history
    engine.run("rmi", "changed:1", client=client)


def test_rmi(engine: Engine, client: str) -> None:
    """Of an image of its own: how many names another has, other tests may change."""
    made = engine.out("create", "busybox", client=client)
    engine.run("commit", "-c", f"LABEL of={client}", made, "own:1", client=client)
    engine.run("rm", made, client=client)
    engine.run("tag", "own:1", "second:1", client=client)
    assert engine.out("rmi", "second:1", client=client) == "Untagged: second:1"
    box = engine.out("create", "own:1", client=client)
    engine.run("tag", "own:1", "third:1", client=client)
    refused = engine.run("rmi", "own:1", "third:1", client=client, check=False)
    assert refused.returncode == 1
    assert box[:12].encode() in refused.stderr
    assert engine.run("rmi", "nosuch:1", client=client, check=False).returncode == 1
    engine.run("rm", box, client=client)
    gone = engine.out("rmi", "third:1", client=client)
    assert gone.startswith("Untagged: third:1\nDeleted: sha256:"), gone


def test_commit(engine: Engine, client: str) -> None:
    engine.run(
        "run",
        "--name",
        "work",
        "busybox",
        "sh",
        "-c",
        "echo new > /added; rm /etc/group; mkdir -p /deep/dir; chmod 700 /deep",
        client=client,
    )
    engine.run(
        "commit", "-a", "me", "-m", "why", "-c", "ENV X=1", "work", "result:1", client=client
    )
    script = "cat /added; ls /etc/group /etc/passwd 2>/dev/null; stat -c %a /deep; echo $X"
    out = engine.out("run", "--rm", "result:1", "sh", "-c", script, client=client)
    assert out.split() == ["new", "/etc/passwd", "700", "1"]
    found = json.loads(engine.out("inspect", "result:1", client=client))[0]
    assert (found["Author"], found["Comment"]) == ("me", "why")
    engine.run("rm", "work", client=client)
    engine.run("rmi", "result:1", client=client)
