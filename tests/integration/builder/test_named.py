"""Named contexts: other builds, images of OCI layouts, and what is wrong with them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from test_client import made, run, write

from rig import Engine

pytestmark = pytest.mark.root


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Another build's context."""
    return write(tmp_path / "base", {
        "Dockerfile": "FROM busybox AS early\nENV STAGE=early\nRUN cp /etc/passwd /e\n"
        "FROM early\nARG WORD=none\nENV STAGE=late\nCOPY f /f\n"
        "RUN cat /proc/sys/kernel/random/uuid > /once && echo $WORD > /word\n"
        'CMD ["cat", "/f"]\nONBUILD RUN echo triggered > /t\n',
        "Other": "FROM busybox\nRUN --mount=type=secret,id=tok cat /run/secrets/tok | wc -c > /n\n",
        "f": "from the base\n",
    })  # fmt: skip


def test_another_build(builds: Engine, base: Path, tmp_path: Path) -> None:
    root = write(tmp_path / "c", {
        "Dockerfile": "FROM base AS x\nRUN echo $STAGE > /s\nFROM busybox\n"
        "COPY --from=base /once /copied\nCOPY --from=x /once /t /s /word /\nRUN cmp /once /copied\n"
    })  # fmt: skip
    words = ("--no-cache", "--build-context", f"base=build:{base},arg=WORD=given", str(root))
    text = made(builds, "-t", "another", *words)
    assert text.count("RUN cat /proc/sys/kernel/random/uuid") == 1
    shown = builds.out("run", "--rm", "another", "cat", "/t", "/s", "/word")
    assert shown.split() == ["triggered", "late", "given"]
    (root / "Dockerfile").write_text("FROM base\nLABEL own=1\n")
    made(builds, "-t", "another", "--build-context", f"base=build:{base}", str(root))
    [config] = json.loads(builds.out("inspect", "another"))
    assert config["Config"]["Cmd"] == ["cat", "/f"]
    assert builds.out("run", "--rm", "another") == "from the base"
    again = made(builds, "-t", "another", "--build-context", f"base=build:{base}", str(root))
    assert "DONE" not in again.split("RUN cat /proc")[1].split("#")[0]


def test_its_file_target_and_secrets(builds: Engine, base: Path, tmp_path: Path) -> None:
    (tmp_path / "tok").write_text("12345")
    text = b"FROM busybox\nCOPY --from=a /e /e\nCOPY --from=b /n /n\nRUN ! test -e /f\n"
    made(builds, "-t", "its", "--secret", f"id=tok,src={tmp_path}/tok",
         "--build-context", f"a=build:{base},target=early",
         "--build-context", f"b=build:{base},file={base}/Other", "-", stdin=text)  # fmt: skip
    assert builds.out("run", "--rm", "its", "cat", "/n") == "5"


def test_its_errors(builds: Engine, base: Path) -> None:
    text = b"FROM base\n"
    (base / "Dockerfile").write_text("FROM busybox\nRUN echo words of the base; exit 3\n")
    done = run(builds, "--build-context", f"base=build:{base}", "-", stdin=text)
    assert done.returncode == 1
    assert done.stderr.count("words of the base") >= 2
    (base / "Dockerfile").write_text("FROM busybox\nRUNN\n")
    done = run(builds, "--build-context", f"base=build:{base}", "-", stdin=text)
    assert "unknown instruction: RUNN" in done.stderr
    for source, words in (
        (f"build:{base}/none", "is not found"),
        (f"build:{base},strange=1", "file=, target= and arg="),
        (f"build:{base},file=/nothing", "no such file"),
    ):
        done = run(builds, "--build-context", f"base={source}", "-", stdin=text)
        assert done.returncode == 1
        assert words in done.stderr, (source, done.stderr)


def test_a_layout(builds: Engine, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layout.mkdir()
    made(builds, "-o", f"type=oci,dest={tmp_path}/o.tar", "-t", "laid:v1", "-",
         stdin=b"FROM busybox\nRUN echo laid > /laid\nENV A=1\n")  # fmt: skip
    subprocess.run(["tar", "-xf", tmp_path / "o.tar", "-C", layout], check=True)
    index = json.loads((layout / "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    text = b"FROM l\nRUN cat /laid > /x; echo $A > /a\nFROM scratch\nCOPY --from=0 /x /a /\n"
    for source in (f"{layout}", f"{layout}:v1", f"{layout}@{digest}"):
        made(builds, "--no-cache", "--build-context", f"l=oci-layout://{source}", "-o",
             str(tmp_path / "out"), "-", stdin=text)  # fmt: skip
        assert (tmp_path / "out/x").read_text() == "laid\n"
        assert (tmp_path / "out/a").read_text() == "1\n"
    done = run(builds, "--build-context", f"l=oci-layout://{layout}:v2", "-", stdin=text)
    assert "has no image 'v2': it has " in done.stderr
    missing = f"sha256:{'0' * 64}"
    done = run(builds, "--build-context", f"l=oci-layout://{layout}@{missing}", "-", stdin=text)
    assert f"has no blob {missing}" in done.stderr
    done = run(builds, "--build-context", f"l=oci-layout://{tmp_path}", "-", stdin=text)
    assert "is no OCI layout" in done.stderr


def test_a_damaged_layout(builds: Engine, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layout.mkdir()
    made(builds, "-o", f"type=oci,dest={tmp_path}/o.tar", "-t", "laid:v1", "-",
         stdin=b"FROM busybox\nRUN echo damaged > /laid\n")  # fmt: skip
    subprocess.run(["tar", "-xf", tmp_path / "o.tar", "-C", layout], check=True)
    index = json.loads((layout / "index.json").read_text())
    path = layout / "blobs/sha256" / index["manifests"][0]["digest"][7:]
    path.write_bytes(path.read_bytes().replace(b'"size":', b'"size": '))
    text = b"FROM l\n"
    done = run(builds, "--build-context", f"l=oci-layout://{layout}", "-", stdin=text)
    assert done.returncode == 1
    assert "is damaged" in done.stderr
