"""Every rule of the build checks, by a Dockerfile that breaks it; their settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_client import made, run, write

from rig import Engine

pytestmark = pytest.mark.root

CASES = [
    ("StageNameCasing", "FROM busybox AS Base\n"),
    ("FromAsCasing", "FROM busybox as base\n"),
    ("NoEmptyContinuation", "FROM busybox\nRUN echo \\\n\n  hi\n"),
    ("ConsistentInstructionCasing", "FROM busybox\nrun echo\nRUN echo\n"),
    ("DuplicateStageName", "FROM busybox AS b\nFROM busybox AS b\n"),
    ("ReservedStageName", "FROM busybox AS scratch\n"),
    ("ReservedStageName", "FROM busybox AS context\n"),
    ("JSONArgsRecommended", "FROM busybox\nENTRYPOINT echo hi\n"),
    ("MaintainerDeprecated", "FROM busybox\nMAINTAINER x\n"),
    ("UndefinedArgInFrom", "FROM busybox:$nope\n"),
    ("WorkdirRelativePath", "FROM scratch\nWORKDIR app\nWORKDIR b\n"),
    ("UndefinedVar", "FROM busybox\nLABEL a=$nope\n"),
    ("UndefinedVar", "FROM busybox\nCOPY $nope /x\n"),
    ("MultipleInstructionsDisallowed", 'FROM busybox\nCMD ["a"]\nCMD ["b"]\n'),
    ("MultipleInstructionsDisallowed", "FROM busybox\nHEALTHCHECK CMD a\nHEALTHCHECK CMD b\n"),
    ("LegacyKeyValueFormat", "FROM busybox\nENV a b\n"),
    ("RedundantTargetPlatform", "FROM --platform=$TARGETPLATFORM busybox\n"),
    ("SecretsUsedInArgOrEnv", "FROM busybox\nENV DB_PASSWORD=x\nENV PUBLIC_KEY=y\n"),
    ("InvalidDefaultArgInFrom", "ARG T\nFROM busybox:$T\n"),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=linux/amd64 busybox\n"),
    ("CopyIgnoredFile", "FROM busybox\nCOPY a.log /\n"),
    ("CopyIgnoredFile", "FROM busybox\nADD a.log /\n"),
    (
        "InvalidDefinitionDescription",
        "# check=experimental=InvalidDefinitionDescription\n# bad\nFROM busybox AS base\n",
    ),
    ("ExposeProtoCasing", "FROM busybox\nEXPOSE 80/TcP\n"),
    ("ExposeInvalidFormat", "FROM busybox\nEXPOSE 127.0.0.1:80:80\n"),
]


@pytest.mark.parametrize(("rule", "text"), CASES)
def test_each_rule(builds: Engine, tmp_path: Path, rule: str, text: str) -> None:
    root = write(tmp_path, {"Dockerfile": text, ".dockerignore": "*.log\n", "a.log": ""})
    done = run(builds, "--check", str(root))
    assert done.returncode == 1
    found = [line.split()[1] for line in done.stdout.split("\n") if line.startswith("WARNING:")]
    assert found == [rule], (done.stdout, done.stderr)
    head, _, rest = text.rpartition("# check=experimental=InvalidDefinitionDescription\n")
    (root / "Dockerfile").write_text(f"# check=skip={rule}\n{head}{rest}")
    assert f"WARNING: {rule}" not in run(builds, "--check", str(root)).stdout


def test_a_base_of_another_platform(builds: Engine, registry: str) -> None:
    """One that a registry has for another platform alone is taken, with a warning."""
    name = f"{registry}/single:1"
    builds.run("tag", "busybox", name)
    builds.run("push", name)
    builds.run("rmi", name)
    text = f"FROM {name}\nLABEL a=b\n".encode()
    done = run(builds, "--pull", "--platform", "linux/arm64", "-t", "other", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    assert (
        f'InvalidBaseImagePlatform: Base image {name} was pulled with platform "linux/amd64", '
        'expected "linux/arm64" for current build (line 1)'
    ) in done.stderr
    assert builds.out("inspect", "-f", "{{.Architecture}}", "other") == "amd64"


def test_warnings_as_errors(builds: Engine) -> None:
    text = "FROM busybox AS Base\nMAINTAINER x\n"
    strict = f"# check=error=true\n{text}".encode()
    done = run(builds, "-", stdin=strict)
    assert done.returncode == 1
    assert "lint violation found for rules: MaintainerDeprecated, StageNameCasing" in done.stderr
    made(builds, "-", stdin=text.encode())
    made(builds, "-", stdin=b"# check=error=true;skip=StageNameCasing,MaintainerDeprecated\n"
         + text.encode())  # fmt: skip
    made(builds, "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", "-", stdin=strict)
    done = run(builds, "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true", "-",
               stdin=text.encode())  # fmt: skip
    assert "lint violation found" in done.stderr
    done = run(builds, "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=strange", "-", stdin=b"FROM a\n")
    assert "invalid check option 'strange'" in done.stderr


def test_what_can_not_be_built_is_told_after_the_warnings(builds: Engine) -> None:
    done = run(builds, "--check", "-", stdin=b"FROM busybox AS Base\nCOPY $nothing /\n")
    assert done.returncode == 1
    assert "WARNING: StageNameCasing" in done.stdout
    assert "a source of COPY is empty" in done.stderr
