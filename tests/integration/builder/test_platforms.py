"""Results that are an index: several platforms and attestations, kept, saved, pushed and pulled."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from test_client import made, run, write

from rig import Engine

pytestmark = pytest.mark.root

BOTH = "linux/amd64,linux/arm64"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A context whose image says for which platform it is."""
    return write(tmp_path / "c", {
        "Dockerfile": "FROM --platform=$BUILDPLATFORM busybox AS b\nARG TARGETARCH\n"
        f"RUN echo $TARGETARCH {tmp_path} > /p\nFROM scratch\nCOPY --from=b /p /\n",
    })  # fmt: skip


def fetched(registry: str, name: str, what: str) -> tuple[str, dict[str, Any]]:
    """A manifest of a registry: its digest and its document."""
    request = urllib.request.Request(
        f"http://{registry}/v2/{name}/manifests/{what}", headers={"Accept": f"{INDEX}, {MANIFEST}"}
    )
    with urllib.request.urlopen(request) as answer:
        return answer.headers["Docker-Content-Digest"], json.load(answer)


def variants(engine: Engine, name: str) -> dict[str, bool]:
    """The platforms that an image's name has, and whether they are here; attestations by kind."""
    [shown] = json.loads(engine.out("image", "inspect", name))
    [listed] = [
        one for one in json.loads(_raw(engine, "/images/json?manifests=1"))
        if name in (one["RepoTags"] or [])
    ]  # fmt: skip
    assert shown["Descriptor"]["digest"] == listed["Descriptor"]["digest"]
    assert listed["Size"] == sum(one["Size"]["Total"] for one in listed["Manifests"])
    found: dict[str, bool] = {}
    for number, one in enumerate(listed["Manifests"]):
        key = f"{one['Kind']} {number}"
        if one["Kind"] == "image":
            key = one["ImageData"]["Platform"]["architecture"]
        found[key] = one["Available"]
    return found


def _raw(engine: Engine, path: str) -> bytes:
    import unixhttp

    connection = unixhttp.Connection(engine.socket)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_all_is_kept_saved_pushed_and_pulled(
    builds: Engine, second: Engine, registry: str, root: Path, tmp_path: Path
) -> None:
    name = f"{registry}/kept:1"
    meta = tmp_path / "meta"
    made(builds, "--platform", BOTH, "--provenance=max", "--sbom=true", "-t", name,
         "--metadata-file", str(meta), str(root))  # fmt: skip
    whole = {"amd64": True, "arm64": True, "attestation 2": True, "attestation 3": True}
    assert variants(builds, name) == whole
    digest = json.loads(meta.read_text())["containerimage.digest"]
    arm = builds.out("image", "inspect", "-f", "{{.Id}}", "--platform", "linux/arm64", name)
    assert builds.out("inspect", "-f", "{{.Architecture}}", arm) == "arm64"
    assert arm not in builds.out("images", "-q", "--no-trunc")
    assert f"/kept@{digest}" in builds.out("inspect", "-f", "{{.RepoDigests}}", name)
    archive = tmp_path / "kept.tar"
    builds.run("save", "-o", str(archive), name)
    second.run("load", "-i", str(archive))
    assert variants(second, name) == whole
    second.run("rmi", name)
    assert arm not in second.out("images", "-aq", "--no-trunc")
    for client in ("firkin", "docker"):
        assert digest in builds.out("push", name, client=client)
        assert fetched(registry, "kept", "1")[0] == digest
    second.run("pull", "--platform", "linux/arm64", name)
    assert variants(second, name)["arm64"]
    assert not variants(second, name)["amd64"]
    second.run("pull", name)
    assert variants(second, name)["amd64"]
    assert second.out("inspect", "-f", "{{.Architecture}}", name) == "amd64"
    builds.run("image", "prune", "-f")
    assert variants(builds, name) == whole
    builds.run("rmi", name)
    assert arm not in builds.out("images", "-aq", "--no-trunc")


def test_a_part_that_lacks_is_not_pushed_as_a_whole(
    builds: Engine, second: Engine, registry: str, root: Path
) -> None:
    made(builds, "--platform", BOTH, "--push", "-t", f"{registry}/part:1", str(root))
    second.run("pull", "--platform", "linux/arm64", f"{registry}/part:1")
    second.run("tag", f"{registry}/part:1", f"{registry}/part:arm")
    second.run("push", f"{registry}/part:arm")
    _, document = fetched(registry, "part", "arm")
    assert document["mediaType"] == MANIFEST


def test_a_base_for_another_platform_is_its_variant(builds: Engine, root: Path) -> None:
    made(builds, "--platform", BOTH, "-t", "variants:base", str(root))
    text = b"FROM variants:base\nLABEL a=b\n"
    made(builds, "--platform", "linux/arm64", "-t", "variants:arm", "-", stdin=text)
    assert builds.out("inspect", "-f", "{{.Architecture}}", "variants:arm") == "arm64"


def test_building_again_leaves_one_index(builds: Engine, root: Path) -> None:
    for _ in range(2):
        made(builds, "--provenance=true", "-t", "again:1", str(root))
    assert len(json.loads(builds.out("inspect", "again:1"))[0]["RepoDigests"]) == 1
    made(builds, "-t", "again:1", str(root))
    assert variants(builds, "again:1") == {"amd64": True}


def test_an_archive_leaves_no_image(builds: Engine, root: Path, tmp_path: Path) -> None:
    before = builds.out("images", "-aq")
    made(builds, "--build-arg", "X=archive", "--label", "only=archived", "--platform", BOTH,
         "-o", f"type=oci,dest={tmp_path}/o.tar", str(root))  # fmt: skip
    assert builds.out("images", "-aq") == before
    with tarfile.open(tmp_path / "o.tar") as tar:
        file = tar.extractfile("index.json")
        assert file is not None
        assert json.load(file)["manifests"][0]["mediaType"] == INDEX


@pytest.mark.parametrize(
    ("options", "suffix"),
    [("", "+gzip"), (",compression=zstd,compression-level=5,force-compression=true", "+zstd")],
)
def test_the_digest_that_is_told_is_the_pushed_one(
    builds: Engine, second: Engine, registry: str, root: Path, tmp_path: Path, options: str,
    suffix: str,
) -> None:  # fmt: skip
    name = f"{registry}/told:{suffix[1:]}"
    made(builds, "-o", f"type=image,name={name},push=true{options}", "--metadata-file",
         str(tmp_path / "m"), str(root))  # fmt: skip
    digest, document = fetched(registry, "told", suffix[1:])
    assert json.loads((tmp_path / "m").read_text())["containerimage.digest"] == digest
    assert all(one["mediaType"].endswith(suffix) for one in document["layers"])
    second.run("pull", name)
    assert second.out("inspect", "-f", "{{.Id}}", name) == document["config"]["digest"]


def test_push_by_digest(builds: Engine, registry: str, root: Path, tmp_path: Path) -> None:
    made(builds, "-o", f"type=image,name={registry}/nameless,push-by-digest=true,push=true",
         "--metadata-file", str(tmp_path / "m"), str(root))  # fmt: skip
    digest = json.loads((tmp_path / "m").read_text())["containerimage.digest"]
    assert fetched(registry, "nameless", digest)[0] == digest
    assert "nameless" not in builds.out("images")


def test_annotations(builds: Engine, registry: str, root: Path) -> None:
    name = f"{registry}/noted:1"
    made(builds, "--platform", BOTH, "--push", "-t", name, "--annotation", "all=1",
         "--annotation", "manifest[linux/arm64]:arm=2", "--annotation", "index:top=3",
         "--annotation", "manifest-descriptor,index:two=4", str(root))  # fmt: skip
    _, index = fetched(registry, "noted", "1")
    assert index["annotations"] == {"top": "3", "two": "4"}
    assert [one["annotations"] for one in index["manifests"]] == [{"two": "4"}] * 2
    notes = [fetched(registry, "noted", one["digest"])[1]["annotations"] for one in
             index["manifests"]]  # fmt: skip
    assert notes == [{"all": "1"}, {"all": "1", "arm": "2"}]
    done = run(builds, "--annotation", "nothing[linux/arm64]:a=b", str(root))
    assert done.returncode == 1
    assert "the kinds are manifest, index" in done.stderr


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("type=image,name=x,compression=lz4", "compression=lz4: not supported"),
        ("type=image,name=x,compression=gzip,compression-level=40", "write 0 to 9 for gzip"),
        ("type=registry", "cannot push an image without a name"),
    ],
)
def test_bad_outputs(builds: Engine, root: Path, output: str, words: str) -> None:
    done = run(builds, "-o", output, str(root))
    assert done.returncode == 1
    assert words in done.stderr


def test_the_same_bytes_on_two_engines(builds: Engine, second: Engine, tmp_path: Path) -> None:
    """Indexes, compressed layers and attestations, too, follow from the inputs alone."""
    root = write(tmp_path / "c", {
        "Dockerfile": "FROM --platform=$BUILDPLATFORM busybox AS b\nARG TARGETARCH\n"
        "RUN mkdir /d && echo $TARGETARCH > /d/x && ln -s x /d/y\nCOPY --link f /f\n"
        "FROM scratch\nCOPY --from=b /d /f /\nADD <<X /h\ntext\nX\nWORKDIR /q\n",
        "f": "F",
    })  # fmt: skip
    found = []
    for engine, moment in ((builds, 1), (second, 2)):
        os.utime(root / "f", (1_700_000_000 + moment,) * 2)  # later than the epoch
        path = tmp_path / f"{moment}.tar"
        made(engine, "--no-cache", "--platform", BOTH, "--provenance=max", "--sbom=true", "-o",
             f"type=oci,compression=gzip,dest={path}", "-t", "same:1", str(root),
             env={"SOURCE_DATE_EPOCH": "1600000000"})  # fmt: skip
        found.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert found[0] == found[1]
