"""The distribution-spec's requirements of a registry, over raw HTTP: one test each, by number.

===  ===========================================================================================
 1   GET /v2/ answers 200
 2   names follow the grammar; others get NAME_INVALID
 3   GET of a manifest by tag and by digest answers 200 with exactly the bytes that were pushed
 4   ... and with its digest in Docker-Content-Digest
 5   ... with the Content-Type that it was pushed with, without parameters
 6   an unknown manifest, or one of an unknown repository, answers 404
 7   GET of a blob answers 200 with its bytes and its digest in Docker-Content-Digest
 8   an unknown blob, or one that another repository has, answers 404
 9   Range requests of blobs follow RFC 9110
10   HEAD of a blob or manifest answers 200 with digest and length and no body; 404 if unknown
11   an invalid digest, or one of an unknown algorithm, answers 400 DIGEST_INVALID
12   POST begins an upload: 202, a Location with a unique id
13   PUT of the whole blob with its digest closes it: 201, the blob's Location, readable there
14   POST with the digest takes a blob in one request
15   a body that is not what the digest says is refused, and never readable
16   blobs named by sha512 are verified and served
17   PATCH appends a chunk: 202, a Location and the Range that has arrived
18   the last chunk may come with the closing PUT
19   a chunk out of order answers 416 and changes nothing
20   a closing chunk out of order answers 416
21   GET of an upload answers 204 with Location and Range: an interrupted client goes on from there
22   DELETE of an upload cancels it: 204, then 404
23   a mount from another repository answers 201, the blob's Location
24   a mount that is not possible begins an upload: 202
25   PUT of a manifest answers 201, its Location and Docker-Content-Digest
26   PUT of a manifest by digest needs that digest
27   a manifest that names blobs that are not there gets MANIFEST_BLOB_UNKNOWN
28   ... and so does an index of manifests that are not there
29   a manifest without JSON, with unknown or contradicting media types gets MANIFEST_INVALID
30   a manifest of four megabytes is taken; a larger one answers 413
31   several tags may be pushed with one manifest; each is in OCI-Tag
32   a manifest with a subject is taken though the subject is unknown; OCI-Subject says it was seen
33   tags are listed in the order of their bytes; 404 for an unknown repository
34   n limits the tags and gives a Link to the next page; n=0 gives none, without a Link
35   last begins after a tag, whether it exists or not
36   referrers answer 200 with an index, empty for a subject without any
37   ... whose descriptors have the artifact type (or the configuration's type) and annotations
38   ... filtered by artifactType, said by OCI-Filters-Applied
39   ... and in pages, with a Link to the next one
40   an invalid digest of referrers answers 400
41   DELETE of a tag answers 202 and leaves the manifest and its other tags
42   DELETE of a manifest answers 202, then 404, and its tags are gone
43   DELETE of a blob answers 202, then 404; 404 for one that is not there
44   what a manifest still needs cannot be deleted: 405
45   errors are JSON with the spec's codes
46   a manifest that was pushed again, or a blob, is not an error
47   chunks may come in chunked transfer encoding, without a length
48   Docker's _catalog lists repositories, in pages
49   conditional requests answer 304
50   an unknown path answers 404, an unknown method 405 with Allow
51   a client that asks beforehand (Expect: 100-continue) is told to send its body, or refused
===  ===========================================================================================
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import registryrig as rig

LINK = re.compile(r"<([^>]+)>; rel=\"next\"")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Server]:
    with rig.serving(tmp_path_factory.mktemp("spec"), "", "--workers", "2") as server:
        yield server


@pytest.fixture
def http(server: rig.Server) -> rig.Http:
    return server.http


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own."""
    return "spec/" + request.node.name.replace("test_", "t").split("[")[0].replace("_", "-")


def next_page(answer: rig.Answer) -> str | None:
    link = answer.headers["Link"]
    if link is None:
        return None
    match = LINK.fullmatch(link)
    assert match
    return match[1]


def test_01_version(http: rig.Http) -> None:
    answer = http.get("/v2/")
    assert answer.status == 200
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert answer.headers["Content-Type"] == "application/json"
    assert http.get("/v2").status == 200


@pytest.mark.parametrize(
    "name", ["Upper", "a//b", "-a", "a-", "a/", "../etc", "a..b", "a___b", "x" * 256, "a%2e%2e/b"]
)
def test_02_names(http: rig.Http, name: str) -> None:
    answer = http.get(f"/v2/{name}/tags/list")
    assert answer.status in (400, 404)
    assert answer.code in ("NAME_INVALID", "UNSUPPORTED")
    assert http.ask("POST", f"/v2/{name}/blobs/uploads/", b"").status in (400, 404)


def test_02_names_with_separators(http: rig.Http) -> None:
    for name in ("a", "a.b_c__d---e/f0", "blobs/uploads", "manifests/x", "a/tags/list", "1/2/3/4"):
        digest = http.push_image(name, "t")
        assert http.get(f"/v2/{name}/manifests/t").headers["Docker-Content-Digest"] == digest


def test_03_manifest_bytes(http: rig.Http, name: str) -> None:
    config = b"{}"
    http.push_blob(name, config)
    data = json.dumps(rig.image(config), indent=7).encode() + b"\n\n"
    headers = {"Content-Type": rig.OCI_MANIFEST}
    assert http.ask("PUT", f"/v2/{name}/manifests/v1", data, headers).status == 201
    for reference in ("v1", rig.digest(data)):
        answer = http.get(f"/v2/{name}/manifests/{reference}")
        assert (answer.status, answer.body) == (200, data)


def test_04_manifest_digest(http: rig.Http, name: str) -> None:
    digest = http.push_image(name, "v1")
    answer = http.get(f"/v2/{name}/manifests/v1")
    assert answer.headers["Docker-Content-Digest"] == digest == rig.digest(answer.body)


def test_05_manifest_type(http: rig.Http, name: str) -> None:
    config = b"{}"
    http.push_blob(name, config)
    document = rig.image(config)
    for kind in (rig.OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"):
        document["mediaType"] = kind
        http.push_manifest(name, "v1", document, f"{kind}; charset=utf-8")
        assert http.get(f"/v2/{name}/manifests/v1").headers["Content-Type"] == kind


def test_06_unknown_manifest(http: rig.Http, name: str) -> None:
    answer = http.get(f"/v2/{name}/manifests/v1")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
    http.push_image(name, "v1")
    for reference in ("v2", rig.digest(b"other")):
        answer = http.get(f"/v2/{name}/manifests/{reference}")
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


def test_07_blob(http: rig.Http, name: str) -> None:
    data = os.urandom(3_000_000)
    digest = http.push_blob(name, data)
    answer = http.get(f"/v2/{name}/blobs/{digest}")
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["Docker-Content-Digest"] == digest
    empty = http.push_blob(name, b"")
    assert http.get(f"/v2/{name}/blobs/{empty}").body == b""


def test_08_unknown_blob(http: rig.Http, name: str) -> None:
    digest = http.push_blob(name, b"some")
    for target in (f"/v2/{name}-2/blobs/{digest}", f"/v2/{name}/blobs/{rig.digest(b'x')}"):
        answer = http.get(target)
        assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    ("header", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1), ("bytes=10-19", 206, 10, 20), ("bytes=90-", 206, 90, 100),
        ("bytes=-7", 206, 93, 100), ("bytes=50-5000", 206, 50, 100), ("bytes=-5000", 206, 0, 100),
        ("bytes=100-", 416, 0, 0), ("bytes=-0", 416, 0, 0), ("bytes=5-4", 200, 0, 100),
        ("bytes=0-1,5-6", 200, 0, 100), ("lines=0-1", 200, 0, 100), ("bytes=-", 200, 0, 100),
        ("bytes=" + "9" * 400 + "-", 200, 0, 100),
    ],
)  # fmt: skip
def test_09_range(http: rig.Http, header: str, status: int, start: int, end: int) -> None:
    data = bytes(range(100))
    digest = http.push_blob("spec/t09", data)
    answer = http.get(f"/v2/spec/t09/blobs/{digest}", Range=header)
    assert answer.status == status
    if status == 416:
        assert answer.headers["Content-Range"] == "bytes */100"
        return
    assert answer.body == data[start:end]
    expected = f"bytes {start}-{end - 1}/100" if status == 206 else None
    assert answer.headers["Content-Range"] == expected
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_10_head(http: rig.Http, name: str) -> None:
    layer = b"l" * 5000
    manifest = http.push_image(name, "v1", layer)
    blob = f"/v2/{name}/blobs/{rig.digest(layer)}"
    for target in (blob, f"/v2/{name}/manifests/v1", f"/v2/{name}/manifests/{manifest}"):
        got, head = http.get(target), http.ask("HEAD", target)
        assert (head.status, head.body) == (200, b"")
        for header in ("Content-Length", "Docker-Content-Digest", "Content-Type"):
            assert head.headers[header] == got.headers[header] is not None
        assert int(head.headers["Content-Length"]) == len(got.body)
    for target in (f"/v2/{name}/manifests/v2", f"/v2/{name}/blobs/{rig.digest(b'?')}"):
        assert http.ask("HEAD", target).status == 404


@pytest.mark.parametrize(
    "digest",
    ["sha256:xyz", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 32, "nothing"],
)
def test_11_digests(http: rig.Http, digest: str) -> None:
    answer = http.get(f"/v2/spec/t11/blobs/{digest}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    where = http.begin("spec/t11")
    answer = http.ask("PUT", f"{where}?digest={digest}", b"x")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    answer = http.ask("PUT", where, b"x")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_12_begin(http: rig.Http, name: str) -> None:
    places = {http.begin(name) for _ in range(3)}
    assert len(places) == 3
    assert all(place.startswith(f"/v2/{name}/blobs/uploads/") for place in places)


def test_13_put(http: rig.Http, name: str) -> None:
    data = b"whole"
    answer = http.ask("PUT", f"{http.begin(name)}?digest={rig.digest(data)}", data)
    assert answer.status == 201
    assert answer.headers["Docker-Content-Digest"] == rig.digest(data)
    assert http.get(urlsplit(answer.headers["Location"]).path).body == data


def test_14_post(http: rig.Http, name: str) -> None:
    data = b"at once"
    target = f"/v2/{name}/blobs/uploads/?digest={rig.digest(data)}"
    answer = http.ask("POST", target, data, {"Content-Type": "application/octet-stream"})
    assert answer.status == 201
    assert http.get(answer.headers["Location"]).body == data


def test_15_damaged(http: rig.Http, server: rig.Server, name: str) -> None:
    wrong = rig.digest(b"promised")
    tries = [("POST", f"/v2/{name}/blobs/uploads/?digest={wrong}")]
    tries.append(("PUT", f"{http.begin(name)}?digest={wrong}"))
    for method, target in tries:
        answer = http.ask(method, target, b"delivered")
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
        assert answer.json["errors"][0]["detail"]["found"] == rig.digest(b"delivered")
    assert http.get(f"/v2/{name}/blobs/{wrong}").status == 404
    assert http.get(tries[1][1].partition("?")[0]).status == 404
    left = [path for path in (server.data / "uploads").iterdir() if path.read_bytes()]
    assert not any(path.read_bytes() == b"delivered" for path in left)


def test_16_sha512(http: rig.Http, name: str) -> None:
    data = os.urandom(2_500_000)
    digest = rig.digest(data, "sha512")
    started = http.ask("POST", f"/v2/{name}/blobs/uploads/?digest-algorithm=sha512", b"")
    for where in (started.headers["Location"], http.begin(name)):
        answer = http.ask("PUT", f"{where}?digest={digest}", data)
        assert answer.status == 201
        assert http.get(f"/v2/{name}/blobs/{digest}").body == data
    wrong = rig.digest(b"other", "sha512")
    assert http.ask("PUT", f"{http.begin(name)}?digest={wrong}", data).code == "DIGEST_INVALID"
    answer = http.ask("POST", f"/v2/{name}/blobs/uploads/?digest-algorithm=md5", b"")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def patch(http: rig.Http, where: str, data: bytes, start: int) -> rig.Answer:
    headers = {"Content-Range": f"{start}-{start + len(data) - 1}"}
    return http.ask("PATCH", where, data, headers)


def test_17_chunks(http: rig.Http, name: str) -> None:
    data = os.urandom(700_000)
    where, at = http.begin(name), 0
    for size in (100_000, 1, 499_999, 100_000):
        answer = patch(http, where, data[at : at + size], at)
        at += size
        assert answer.status == 202
        assert answer.headers["Range"] == f"0-{at - 1}"
        where = answer.headers["Location"]
    answer = http.ask("PUT", f"{where}?digest={rig.digest(data)}", b"")
    assert answer.status == 201
    assert http.get(answer.headers["Location"]).body == data


def test_18_last_chunk(http: rig.Http, name: str) -> None:
    where = http.begin(name)
    patch(http, where, b"first ", 0)
    headers = {"Content-Range": "6-9"}
    answer = http.ask("PUT", f"{where}?digest={rig.digest(b'first last')}", b"last", headers)
    assert answer.status == 201
    assert http.get(answer.headers["Location"]).body == b"first last"


def test_19_out_of_order(http: rig.Http, name: str) -> None:
    where = http.begin(name)
    for start in (5, 0):
        answer = patch(http, where, b"abc", start)
        assert answer.status == (416 if start else 202)
    for start in (0, 2, 4):
        answer = patch(http, where, b"xyz", start)
        assert (answer.status, answer.headers["Range"]) == (416, "0-2")
        assert answer.headers["Location"] == where
    assert http.ask("PATCH", where, b"abc", {"Content-Range": "3-9"}).code == "SIZE_INVALID"
    assert http.ask("PATCH", where, b"abc", {"Content-Range": "x"}).status == 400
    assert http.ask("PUT", f"{where}?digest={rig.digest(b'abc')}", b"").status == 201


def test_20_last_out_of_order(http: rig.Http, name: str) -> None:
    where = http.begin(name)
    patch(http, where, b"abc", 0)
    target = f"{where}?digest={rig.digest(b'abcdef')}"
    assert http.ask("PUT", target, b"def", {"Content-Range": "0-2"}).status == 416
    assert http.ask("PUT", target, b"def", {"Content-Range": "3-5"}).status == 201


def test_21_status(http: rig.Http, name: str) -> None:
    where = http.begin(name)
    assert http.get(where).status == 204
    data = os.urandom(500_000)
    connection = http.connection()
    connection.putrequest("PATCH", where)
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders()
    connection.send(data[:300_000])
    connection.close()  # the network broke
    for _ in range(50):  # the server may still be busy with what arrived
        answer = http.get(where)
        assert answer.status == 204
        last = int(answer.headers["Range"].partition("-")[2])
        at = last + 1 if last else 0
        answer = patch(http, answer.headers["Location"], data[at:], at)
        if answer.status != 416:
            break
    assert answer.status == 202
    answer = http.ask("PUT", f"{where}?digest={rig.digest(data)}", b"")
    assert answer.status == 201
    assert http.get(answer.headers["Location"]).body == data


def test_22_cancel(http: rig.Http, name: str) -> None:
    where = http.begin(name)
    patch(http, where, b"abc", 0)
    assert http.get(where.replace(name, f"{name}-2")).code == "BLOB_UPLOAD_UNKNOWN"
    assert http.ask("DELETE", where).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        answer = http.ask(method, where)
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_23_mount(http: rig.Http, name: str) -> None:
    digest = http.push_blob(name, b"shared")
    target = f"/v2/{name}-2/blobs/uploads/?mount={digest}&from={name}"
    answer = http.ask("POST", target, b"")
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v2/{name}-2/blobs/{digest}"
    assert http.get(answer.headers["Location"]).body == b"shared"


def test_24_no_mount(http: rig.Http, name: str) -> None:
    digest = http.push_blob(name, b"shared")
    for query in (f"mount={digest}&from={name}-3", f"mount={digest}",
                  f"mount={rig.digest(b'?')}&from={name}"):  # fmt: skip
        answer = http.ask("POST", f"/v2/{name}-2/blobs/uploads/?{query}", b"")
        assert answer.status == 202
        assert http.get(answer.headers["Location"]).status == 204


def test_25_put_manifest(http: rig.Http, name: str) -> None:
    config = b"{}"
    http.push_blob(name, config)
    data = json.dumps(rig.image(config)).encode()
    answer = http.ask("PUT", f"/v2/{name}/manifests/v1", data, {"Content-Type": rig.OCI_MANIFEST})
    assert answer.status == 201
    assert answer.headers["Docker-Content-Digest"] == rig.digest(data)
    assert http.get(answer.headers["Location"]).body == data


def test_26_manifest_by_digest(http: rig.Http, name: str) -> None:
    config = b"{}"
    http.push_blob(name, config)
    data = json.dumps(rig.image(config)).encode()
    headers = {"Content-Type": rig.OCI_MANIFEST}
    for algorithm in ("sha256", "sha512"):
        digest = rig.digest(data, algorithm)
        answer = http.ask("PUT", f"/v2/{name}/manifests/{digest}", data, headers)
        assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
        assert http.get(f"/v2/{name}/manifests/{digest}").body == data
    answer = http.ask("PUT", f"/v2/{name}/manifests/{rig.digest(b'?')}", data, headers)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert http.get(f"/v2/{name}/tags/list").json["tags"] == []


def test_27_unknown_blobs(http: rig.Http, name: str) -> None:
    http.push_blob(name, b"{}")
    http.push_blob(f"{name}-2", b"elsewhere")
    for layer in (b"nowhere", b"elsewhere"):
        data = json.dumps(rig.image(b"{}", layer)).encode()
        answer = http.ask("PUT", f"/v2/{name}/manifests/v1", data)
        assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
        assert answer.json["errors"][0]["detail"]["digest"] == rig.digest(layer)
    assert http.get(f"/v2/{name}/manifests/v1").status == 404
    document = rig.image(b"{}", b"nowhere")
    document["layers"][0]["urls"] = ["https://example.com/layer"]
    http.push_manifest(name, "foreign", document)


def test_28_unknown_manifests(http: rig.Http, name: str) -> None:
    digest = http.push_image(name, "v1")
    size = len(http.get(f"/v2/{name}/manifests/v1").body)
    http.push_manifest(name, "all", rig.index((digest, size)))
    for place, entries in ((name, [(rig.digest(b"?"), 5)]), (f"{name}-2", [(digest, size)])):
        data = json.dumps(rig.index(*entries)).encode()
        answer = http.ask("PUT", f"/v2/{place}/manifests/x", data)
        assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")


def test_29_invalid_manifests(http: rig.Http, name: str) -> None:
    http.push_blob(name, b"{}")
    good = rig.image(b"{}")
    wrong_size = {**good, "config": {**good["config"], "size": 3}}
    for document, kind in (
        ("no json", rig.OCI_MANIFEST),
        ("[" * 100_000, rig.OCI_MANIFEST),
        ("", rig.OCI_MANIFEST),
        ("[]", rig.OCI_MANIFEST),
        ({**good, "schemaVersion": 1}, rig.OCI_MANIFEST),
        (good, rig.OCI_INDEX),
        ({**good, "mediaType": rig.OCI_INDEX}, ""),
        ({**good, "mediaType": "text/html"}, ""),
        ({**good, "layers": [{"digest": "sha256:1", "size": 1, "mediaType": "x"}]}, ""),
        ({**good, "layers": [{"digest": rig.digest(b"{}")}]}, ""),
        ({**good, "layers": "x"}, ""),
        (wrong_size, ""),
        ({**good, "config": {**good["config"], "size": -2}}, ""),
        ({"schemaVersion": 2, "mediaType": rig.OCI_INDEX}, ""),
        (good, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    ):
        data = document if isinstance(document, str) else json.dumps(document)
        answer = http.ask("PUT", f"/v2/{name}/manifests/v1", data.encode(), {"Content-Type": kind})
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID"), (document, answer)
    for reference in ("-x", "x" * 129, "a b"):
        target = f"/v2/{name}/manifests/{reference.replace(' ', '%20')}"
        assert http.ask("PUT", target, json.dumps(good).encode()).code == "TAG_INVALID"


def test_30_sizes(http: rig.Http, name: str) -> None:
    http.push_blob(name, b"{}")
    document = {**rig.image(b"{}"), "annotations": {"a": "x" * 4_000_000}}
    http.push_manifest(name, "big", document)
    assert len(http.get(f"/v2/{name}/manifests/big").body) > 4_000_000
    document["annotations"] = {"a": "x" * 4_300_000}
    data = json.dumps(document).encode()
    for body in (data, iter([data])):  # with a length, and chunked
        try:
            answer = http.ask("PUT", f"/v2/{name}/manifests/big", body)
        except OSError:
            continue  # it hung up on us before we had sent it all
        assert answer.status == 413
    assert len(http.get(f"/v2/{name}/manifests/big").body) < 4_100_000


def test_31_many_tags(http: rig.Http, name: str) -> None:
    http.push_blob(name, b"{}")
    data = json.dumps(rig.image(b"{}")).encode()
    query = "&".join(f"tag=t{n}" for n in range(12))
    answer = http.ask("PUT", f"/v2/{name}/manifests/{rig.digest(data)}?{query}", data)
    assert answer.status == 201
    assert answer.headers.get_all("OCI-Tag") == [f"t{n}" for n in range(12)]
    assert len(http.get(f"/v2/{name}/tags/list").json["tags"]) == 12
    answer = http.ask("PUT", f"/v2/{name}/manifests/{rig.digest(data)}?tag=-", data)
    assert answer.code == "TAG_INVALID"


def test_32_subject(http: rig.Http, name: str) -> None:
    http.push_blob(name, b"{}")
    subject = rig.descriptor(rig.OCI_MANIFEST, b"not there")
    data = json.dumps({**rig.image(b"{}"), "subject": subject}).encode()
    answer = http.ask("PUT", f"/v2/{name}/manifests/sig", data)
    assert answer.status == 201
    assert answer.headers["OCI-Subject"] == subject["digest"]
    assert http.ask(
        "PUT", f"/v2/{name}/manifests/other", json.dumps(rig.image(b"{}")).encode()
    ).headers["OCI-Subject"] is None  # fmt: skip


TAGS = ["10", "2", "B", "Z_", "_x", "a", "a.b", "b-c", "latest"]


def push_tags(http: rig.Http, name: str) -> None:
    for tag in reversed(TAGS):
        http.push_image(name, tag)


def test_33_tags(http: rig.Http, name: str) -> None:
    answer = http.get(f"/v2/{name}/tags/list")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")
    push_tags(http, name)
    assert http.get(f"/v2/{name}/tags/list").json == {"name": name, "tags": TAGS}


def test_34_tag_pages(http: rig.Http, name: str) -> None:
    push_tags(http, name)
    for size in (1, 4, 9, 10, 500):
        found: list[str] = []
        target: str | None = f"/v2/{name}/tags/list?n={size}"
        while target:
            answer = http.get(target)
            assert len(answer.json["tags"]) == min(size, len(TAGS) - len(found))
            found += answer.json["tags"]
            target = next_page(answer)
        assert found == TAGS
    answer = http.get(f"/v2/{name}/tags/list?n=0")
    assert (answer.json["tags"], answer.headers["Link"]) == ([], None)
    for wrong in ("x", "-1", "1.5"):
        answer = http.get(f"/v2/{name}/tags/list?n={wrong}")
        assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")


def test_35_last(http: rig.Http, name: str) -> None:
    push_tags(http, name)
    for last in ("a", "a.0", "zzz", "B"):
        answer = http.get(f"/v2/{name}/tags/list?last={last}")
        assert answer.json["tags"] == [tag for tag in TAGS if tag > last]
    assert http.get(f"/v2/{name}/tags/list?n=2&last=B").json["tags"] == ["Z_", "_x"]


def push_referrers(http: rig.Http, name: str, count: int = 3) -> str:
    subject = http.push_image(name, "v1")
    size = len(http.get(f"/v2/{name}/manifests/v1").body)
    described = {"mediaType": rig.OCI_MANIFEST, "digest": subject, "size": size}
    for number in range(count):
        http.push_image(
            name, "", subject=described, artifactType=f"application/vnd.test.{number % 2}",
            annotations={"number": str(number)},
        )  # fmt: skip
    return subject


def test_36_referrers(http: rig.Http, name: str) -> None:
    for place in (name, f"{name}-unknown"):
        answer = http.get(f"/v2/{place}/referrers/{rig.digest(b'?')}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, rig.OCI_INDEX)
        assert answer.json == {"schemaVersion": 2, "mediaType": rig.OCI_INDEX, "manifests": []}
    subject = push_referrers(http, name)
    found = http.get(f"/v2/{name}/referrers/{subject}").json["manifests"]
    assert len(found) == 3
    for item in found:
        answer = http.get(f"/v2/{name}/manifests/{item['digest']}")
        assert answer.json["subject"]["digest"] == subject
        assert item["size"] == len(answer.body)


def test_37_referrer_descriptors(http: rig.Http, name: str) -> None:
    subject = push_referrers(http, name, 1)
    described = {"mediaType": rig.OCI_MANIFEST, "digest": subject, "size": 1}
    http.push_image(name, "", subject=described)
    http.push_manifest(name, "", {**rig.index(), "subject": described})
    found = http.get(f"/v2/{name}/referrers/{subject}").json["manifests"]
    types = {(item["mediaType"], item.get("artifactType")) for item in found}
    assert types == {
        (rig.OCI_MANIFEST, "application/vnd.test.0"),
        (rig.OCI_MANIFEST, rig.CONFIG),
        (rig.OCI_INDEX, None),
    }
    assert [item["annotations"] for item in found if "annotations" in item] == [{"number": "0"}]


def test_38_filter(http: rig.Http, name: str) -> None:
    subject = push_referrers(http, name)
    for kind, count in (("application/vnd.test.0", 2), ("application/vnd.test.1", 1), ("x", 0)):
        answer = http.get(f"/v2/{name}/referrers/{subject}?artifactType={kind}")
        assert len(answer.json["manifests"]) == count
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    answer = http.get(f"/v2/{name}/referrers/{subject}")
    assert answer.headers["OCI-Filters-Applied"] is None


def test_39_referrer_pages(http: rig.Http, name: str) -> None:
    subject = push_referrers(http, name, 5)
    found = []
    target: str | None = f"/v2/{name}/referrers/{subject}?n=2"
    while target:
        answer = http.get(target)
        found += [item["digest"] for item in answer.json["manifests"]]
        target = next_page(answer)
    assert len(set(found)) == len(found) == 5


def test_40_referrers_of_nothing(http: rig.Http) -> None:
    answer = http.get("/v2/spec/t40/referrers/nothing")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_41_delete_tag(http: rig.Http, name: str) -> None:
    digest = http.push_image(name, "v1")
    http.push_image(name, "v2")
    assert http.ask("DELETE", f"/v2/{name}/manifests/v1").status == 202
    assert http.get(f"/v2/{name}/manifests/v1").status == 404
    for reference in ("v2", digest):
        assert http.get(f"/v2/{name}/manifests/{reference}").status == 200
    assert http.ask("DELETE", f"/v2/{name}/manifests/v1").status == 404


def test_42_delete_manifest(http: rig.Http, name: str) -> None:
    target = f"/v2/{name}/manifests/{rig.digest(b'?')}"
    assert http.ask("DELETE", target).code == "NAME_UNKNOWN"
    digest = http.push_image(name, "v1")
    http.push_image(name, "v2")
    assert http.ask("DELETE", target).code == "MANIFEST_UNKNOWN"
    assert http.ask("DELETE", f"/v2/{name}/manifests/{digest}").status == 202
    for reference in ("v1", "v2", digest):
        assert http.get(f"/v2/{name}/manifests/{reference}").status == 404
    assert http.get(f"/v2/{name}/tags/list").json["tags"] == []


def test_43_delete_blob(http: rig.Http, name: str) -> None:
    digest = http.push_blob(name, b"mine")
    http.push_blob(f"{name}-2", b"mine")
    assert http.ask("DELETE", f"/v2/{name}/blobs/{digest}").status == 202
    assert http.get(f"/v2/{name}/blobs/{digest}").status == 404
    assert http.ask("DELETE", f"/v2/{name}/blobs/{digest}").code == "BLOB_UNKNOWN"
    assert http.get(f"/v2/{name}-2/blobs/{digest}").body == b"mine"


def test_44_needed(http: rig.Http, name: str) -> None:
    digest = http.push_image(name, "v1", b"layer")
    size = len(http.get(f"/v2/{name}/manifests/v1").body)
    index = http.push_manifest(name, "all", rig.index((digest, size)))
    for target in (f"blobs/{rig.digest(b'layer')}", f"manifests/{digest}"):
        answer = http.ask("DELETE", f"/v2/{name}/{target}")
        assert (answer.status, answer.code) == (405, "DENIED")
    for target in (f"manifests/{index}", f"manifests/{digest}", f"blobs/{rig.digest(b'layer')}"):
        assert http.ask("DELETE", f"/v2/{name}/{target}").status == 202


def test_45_errors(http: rig.Http) -> None:
    answer = http.get("/v2/spec/t45/manifests/x")
    assert answer.headers["Content-Type"] == "application/json"
    (error,) = answer.json["errors"]
    assert re.fullmatch("[A-Z_]+", error["code"])
    assert error["message"]


def test_46_again(http: rig.Http, name: str) -> None:
    assert http.push_blob(name, b"twice") == http.push_blob(name, b"twice")
    assert http.push_image(name, "v1") == http.push_image(name, "v1")


def test_47_transfer_encoding(http: rig.Http, name: str) -> None:
    data = os.urandom(300_000)
    where = http.begin(name)
    parts = (data[n : n + 7000] for n in range(0, len(data), 7000))
    assert http.ask("PATCH", where, parts).headers["Range"] == "0-299999"
    assert http.ask("PUT", f"{where}?digest={rig.digest(data)}", b"").status == 201


def test_48_catalog(http: rig.Http) -> None:
    for letter in "cab":
        http.push_image(f"zz/{letter}", "v1")
    http.push_blob("zz/d", b"no manifest")
    answer = http.get("/v2/_catalog?n=2&last=zz")
    assert answer.json == {"repositories": ["zz/a", "zz/b"]}
    answer = http.get(next_page(answer) or "")
    assert answer.json["repositories"] == ["zz/c"]
    assert next_page(answer) is None
    everything = http.get("/v2/_catalog?n=1000").json["repositories"]
    assert everything == sorted(everything)


def test_49_conditions(http: rig.Http, name: str) -> None:
    http.push_image(name, "v1", b"layer")
    for target in ("manifests/v1", f"blobs/{rig.digest(b'layer')}"):
        tag = http.get(f"/v2/{name}/{target}").headers["ETag"]
        answer = http.get(f"/v2/{name}/{target}", If_None_Match=tag)
        assert (answer.status, answer.body) == (304, b"")


def test_50_paths(http: rig.Http) -> None:
    for target in ("/v2/x", "/v2/a/b/c", "/v2/a/blobs/b/c/d", "/v2/_other", "/v3/"):
        assert http.get(target).status == 404
    answer = http.ask("PUT", "/v2/a/tags/list")
    assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "UNSUPPORTED", "GET")
    assert http.ask("BREW", "/v2/").status in (400, 405)


def test_51_expect(http: rig.Http, name: str) -> None:
    where = http.begin(name)
    for target, first in ((where, b"100"), (where.replace(name, "Upper"), b"400")):
        with socket.create_connection((http.host, http.port), 30) as sock:
            head = f"PATCH {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            sock.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert sock.recv(65536).split()[1] == first
            if first == b"100":
                sock.sendall(b"data")
                assert sock.recv(65536).split()[1] == b"202"


def test_no_request_failed_inside(server: rig.Server) -> None:
    """Nothing that these tests sent was answered by an accident."""
    assert "Traceback" not in server.log()


def test_nothing_is_left_in_uploads(server: rig.Server, tmp_path: Path) -> None:
    """A finished upload leaves no file."""
    before = set((server.data / "uploads").iterdir())
    server.http.push_image("spec/last", "v1", b"a layer")
    assert set((server.data / "uploads").iterdir()) <= before
