"""Our engine, the official client, skopeo and Debian's docker-registry among each other."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import peers
import rig
from unixhttp import ask

pytestmark = pytest.mark.root

CLIENTS = ["firkin", "docker"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Engine]:
    with rig.running(tmp_path_factory.mktemp("engine"), "fkdist0") as made:
        yield made


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Registry]:
    with peers.registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture(scope="module")
def archive(engine: rig.Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The busybox image as skopeo names a docker-archive."""
    path = tmp_path_factory.mktemp("archive") / "busybox.tar"
    engine.run("save", "-o", str(path), "busybox")
    return Path(f"docker-archive:{path}")


def client(
    engine: rig.Engine, config: Path, name: str, *words: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a client with a configuration of its own."""
    program = str(rig.BIN / "firkin") if name == "firkin" else name
    environment = {**engine.environment(), "DOCKER_CONFIG": str(config)}
    return subprocess.run(
        [program, *words], env=environment, input=stdin, capture_output=True, timeout=120
    )


@pytest.mark.parametrize("kind", ["v2s2", "oci", "zstd"])
def test_what_skopeo_pushed(
    engine: rig.Engine, registry: peers.Registry, archive: Path, kind: str
) -> None:
    words = ["--format", "oci", "--dest-compress-format", "zstd"]
    registry.add(f"from/skopeo:{kind}", archive, *(words if kind == "zstd" else ["-f", kind]))
    name = f"{registry.host}/from/skopeo:{kind}"
    assert engine.out("pull", "-q", name) == name
    assert engine.out("run", "--rm", name, "echo", "hi") == "hi"
    inspected = json.loads(
        subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{name}"],
            check=True, capture_output=True,
        ).stdout
    )  # fmt: skip
    digests = json.loads(engine.out("inspect", "-f", "{{json .RepoDigests}}", name))
    assert digests == [f"{registry.host}/from/skopeo@{inspected['Digest']}"]
    engine.run("rmi", name)


def normal(text: bytes) -> list[str]:
    """Output without what differs between two runs: the order of layers' lines."""
    lines = [re.sub(r"\d+(\.\d+)?[kMG]?B", "N", line) for line in text.decode().splitlines()]
    return sorted(set(lines))


def test_clients_say_the_same(engine: rig.Engine, registry: peers.Registry, archive: Path) -> None:
    registry.add("same/a:1", archive)
    name = f"{registry.host}/same/a:1"
    said: dict[str, list[list[str]]] = {}
    for program in CLIENTS:
        for words in (["pull", name], ["pull", name], ["pull", f"{name}x"], ["push", name],
                      ["pull", "-q", name], ["pull", f"{registry.host}/same/a"],
                      ["push", f"{registry.host}/same/b:1"]):  # fmt: skip
            done = engine.run(*words, client=program, check=False)
            output = normal(done.stdout + done.stderr)
            said.setdefault(program, []).append([str(done.returncode), *output])
        engine.run("rmi", name)
    assert said["firkin"] == said["docker"]


@pytest.mark.parametrize("program", CLIENTS)
def test_push_and_what_others_find(
    engine: rig.Engine, registry: peers.Registry, program: str, tmp_path: Path
) -> None:
    name = f"{registry.host}/pushed/{program}:1"
    engine.run("tag", "busybox", name)
    out = engine.out("push", name, client=program)
    digest = re.search(r"1: digest: (sha256:\w+) size: \d+", out)
    assert digest
    copied = tmp_path / "copied"
    subprocess.run(
        ["skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false",
         f"docker://{name}", f"dir:{copied}"],
        check=True, capture_output=True,
    )  # fmt: skip
    manifest = json.loads((copied / "manifest.json").read_text())
    assert manifest["config"]["digest"] == engine.out("inspect", "-f", "{{.Id}}", "busybox")
    status, described = ask(engine.socket, "GET", f"/v1.43/distribution/{name}/json")
    assert status == 200
    assert described["Descriptor"]["digest"] == digest[1]
    assert described["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    engine.run("rmi", name)


def test_login_by_both_clients(engine: rig.Engine, tmp_path: Path) -> None:
    passwords = subprocess.run(
        ["htpasswd", "-Bbn", "jane", "secret"], check=True, capture_output=True
    ).stdout
    (tmp_path / "htpasswd").write_bytes(passwords)
    extra = f"auth: {{htpasswd: {{realm: r, path: {tmp_path}/htpasswd}}}}\n"
    with peers.registry(tmp_path / "registry", extra) as private:
        name = f"{private.host}/private/a:1"
        engine.run("tag", "busybox", name)
        for program in CLIENTS:
            config = tmp_path / program
            config.mkdir()
            denied = client(engine, config, program, "push", name)
            assert denied.returncode == 1
            assert b"no basic auth credentials" in denied.stderr
            words = ("login", "-u", "jane", "--password-stdin", private.host)
            wrong = client(engine, config, program, *words, stdin=b"guess")
            assert wrong.returncode == 1
            assert b"401" in wrong.stderr
            right = client(engine, config, program, *words, stdin=b"secret\n")
            assert b"Login Succeeded" in right.stdout, right
            other = CLIENTS[program == "firkin"]  # each reads what the other has written
            pushed = client(engine, config, other, "push", name)
            assert pushed.returncode == 0, pushed
            out = client(engine, config, other, "logout", private.host).stdout.decode()
            assert out == f"Removing login credentials for {private.host}\n"
            assert client(engine, config, program, "pull", name).returncode == 1
            saved = json.loads((config / "config.json").read_text())
            assert saved.get("auths", {}) == {}
        engine.run("rmi", name)


HELPER = """#!/bin/sh
set -eu
dir=$(dirname "$0")/kept
mkdir -p "$dir"
case $1 in
store) cat >"$dir/it" ;;
get) key=$(cat); grep -qF "\\"$key\\"" "$dir/it" 2>/dev/null ||
    { echo credentials not found in native keychain; exit 1; }; cat "$dir/it" ;;
erase) rm -f "$dir/it" ;;
list) echo '{}' ;;
esac
"""


def test_credential_helper(
    engine: rig.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "bin" / "docker-credential-test"
    helper.parent.mkdir()
    helper.write_text(HELPER)
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:/usr/local/bin:/usr/bin:/bin")
    (tmp_path / "config.json").write_text('{"credsStore": "test", "psFormat": "{{.ID}}"}')
    passwords = subprocess.run(
        ["htpasswd", "-Bbn", "jane", "secret"], check=True, capture_output=True
    ).stdout
    (tmp_path / "htpasswd").write_bytes(passwords)
    extra = f"auth: {{htpasswd: {{realm: r, path: {tmp_path}/htpasswd}}}}\n"
    with peers.registry(tmp_path / "registry", extra) as private:
        name = f"{private.host}/private/a:1"
        engine.run("tag", "busybox", name)
        words = ("login", "-u", "jane", "-p", "secret", private.host)
        done = client(engine, tmp_path, "firkin", *words)
        assert done.stdout == b"Login Succeeded\n"
        assert b"insecure" in done.stderr
        assert b"unencrypted" not in done.stderr
        config = json.loads((tmp_path / "config.json").read_text())
        assert "secret" not in json.dumps(config)
        assert config["psFormat"] == "{{.ID}}"
        for program in CLIENTS:
            assert client(engine, tmp_path, program, "push", name).returncode == 0
        assert client(engine, tmp_path, "firkin", "logout", private.host).returncode == 0
        assert client(engine, tmp_path, "firkin", "push", name).returncode == 1
        engine.run("rmi", name)


def test_manifest_lists(engine: rig.Engine, registry: peers.Registry, tmp_path: Path) -> None:
    host = registry.host
    engine.run("commit", "-c", "ENV A=b", engine.out("create", "busybox"), f"{host}/list/b:1")
    engine.run("tag", "busybox", f"{host}/list/a:1")
    for name in ("a", "b"):
        engine.run("push", f"{host}/list/{name}:1")

    def ours(*words: str) -> str:
        done = client(engine, tmp_path, "firkin", "manifest", *words)
        assert done.returncode == 0, done
        return done.stdout.decode()

    name = f"{host}/list/all:1"
    ours("create", name, f"{host}/list/a:1", f"{host}/list/b:1")
    again = client(engine, tmp_path, "firkin", "manifest", "create", name, f"{host}/list/a:1")
    assert again.returncode == 1
    ours("annotate", "--arch", "arm", "--variant", "v7", name, f"{host}/list/b:1")
    local = json.loads(ours("inspect", name))
    digest = ours("push", "--purge", name).splitlines()[-1]
    pushed = registry.manifest("list/all", "1")
    assert pushed == local
    platforms = [item["platform"]["architecture"] for item in pushed["manifests"]]
    assert platforms == ["amd64", "arm"]
    described = json.loads(ours("inspect", name))
    theirs = client(engine, tmp_path, "docker", "manifest", "inspect", "--insecure", name)
    assert json.loads(theirs.stdout) == described
    assert engine.out("pull", "-q", name) == name
    digests = json.loads(engine.out("inspect", "-f", "{{json .RepoDigests}}", name))
    assert f"{host}/list/all@{digest}" in digests
    tree = engine.out("images", "--tree", name)
    assert "├─ linux/amd64" in tree
    assert "└─ linux/arm/v7" in tree
    gone = client(engine, tmp_path, "firkin", "manifest", "rm", name)
    assert gone.returncode == 1


def test_search(engine: rig.Engine, registry: peers.Registry, archive: Path) -> None:
    registry.add("found/needle:1", archive)
    for program in CLIENTS:
        out = engine.out("search", f"{registry.host}/needle", client=program)
        assert out.splitlines()[1].split()[0] == "found/needle"
    assert ask(engine.socket, "GET", "/v1.43/images/search")[0] == 400
    assert ask(engine.socket, "GET", "/v1.43/images/search?term=a&limit=1000")[0] == 400


@pytest.mark.parametrize("program", CLIENTS)
def test_run_pulls_as_asked(
    engine: rig.Engine, registry: peers.Registry, archive: Path, program: str
) -> None:
    registry.add("runs/a:1", archive)
    name = f"{registry.host}/runs/a:1"
    never = engine.run("run", "--rm", "--pull", "never", name, "true", client=program, check=False)
    assert never.returncode == 125
    missing = engine.run("run", "--rm", name, "echo", "hi", client=program)
    assert missing.stdout == b"hi\n"
    assert b"Unable to find image" in missing.stderr
    assert b"Status: Downloaded newer image" in missing.stderr
    here = engine.run("run", "--rm", name, "true", client=program)
    assert here.stderr == b""
    always = engine.run("run", "--rm", "--pull", "always", name, "true", client=program)
    assert b"Status: Image is up to date" in always.stderr
    other = engine.run("run", "--rm", "--platform", "linux/arm64", name, "true",
                       client=program, check=False)  # fmt: skip
    assert other.returncode == 125
    engine.run("rmi", name)


def test_dry_run(engine: rig.Engine, registry: peers.Registry) -> None:
    name = f"{registry.host}/dry/a:1"
    engine.run("run", "--name", "dry", "--network", "none", "busybox", "sh", "-c", "echo x >/x")
    engine.run("commit", "dry", name)
    engine.run("push", name)
    engine.run("rm", "dry")
    engine.run("rmi", name)
    out = engine.out("pull", "--dry-run", name)
    assert "Would download" in out
    assert engine.run("image", "inspect", name, check=False).returncode == 1
    engine.run("pull", name)
    assert "Total: 0B to download" in engine.out("pull", "--dry-run", name)
    engine.run("rmi", name)


def test_scp(engine: rig.Engine, registry: peers.Registry, tmp_path: Path) -> None:
    second = rig.Engine(tmp_path, "fkdist1")
    try:
        second.start()
        out = engine.out("image", "scp", "busybox", f"{second.host}::")
        assert out == "Loaded image: busybox:latest"
        before = engine.out("inspect", "-f", "{{.Id}}", "busybox")
        assert second.out("inspect", "-f", "{{.Id}}", "busybox") == before
        made = engine.out("create", "busybox")
        engine.run("commit", "-c", "ENV A=b", made, "more:1")
        assert second.out("image", "scp", f"{engine.host}::more:1") == "Loaded image: more:1"
        assert (
            second.out("run", "--rm", "--network", "none", "more:1", "sh", "-c", "echo $A") == "b"
        )
        bad = engine.run("image", "scp", "busybox", check=False)
        assert bad.returncode == 1
        nothing = engine.run("image", "scp", "nothing", f"{second.host}::", check=False)
        assert b"No such image" in nothing.stderr
        engine.run("rm", made)
        engine.run("rmi", "more:1")
    finally:
        if second.process and second.process.poll() is None:
            second.end()
        rig.clear(second)


def test_import_from_a_url(engine: rig.Engine, tmp_path: Path) -> None:
    made = subprocess.run(["tar", "-C", str(tmp_path), "-c", "."], capture_output=True, check=True)
    (tmp_path / "root.tar").write_bytes(made.stdout)
    port = peers.free_port()
    words = ["python3", "-m", "http.server", "-b", "127.0.0.1", "-d", str(tmp_path), str(port)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        peers.wait_for(port)
        url = f"http://127.0.0.1:{port}/root.tar"
        identity = engine.out("import", url, "from-url:1", client="docker")
        assert identity.startswith("sha256:")
        bad = engine.run("import", f"{url}x", client="docker", check=False)
        assert b"status 404" in bad.stderr
        engine.run("rmi", "from-url:1")
    finally:
        server.kill()
        server.wait()
