"""Builds by ``docker buildx``, where it is installed: the real client of BuildKit's protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

import cliplugins
from rig import Engine

pytestmark = pytest.mark.root

_PLUGIN = cliplugins.find("buildx")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_text("content\n")
    (root / "ignored").write_text("x" * 1000)
    (root / ".dockerignore").write_text("ignored\n")
    (root / "Dockerfile").write_text(
        "FROM busybox AS base\n"
        "RUN --mount=type=secret,id=token md5sum /run/secrets/token >/sum\n"
        "FROM base\n"
        "ARG GREETING=hi\n"
        "COPY . /all\n"
        "RUN echo $GREETING >/greeting && ! test -e /all/ignored\n"
        'CMD ["cat", "/greeting", "/all/sub/file"]\n'
    )
    (tmp_path / "token").write_text("secret\n")
    return root


def buildx(
    engine: Engine, tmp_path: Path, *words: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run ``docker buildx``; skips the test where there is none."""
    if _PLUGIN is None or shutil.which("docker") is None:
        pytest.skip("docker buildx is not installed")
    config = tmp_path / "config"
    (config / "cli-plugins").mkdir(parents=True, exist_ok=True)
    link = config / "cli-plugins" / "docker-buildx"
    if not link.exists():
        link.symlink_to(_PLUGIN)
    done = subprocess.run(
        ["docker", "buildx", *words], input=stdin,
        env={**engine.environment(), "DOCKER_CONFIG": str(config),
             "BUILDX_BAKE_ENTITLEMENTS_FS": "0"},
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def _build(engine: Engine, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return buildx(engine, tmp_path, "build", "--progress=plain", *words)


def test_a_build_and_its_cache(engine: Engine, tmp_path: Path, context: Path) -> None:
    secret = f"id=token,src={tmp_path / 'token'}"
    words = ("--secret", secret, "-t", "built:1", "--build-arg", "GREETING=hello", str(context))
    done = _build(engine, tmp_path, "--iidfile", str(tmp_path / "iid"), *words)
    assert done.returncode == 0, done.stderr
    identity = engine.out("inspect", "-f", "{{.Id}}", "built:1")
    assert (tmp_path / "iid").read_text() == identity
    assert engine.out("run", "--rm", "built:1") == "hello\ncontent"
    again = _build(engine, tmp_path, *words)
    assert again.stderr.count("CACHED") == 4, again.stderr
    assert engine.out("inspect", "-f", "{{.Id}}", "built:1") == identity
    history = engine.out("history", "--no-trunc", "built:1")
    assert "secret\n" not in history


def test_failures_are_told(engine: Engine, tmp_path: Path, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo said && exit 7\n")
    done = _build(engine, tmp_path, str(context))
    assert done.returncode != 0
    assert "said" in done.stderr
    assert "exit" in done.stderr and "7" in done.stderr.splitlines()[-1]
    (context / "Dockerfile").write_text("FROM busybox\nRUNN x\n")
    done = _build(engine, tmp_path, str(context))
    assert "unknown instruction: RUNN (did you mean RUN?)" in done.stderr


def test_history(engine: Engine, tmp_path: Path, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo said\nARG A\nRUN exit ${A:-0}\n")
    done = _build(engine, tmp_path, "--build-arg", "A=0", str(context))
    if "history" not in buildx(engine, tmp_path, "--help").stdout:
        pytest.skip("this buildx is older than 0.20")
    assert done.returncode == 0, done.stderr
    assert _build(engine, tmp_path, "--build-arg", "A=7", str(context)).returncode != 0
    listed = buildx(engine, tmp_path, "history", "ls", "--format", "json").stdout
    failed, built = [json.loads(line) for line in listed.splitlines()][:2]
    assert (failed["status"], built["status"]) == ("Error", "Completed")
    assert built["completed_steps"] == built["total_steps"] > failed["cached_steps"] > 0
    ref = built["ref"].rpartition("/")[2]
    logs = buildx(engine, tmp_path, "history", "logs", ref)
    assert "said" in logs.stderr and "DONE" in logs.stderr, logs.stderr
    shown = json.loads(buildx(engine, tmp_path, "history", "inspect", "--format", "json").stdout)
    assert (shown["Status"], shown["BuildArgs"]) == ("failed", [{"Name": "A", "Value": "7"}])
    assert "exit ${A:-0}" in shown["Error"]["Message"]
    assert buildx(engine, tmp_path, "history", "rm", ref).returncode == 0
    assert "no build" in buildx(engine, tmp_path, "history", "rm", ref).stderr
    assert ref not in buildx(engine, tmp_path, "history", "ls", "--no-trunc").stdout


def test_lint(engine: Engine, tmp_path: Path, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox AS Upper\n")
    done = buildx(engine, tmp_path, "build", "--call", "check,format=json", str(context))
    if "unknown flag: --call" in done.stderr:
        pytest.skip("this buildx is older than 0.15")
    report = json.loads(done.stdout)
    assert [one["ruleName"] for one in report["warnings"]] == ["StageNameCasing"]


def test_outline_and_targets(engine: Engine, tmp_path: Path, context: Path) -> None:
    (context / "Dockerfile").write_text(
        "# A is an argument\nARG A=1\n# first stage\nFROM busybox AS first\nFROM first AS second\n"
    )
    done = buildx(engine, tmp_path, "build", "--call", "targets", str(context))
    if "unknown flag: --call" in done.stderr:
        pytest.skip("this buildx is older than 0.15")
    assert done.returncode == 0, done.stderr
    assert "second (default)" in done.stdout
    done = buildx(engine, tmp_path, "build", "--call", "outline", str(context))
    assert done.returncode == 0, done.stderr
    assert "A " in done.stdout


def test_results_for_the_client(engine: Engine, tmp_path: Path, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY sub /\n")
    tree = tmp_path / "tree"
    done = _build(engine, tmp_path, "-o", f"type=local,dest={tree}", str(context))
    assert done.returncode == 0, done.stderr
    assert (tree / "file").read_text() == "content\n"
    archive = tmp_path / "out.tar"
    done = _build(engine, tmp_path, "-o", f"type=tar,dest={archive}", str(context))
    assert done.returncode == 0, done.stderr
    with tarfile.open(archive) as found:
        assert "file" in [name.removeprefix("./") for name in found.getnames()]
    image = tmp_path / "image.tar"
    done = _build(engine, tmp_path, "-o", f"type=docker,name=archived:1,dest={image}", str(context))
    assert done.returncode == 0, done.stderr
    assert "archived:1" in engine.out("load", "-i", str(image))
    engine.run("rmi", "archived:1")


def test_named_contexts(engine: Engine, tmp_path: Path, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM base\nCOPY --from=other file /other\n")
    done = _build(
        engine, tmp_path, "-t", "named:1", "--build-context", f"other={context / 'sub'}",
        "--build-context", "base=docker-image://busybox", str(context),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert engine.out("run", "--rm", "named:1", "cat", "/other") == "content"


def test_the_cache_is_shown_and_pruned(engine: Engine, tmp_path: Path, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo cached >/x\n")
    assert _build(engine, tmp_path, str(context)).returncode == 0
    shown = buildx(engine, tmp_path, "du")
    assert shown.returncode == 0 and "Total:" in shown.stdout, shown.stderr
    pruned = buildx(engine, tmp_path, "prune", "-af")
    assert pruned.returncode == 0, pruned.stderr
    assert "CACHED" not in _build(engine, tmp_path, str(context)).stderr.split("RUN echo cached")[1]


def test_official_build_uses_it(engine: Engine, tmp_path: Path, context: Path) -> None:
    """``docker build`` of today is ``docker buildx build``: the engine says that it may."""
    if _PLUGIN is None or shutil.which("docker") is None:
        pytest.skip("docker buildx is not installed")
    (context / "Dockerfile").write_text("FROM busybox\nCOPY --link sub /sub\n")
    buildx(engine, tmp_path, "ls")  # makes the configuration
    done = subprocess.run(
        ["docker", "build", "-q", "-t", "official:1", str(context)],
        env={**engine.environment(), "DOCKER_CONFIG": str(tmp_path / "config")},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == engine.out("inspect", "-f", "{{.Id}}", "official:1")
