"""``firkin build``: contexts kept in step, secrets, outputs, checks, and what the cache says."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

import rig
from rig import Engine

pytestmark = pytest.mark.root


def run(engine: Engine, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None,
        ) -> subprocess.CompletedProcess[str]:  # fmt: skip
    done = subprocess.run(
        [rig.BIN / "firkin", "build", "--progress=plain", *words], input=stdin,
        env={**engine.environment(), **(env or {})}, capture_output=True, timeout=300,
    )  # fmt: skip
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def made(engine: Engine, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> str:
    done = run(engine, *words, stdin=stdin, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_only_what_changed_is_sent_and_built(builds: Engine, tmp_path: Path) -> None:
    root = write(tmp_path, {
        "Dockerfile": "FROM busybox\nCOPY a /a\nCOPY d /d\nRUN cat /a /d/* > /all\n",
        "a": "one\n", "d/x": "x\n", "d/y": "y\n",
    })  # fmt: skip
    made(builds, "-t", "sync", str(root))
    assert builds.out("run", "--rm", "sync", "cat", "/all") == "one\nx\ny"
    text = made(builds, "-t", "sync", str(root))
    assert text.count("CACHED") == 4
    (root / "d/y").write_text("changed\n")
    (root / "d/z").write_text("z\n")
    text = made(builds, "--why", "-t", "sync", str(root))
    assert "files changed: y; added: z" in text or "files changed: d/y; added: d/z" in text
    assert builds.out("run", "--rm", "sync", "cat", "/all") == "one\nx\nchanged\nz"
    (root / "d/x").unlink()
    (root / "a").unlink()
    (root / "a").symlink_to("d/z")
    made(builds, "-t", "sync", str(root))
    assert builds.out("run", "--rm", "sync", "cat", "/all") == "z\nchanged\nz"


def test_times_do_not_matter(builds: Engine, tmp_path: Path) -> None:
    root = write(tmp_path, {"Dockerfile": "FROM busybox\nCOPY f /f\nRUN cp /f /g\n", "f": "1"})
    first = made(builds, "-q", str(root)).strip()
    os.utime(root / "f", (1, 1))
    assert made(builds, "-q", str(root)).strip() == first
    (root / "f").chmod(0o600)
    assert made(builds, "-q", str(root)).strip() != first


def test_what_was_done_again_is_what_the_cache_has(builds: Engine) -> None:
    text = (
        b"FROM busybox AS a\nRUN cat /proc/sys/kernel/random/uuid > /u\n"
        b"FROM busybox\nCOPY --from=a /u /u\nRUN cat /proc/sys/kernel/random/uuid > /v\n"
    )
    first = made(builds, "-q", "-", stdin=text)
    again = made(builds, "-q", "--no-cache", "-", stdin=text)
    assert again != first
    assert made(builds, "-q", "-", stdin=text) == again
    filtered = made(builds, "-q", "--no-cache-filter", "a", "-", stdin=text)
    assert filtered not in (first, again)
    assert made(builds, "-q", "-", stdin=text) == filtered


def test_ignore_files(builds: Engine, tmp_path: Path) -> None:
    root = write(tmp_path, {
        "Dockerfile": "FROM scratch\nCOPY . /\n",
        ".dockerignore": "*.log\nDockerfile\nsub\n!sub/in",
        "a.log": "", "keep": "", "sub/in": "", "sub/out": "",
        "Other": "FROM scratch\nCOPY . /\n", "Other.dockerignore": "keep\n",
    })  # fmt: skip
    out = root.parent / f"{root.name}-out"
    made(builds, "-o", str(out), str(root))
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == [
        ".dockerignore", "Other", "Other.dockerignore", "in", "keep",
    ]  # fmt: skip
    made(builds, "-f", str(root / "Other"), "-o", f"{out}2", str(root))
    assert not (Path(f"{out}2") / "keep").exists()
    assert (Path(f"{out}2") / "a.log").exists()


def test_secrets_are_nowhere(builds: Engine, tmp_path: Path) -> None:
    secret = f"s3cr3t-{os.getpid()}-{time.time_ns()}"
    root = write(tmp_path, {
        "Dockerfile": "FROM busybox\n"
        "RUN --mount=type=secret,id=tok cat /run/secrets/tok && "
        "stat -c '%a' /run/secrets/tok > /mode && wc -c < /run/secrets/tok > /size\n"
        "RUN --mount=type=secret,id=tok,env=TOK,target=/t,mode=0444,uid=5 "
        'echo "$TOK" && test "$TOK" = "$(cat /t)"\n',
        "tok": secret,
    })  # fmt: skip
    text = made(builds, "--secret", f"id=tok,src={root}/tok", "-t", "secret", str(root))
    assert secret not in text
    assert "***" in text
    assert builds.out("run", "--rm", "secret", "cat", "/mode", "/size").split() == [
        "400", str(len(secret)),
    ]  # fmt: skip
    text = made(builds, "--secret", "id=tok,env=OTHER", "-t", "secret", str(root),
                env={"OTHER": "another"})  # fmt: skip
    assert text.count("CACHED") == 3  # what a secret is makes no difference to the key
    builds.end()
    found = subprocess.run(
        ["grep", "-r", "-l", "-a", "--exclude-dir=contexts", secret, str(builds.data),
         str(builds.exec), str(builds.directory / "log")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    builds.start()
    assert found.stdout == ""


def test_named_contexts_and_stdin(builds: Engine, tmp_path: Path) -> None:
    other = write(tmp_path / "other", {"f": "other\n"})
    text = b"FROM base\nCOPY --from=other f /f\nRUN --mount=from=other,target=/m cat /m/f > /g\n"
    made(builds, "--build-context", f"other={other}", "--build-context",
         "base=docker-image://busybox", "-t", "named", "-", stdin=text)  # fmt: skip
    assert builds.out("run", "--rm", "named", "cat", "/f", "/g") == "other\nother"


def test_dockerfile_on_stdin_with_a_context(builds: Engine, tmp_path: Path) -> None:
    root = write(tmp_path, {"f": "F\n"})
    made(builds, "-f", "-", "-t", "fromstdin", str(root), stdin=b"FROM busybox\nCOPY f /\n")
    assert builds.out("run", "--rm", "fromstdin", "cat", "/f") == "F"


def test_a_tar_on_stdin_with_all_else(builds: Engine, tmp_path: Path) -> None:
    root = write(tmp_path, {
        "c/Other": "FROM busybox\nCOPY . /c\nCOPY --from=more f /more\n"
        "RUN --mount=type=secret,id=t cat /run/secrets/t | wc -c > /n\n",
        "c/f": "F", "c/ignored": "", "c/.dockerignore": "ignored\n", "more/f": "more",
    })  # fmt: skip
    tar = subprocess.run(["tar", "-cz", "-C", root / "c", "."], capture_output=True, check=True)
    words = ("--secret", "id=t,env=T", "--build-context", f"more={root}/more", "-f", "Other")
    made(builds, *words, "-t", "tarred", "-", stdin=tar.stdout, env={"T": "12345"})
    shown = builds.out("run", "--rm", "tarred", "sh", "-c", "cat /more /n; ls /c")
    assert shown.split() == ["more5", "Other", "f"]
    done = run(builds, "--check", "-f", "Other", "-", stdin=tar.stdout)
    assert done.stdout == "Check complete, no warnings found.\n"
    done = run(builds, "-", stdin=tar.stdout)
    assert "open Dockerfile: no such file" in done.stderr
    assert not list((builds.data / "build/contexts").glob("archive-*"))
    done = run(builds, "-", stdin=tar.stdout[:-20])
    assert done.returncode == 1
    assert not list((builds.data / "build/contexts").glob("archive-*"))


def test_outputs(builds: Engine, tmp_path: Path) -> None:
    root = write(tmp_path / "c", {"Dockerfile": "FROM scratch\nCOPY f /d/f\nLABEL a=b\n", "f": "F"})
    made(builds, "-o", f"type=tar,dest={tmp_path}/t.tar", str(root))
    with tarfile.open(tmp_path / "t.tar") as tar:
        assert sorted(tar.getnames()) == ["d", "d/f"]
    made(builds, "-o", f"type=oci,dest={tmp_path}/oci.tar", "-t", "outputs:oci", str(root))
    assert "outputs" not in builds.out("images")
    assert "Loaded image: outputs:oci" in builds.out("load", "-i", str(tmp_path / "oci.tar"))
    made(builds, "-o", f"type=docker,dest={tmp_path}/d.tar", "-t", "outputs:d", str(root))
    with tarfile.open(tmp_path / "d.tar") as tar:
        assert "manifest.json" in tar.getnames()
    made(builds, "--iidfile", str(tmp_path / "id"), "--metadata-file", str(tmp_path / "meta"),
         "-t", "outputs:m", str(root))  # fmt: skip
    identity = (tmp_path / "id").read_text()
    meta = json.loads((tmp_path / "meta").read_text())
    assert meta["containerimage.config.digest"] == identity
    assert builds.out("inspect", "-f", "{{.Id}} {{.Config.Labels.a}}", "outputs:m") == (
        f"{identity} b"
    )


def test_attestations(builds: Engine, tmp_path: Path) -> None:
    root = write(tmp_path / "c", {
        "Dockerfile": "FROM scratch\nARG A\nCOPY status /var/lib/dpkg/status\n",
        "status": "Package: hello\nStatus: install ok installed\nVersion: 1.2\n\n",
    })  # fmt: skip
    made(builds, "--provenance=max", "--sbom=true", "--build-arg", "A=value", "-t", "att:1",
         "-o", f"type=oci,dest={tmp_path}/o.tar", str(root))  # fmt: skip
    with tarfile.open(tmp_path / "o.tar") as tar:

        def read(digest: str) -> dict[str, object]:
            file = tar.extractfile(f"blobs/sha256/{digest[7:]}")
            assert file is not None
            found: dict[str, object] = json.load(file)
            return found

        top = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        image, attached = read(top["manifests"][0]["digest"])["manifests"]  # type: ignore[misc]
        assert attached["annotations"]["vnd.docker.reference.digest"] == image["digest"]
        assert attached["platform"] == {"architecture": "unknown", "os": "unknown"}
        statements = [read(one["digest"]) for one in read(attached["digest"])["layers"]]  # type: ignore[attr-defined]
    kinds = {one["predicateType"]: one for one in statements}
    built = kinds["https://slsa.dev/provenance/v0.2"]
    assert built["predicate"]["invocation"]["parameters"]["args"] == {"build-arg:A": "value"}  # type: ignore[index]
    packages = kinds["https://spdx.dev/Document"]["predicate"]["packages"]  # type: ignore[index]
    assert [(one["name"], one["versionInfo"]) for one in packages] == [("hello", "1.2")]
    digest = built["subject"][0]["digest"]["sha256"]  # type: ignore[index]
    assert f"sha256:{digest}" == image["digest"]


def test_checks(builds: Engine, tmp_path: Path) -> None:
    root = write(tmp_path, {
        "Dockerfile": "FROM busybox as Base\nARG PASSWORD\nENV k v\nCMD echo $undefined\n"
        "CMD echo\nWORKDIR rel\nEXPOSE 80/TCP\nMAINTAINER x\nCOPY no.log /\nRUN echo \\\n\n hi\n"
        "LABEL a=$nope\n",
        ".dockerignore": "*.log",
    })  # fmt: skip
    done = run(builds, "--check", str(root))
    assert done.returncode == 1
    for rule in (
        "StageNameCasing", "FromAsCasing", "SecretsUsedInArgOrEnv", "LegacyKeyValueFormat",
        "JSONArgsRecommended", "MultipleInstructionsDisallowed", "ExposeProtoCasing",
        "MaintainerDeprecated", "CopyIgnoredFile", "NoEmptyContinuation", "UndefinedVar",
    ):  # fmt: skip
        assert f"WARNING: {rule}" in done.stdout, (rule, done.stdout, done.stderr)
    (root / "Dockerfile").write_text('FROM busybox\nCMD ["x"]\n')
    done = run(builds, "--check", str(root))
    assert (done.returncode, done.stdout) == (0, "Check complete, no warnings found.\n")


def test_failure_repeats_the_log_and_exits_with_1(builds: Engine) -> None:
    done = run(builds, "-", stdin=b"FROM busybox\nRUN echo some words; exit 7\n")
    assert done.returncode == 1
    assert done.stderr.count("some words") >= 3
    assert "returned a non-zero code: 7" in done.stderr
    done = run(builds, "/no/such/directory")
    assert done.returncode == 1
    assert 'path "/no/such/directory" not found' in done.stderr


def test_graph(builds: Engine, tmp_path: Path) -> None:
    text = b"FROM busybox AS a\nRUN echo 1 >/a\nFROM busybox\nCOPY --from=a /a /\n"
    shown = made(builds, "--graph", "-", "-", stdin=text)
    assert "[a 2/2] RUN echo 1 >/a  <- #" in shown
    made(builds, "--graph", str(tmp_path / "g.svg"), "-", stdin=text)
    assert (tmp_path / "g.svg").read_text().startswith("<svg")


def test_reproducible_on_two_engines(builds: Engine, tmp_path: Path) -> None:
    root = write(tmp_path / "c", {
        "Dockerfile": "FROM scratch\nARG SOURCE_DATE_EPOCH\nCOPY . /x/\nWORKDIR /w\n"
        "ADD <<E /e\nt\nE\n",
        "f": "F", "sub/g": "G",
    })  # fmt: skip
    env = {"SOURCE_DATE_EPOCH": "1600000000"}
    first = made(builds, "-q", "--no-cache", str(root), env=env).strip()
    for path in [root / "f", root / "sub/g", root / "sub"]:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    (tmp_path / "other").mkdir()
    with rig.running(tmp_path / "other", f"fkr{os.getpid()}") as other:
        assert made(other, "-q", str(root), env=env).strip() == first
    shown = json.loads(builds.out("inspect", first))[0]
    assert shown["Created"].startswith("2020-09-13T12:26:40")


def test_builder_du_and_prune(builds: Engine) -> None:
    made(
        builds, "-t", "pruned", "-", stdin=b"FROM busybox\nRUN echo pruned > /p\nRUN echo 2 > /q\n"
    )
    for client in ("firkin", "docker"):
        text = builds.out("system", "df", client=client)
        row = next(line for line in text.splitlines() if line.startswith("Build Cache"))
        assert int(row.split()[2]) > 0
    assert "RUN echo pruned > /p" in builds.out("builder", "du", "--verbose")
    assert "Total reclaimed space" in builds.out("builder", "prune", "-f", client="firkin")
    assert builds.out("run", "--rm", "pruned", "cat", "/p", "/q") == "pruned\n2"
    builds.out("builder", "prune", "-af")
    assert "Total:        0B" in builds.out("builder", "du")
    text = made(builds, "-t", "pruned", "-",
                stdin=b"FROM busybox\nRUN echo pruned > /p\nRUN echo 2 > /q\n")  # fmt: skip
    assert text.count("DONE") >= 2
