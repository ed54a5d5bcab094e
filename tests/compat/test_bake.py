"""What buildx brings along: builds that use each other, OCI layouts, caches, big results."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest
from test_buildx import buildx

import sshrig
from rig import Engine

pytestmark = pytest.mark.root

BAKE = """
group "default" { targets = ["app", "tool", "alone"] }
target "base" {
  context = "DIR/c"
  no-cache = true
  dockerfile-inline = <<EOT
FROM busybox
ENV FROM_BASE=yes
COPY f /f
RUN cat /proc/sys/kernel/random/uuid > /once
EOT
}
target "app" {
  context = "DIR/c"
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\\nRUN echo $FROM_BASE > /app\\n"
  tags = ["baked/app:1"]
}
target "tool" {
  context = "DIR/c"
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM busybox\\nCOPY --from=base /once /f /\\n"
  tags = ["baked/tool:1"]
}
target "alone" {
  context = "DIR/c"
  dockerfile-inline = "FROM busybox\\nCOPY f /alone\\n"
  tags = ["baked/alone:1"]
}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a context in it."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c/f").write_text("a file\n")
    return tmp_path


def run(engine: Engine, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = buildx(engine, root, *words)
    assert done.returncode == 0, done.stderr
    return done


def build(engine: Engine, root: Path, dockerfile: str, *words: str) -> str:
    (root / "c/Dockerfile").write_text(dockerfile)
    return run(engine, root, "build", "--progress=plain", *words, str(root / "c")).stderr


def test_targets_that_use_each_other(engine: Engine, root: Path) -> None:
    (root / "bake.hcl").write_text(BAKE.replace("DIR", str(root)))
    done = run(engine, root, "bake", "--progress=plain", "-f", str(root / "bake.hcl"))
    assert "error reading preface" not in done.stderr
    once = engine.out("run", "--rm", "baked/tool:1", "cat", "/once")
    assert engine.out("run", "--rm", "baked/app:1", "cat", "/once") == once
    assert engine.out("run", "--rm", "baked/app:1", "cat", "/app") == "yes"
    assert engine.out("run", "--rm", "baked/tool:1", "cat", "/f") == "a file"
    assert engine.out("run", "--rm", "baked/alone:1", "cat", "/alone") == "a file"
    (root / "bake.hcl").write_text(BAKE.replace("DIR", str(root)).replace("COPY f", "COPY g"))
    done = buildx(engine, root, "bake", "--progress=plain", "-f", str(root / "bake.hcl"))
    assert done.returncode != 0
    assert "g" in done.stderr.splitlines()[-1]


def test_big_results_are_whole(engine: Engine, root: Path) -> None:
    """More entries, and more bytes of one file, than go in one batch."""
    build(engine, root,
          "FROM busybox AS a\nRUN mkdir /d; for i in $(seq 500); do echo $i > /d/$i; done; "
          "seq 1000000 > /d/big; cd /d; md5sum * > /sums\nFROM scratch\nCOPY --from=a /d /sums /\n",
          "-o", f"type=local,dest={root}/out")  # fmt: skip
    done = subprocess.run(
        ["md5sum", "--quiet", "-c", "sums"], cwd=root / "out", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert len(list((root / "out").iterdir())) == 502


def test_an_oci_layout(engine: Engine, root: Path) -> None:
    build(engine, root, "FROM busybox\nRUN echo laid > /laid\n", "-t", "laid:v1", "-o",
          f"type=oci,dest={root}/o.tar")  # fmt: skip
    layout = root / "layout"
    layout.mkdir()
    subprocess.run(["tar", "-xf", root / "o.tar", "-C", layout], check=True)
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    for source in (f"{layout}:v1", f"{layout}@{digest}"):
        build(engine, root, "FROM l\nRUN cp /laid /x\n", "--no-cache", "--build-context",
              f"l=oci-layout://{source}", "-t", "laid:2")  # fmt: skip
        assert engine.out("run", "--rm", "laid:2", "cat", "/x") == "laid"


def test_a_cache_in_a_directory(engine: Engine, root: Path) -> None:
    text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u\n"
    build(engine, root, text, "-t", "dir:1", "--cache-to", f"type=local,dest={root}/k,mode=max")
    first = engine.out("run", "--rm", "dir:1", "cat", "/u")
    engine.run("rmi", "dir:1")
    run(engine, root, "prune", "-af")
    build(engine, root, text, "-t", "dir:1", "--cache-from", f"type=local,src={root}/k")
    assert engine.out("run", "--rm", "dir:1", "cat", "/u") == first


def test_several_platforms_and_attestations(engine: Engine, root: Path) -> None:
    if "does not support" in (
        told := buildx(engine, root, "build", "--help").stdout
    ) or "--attest" not in told:  # fmt: skip
        pytest.skip("this buildx knows no attestations")
    build(engine, root, "FROM scratch\nCOPY f /f\n", "--platform", "linux/amd64,linux/arm64",
          "--provenance=mode=max", "--sbom=true", "-t", "attested:1",
          "--annotation", "manifest:note=yes", "--metadata-file", f"{root}/m")  # fmt: skip
    digest = json.loads((root / "m").read_text())["containerimage.digest"]
    assert digest in engine.out("inspect", "-f", "{{.RepoDigests}}", "attested:1")
    tree = engine.out("image", "ls", "--tree", "attested:1")
    assert "linux/amd64" in tree and "linux/arm64" in tree


def test_prune_takes_what_fits_alone(engine: Engine, root: Path) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c echo 1 > /c/1; echo kept > /kept\n"
    build(engine, root, text)
    run(engine, root, "prune", "-f", "--filter", "type=exec.cachemount")
    shown = run(engine, root, "du", "--verbose").stdout
    assert "echo kept" in shown
    assert "exec.cachemount" not in shown
    done = buildx(engine, root, "prune", "-f", "--filter", "nothing=1")
    assert done.returncode != 0
    assert "invalid filter 'nothing==1'" in done.stderr
    assert "linux/amd64" in run(engine, root, "inspect").stdout
    assert "platform(" not in run(engine, root, "inspect").stdout


def test_an_ssh_agent(engine: Engine, root: Path) -> None:
    context = sshrig.context(root / "ssh")
    with sshrig.agent(root) as path:
        run(engine, root, "build", "-t", "agent:1", "--ssh", f"default={path}", "--ssh",
            f"two={path}", str(context))  # fmt: skip
    assert "firkin-key" in engine.out("run", "--rm", "agent:1", "cat", "/keys")
    assert engine.out("run", "--rm", "agent:1", "cat", "/owner") == "1234 640"


def test_contexts_on_standard_input(engine: Engine, root: Path) -> None:
    (root / "c/Dockerfile").write_text("FROM busybox\nCOPY f /f\n")
    tar = subprocess.run(["tar", "-c", "-C", root / "c", "."], capture_output=True, check=True)
    for data, words in (
        (tar.stdout, ()), (gzip.compress(tar.stdout), ("-f", "Dockerfile")),
        (b"FROM busybox\nRUN echo a file > /f\n", ()),
    ):  # fmt: skip
        done = buildx(engine, root, "build", "-t", "stdin:1", *words, "-", stdin=data)
        assert done.returncode == 0, done.stderr
        assert engine.out("run", "--rm", "stdin:1", "cat", "/f") == "a file"


def test_the_official_client_s_archives_lack_their_end(engine: Engine, root: Path) -> None:
    """``docker build -f -`` of the classic builder closes its tar before it is finished."""
    (root / "c/odd").write_text("odd")
    for _ in range(4):  # which file comes last is chance
        done = subprocess.run(
            ["docker", "build", "-q", "-f", "-", str(root / "c")],
            input=b"FROM scratch\nCOPY f /\n",
            env={**engine.environment(), "DOCKER_BUILDKIT": "0"}, capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
