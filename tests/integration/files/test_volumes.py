"""Volumes: options of the local driver, the ways to mount them, and moving their files."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tars

import rig
import unixhttp

pytestmark = pytest.mark.root


def _create(engine: rig.Engine, name: str, **options: str) -> tuple[int, dict[str, object]]:
    body = {"Name": name, "DriverOpts": options}
    return unixhttp.ask(engine.socket, "POST", "/v1.44/volumes/create", body)


def _busybox(engine: rig.Engine, *words: str, client: str = "firkin") -> str:
    *flags, script = words
    return engine.out("run", "--rm", *flags, "busybox", "sh", "-c", script, client=client)


def _fails(engine: rig.Engine, *words: str) -> str:
    done = engine.run("run", "--rm", *words, "busybox", "true", check=False)
    assert done.returncode == 125, done
    return done.stderr.decode()


def test_a_tmpfs_volume_is_mounted_while_it_is_used(engine: rig.Engine) -> None:
    assert _create(engine, "mem", type="tmpfs", device="tmpfs", o="size=1m,uid=7")[0] == 201
    place = str(engine.data / "volumes/mem/_data")
    assert not os.path.ismount(place)
    engine.run("run", "-d", "--name", "one", "-v", "mem:/m", "busybox", "sleep", "999")
    engine.run("run", "-d", "--name", "two", "-v", "mem:/m", "busybox", "sleep", "999")
    assert engine.out("exec", "one", "stat", "-c", "%u", "/m") == "7"
    engine.run("exec", "one", "sh", "-c", "echo shared >/m/f")
    assert engine.out("exec", "two", "cat", "/m/f") == "shared"
    engine.run("rm", "-f", "one")
    assert os.path.ismount(place)
    assert engine.out("exec", "two", "cat", "/m/f") == "shared"
    engine.run("stop", "-t", "0", "two")
    assert not os.path.ismount(place)


def test_a_bind_volume_never_loses_what_it_binds(engine: rig.Engine, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    assert _create(engine, "bound", type="none", device=str(tmp_path), o="bind")[0] == 201
    engine.run("run", "-d", "--name", "one", "-v", "bound:/b", "busybox", "sleep", "999")
    assert engine.out("exec", "one", "cat", "/b/kept") == "kept"
    engine.end(9)
    engine.start()
    assert engine.out("exec", "one", "cat", "/b/kept") == "kept"
    engine.run("rm", "-f", "one")
    place = str(engine.data / "volumes/bound/_data")
    assert not os.path.ismount(place)
    subprocess.run(["mount", "--bind", tmp_path, place], check=True)  # left by somebody
    engine.run("volume", "rm", "bound")
    assert (tmp_path / "kept").read_text() == "kept"


def test_options_are_checked_before_anything_is_made(engine: rig.Engine) -> None:
    for options in (
        {"bad": "1"}, {"type": "tmpfs"}, {"o": "bind"}, {"o": "bind", "device": "relative"},
        {"size": "huge"}, {"size": "1m", "type": "tmpfs", "device": "t"},
    ):  # fmt: skip
        status, answer = _create(engine, "wrong", **options)
        assert status == 400, (options, answer)
    assert unixhttp.ask(engine.socket, "GET", "/v1.44/volumes/wrong")[0] == 404
    assert not (engine.data / "volumes/wrong").exists()
    assert _create(engine, "gone", type="none", o="bind", device="/no/such/place")[0] == 201
    assert "failed to mount local volume gone" in _fails(engine, "-v", "gone:/x")
    status, answer = unixhttp.ask(engine.socket, "PUT", "/v1.44/volumes/gone?version=1", {})
    assert status == 503


@pytest.mark.parametrize("client", ["firkin", "docker"])
def test_subpaths_stay_inside(engine: rig.Engine, client: str) -> None:
    _busybox(engine, "-v", "sub:/s", "mkdir -p /s/a/b; echo deep >/s/a/b/f; ln -s /etc /s/out; "
             "ln -s a/b /s/in; ln -s ../../../etc /s/up")  # fmt: skip

    def flag(path: str) -> str:
        return f"type=volume,src=sub,dst=/s,volume-subpath={path}"

    assert _busybox(engine, "--mount", flag("a/b"), "cat /s/f", client=client) == "deep"
    assert _busybox(engine, "--mount", flag("in"), "cat /s/f", client=client) == "deep"
    assert _busybox(engine, "--mount", flag("a/b/f"), "cat /s", client=client) == "deep"
    for path in ("out", "up", "nope", "a/../../x", "/a"):
        assert _fails(engine, "--mount", flag(path))
    engine.run("create", "--name", "box", "--mount", flag("a"), "busybox")
    assert tars.put(engine, "box", "/s", tars.archive(tars.entry("x", b"x")))[0] == 200
    assert (engine.data / "volumes/sub/_data/a/x").exists()


@pytest.mark.parametrize("client", ["firkin", "docker"])
def test_image_mounts(engine: rig.Engine, client: str) -> None:
    flag = "type=image,src=busybox,dst=/img"
    script = "cat /img/etc/passwd | wc -l; touch /img/x 2>/dev/null || echo refused"
    assert _busybox(engine, "--mount", flag, script, client=client).split() == ["2", "refused"]
    part = f"{flag},image-subpath=etc"
    assert _busybox(engine, "--mount", part, "ls /img/passwd", client=client) == "/img/passwd"
    assert "nosuch" in _fails(engine, "--mount", "type=image,src=nosuch,dst=/img")
    engine.run("import", "-", "other", stdin=tars.archive(tars.entry("file", b"x")))
    engine.run("create", "--name", "box", "--mount", "type=image,src=other,dst=/o", "busybox")
    assert b"is using" in engine.run("rmi", "other", check=False).stderr
    assert tars.get(engine, "box", "/o/file")[3] == {"file": b"x"}
    engine.run("rm", "box")
    engine.run("rmi", "other")


def test_tmpfs_mounts(engine: rig.Engine) -> None:
    flag = "type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=1750"
    for client in ("firkin", "docker"):
        line = _busybox(engine, "--mount", flag, "grep ' /t ' /proc/mounts", client=client)
        for word in ("noexec", "nosuid", "nodev", "size=2048k", "mode=1750"):
            assert word in line
    mount = {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"Options": [["exec"], ["bogus"]]}}
    body = {"Image": "busybox", "HostConfig": {"Mounts": [mount]}}
    assert unixhttp.ask(engine.socket, "POST", "/v1.44/containers/create", body)[0] == 400
    mount["TmpfsOptions"] = {"Options": [["exec"]]}
    body["Cmd"] = ["grep", " /t ", "/proc/mounts"]
    status, made = unixhttp.ask(engine.socket, "POST", "/v1.44/containers/create", body)
    assert status == 201
    assert "noexec" not in engine.out("start", "-a", made["Id"])


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Path]:
    """A directory with a tmpfs mounted in it."""
    (tmp_path / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "t", tmp_path / "sub"], check=True)
    (tmp_path / "sub" / "inner").write_text("inner")
    yield tmp_path
    subprocess.run(["umount", tmp_path / "sub"], check=True)


@pytest.mark.parametrize("client", ["firkin", "docker"])
def test_recursive_binds(engine: rig.Engine, nested: Path, client: str) -> None:
    script = "touch /b/x 2>/dev/null && echo top; touch /b/sub/x 2>/dev/null && echo below; true"
    base = f"type=bind,src={nested},dst=/b"
    for flags, written in (
        (["-v", f"{nested}:/b:ro"], ""),
        (["--mount", f"{base},readonly"], ""),
        (["--mount", f"{base},readonly,bind-recursive=writable"], "below"),
        (["--mount", f"{base},readonly,bind-recursive=readonly,bind-propagation=rprivate"], ""),
        (["--mount", base], "top\nbelow"),
    ):
        assert _busybox(engine, *flags, script, client=client) == written, flags
    lone = f"{base},bind-recursive=disabled"
    assert _busybox(engine, "--mount", lone, "ls /b/sub", client=client) == ""


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_binds_keep_what_the_host_forbids(engine: rig.Engine, tmp_path: Path, runtime: str) -> None:
    strict, readonly = tmp_path / "strict", tmp_path / "readonly"
    strict.mkdir()
    readonly.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec,noatime", "strict", str(strict)]
    subprocess.run(mount, check=True)
    try:
        subprocess.run(["mount", "--bind", str(strict), str(readonly)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(readonly)], check=True)
        engine.run("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o",
                   "o=noexec,nodev,size=1m", "forbids")  # fmt: skip
        shown = engine.out(
            "run", "--rm", "--runtime", runtime, "-v", f"{strict}:/s", "-v", f"{readonly}:/r",
            "-v", "forbids:/v", "busybox", "sh", "-c",
            "grep -E ' /[srv] ' /proc/mounts; touch /s/x && echo writable; touch /r/x || echo not",
        ).splitlines()  # fmt: skip
    finally:
        subprocess.run(["umount", str(readonly)], check=False)
        subprocess.run(["umount", str(strict)], check=True)
        engine.run("volume", "rm", "forbids", check=False)
    flags = {line.split()[1]: set(line.split()[3].split(",")) for line in shown if " /" in line}
    assert flags["/s"] >= {"rw", "nosuid", "nodev", "noexec", "noatime"}
    assert flags["/r"] >= {"ro", "nosuid", "nodev", "noexec", "noatime"}
    assert flags["/v"] >= {"rw", "nodev", "noexec"}
    assert shown[3:] == ["writable", "not"]


def test_mapped_owners(engine: rig.Engine, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    for path in (tmp_path, tmp_path / "mine"):
        os.chown(path, 4321, 4322)
    show = "stat -c %u:%g /h/mine"
    for client in ("firkin", "docker"):
        flags = ["-v", f"{tmp_path}:/h:idmap"]
        assert _busybox(engine, *flags, f"{show}; touch /h/{client}", client=client) == "0:0"
        made = (tmp_path / client).stat()
        assert (made.st_uid, made.st_gid) == (4321, 4322)
        user = ["-u", "nobody", *flags]
        assert _busybox(engine, *user, f"{show}; touch /h/mine", client=client) == "65534:65534"
    ranges = "idmap=uids=4321-5-1#0-0-1;gids=4322-6-1"
    assert _busybox(engine, "-v", f"{tmp_path}:/h:{ranges}", show) == "5:6"
    assert _busybox(engine, "--mount", f"type=bind,src={tmp_path},dst=/h,idmap", show) == "0:0"
    for wrong in ("idmap=x", "idmap=uids=1-1-0;gids=1-1-1", "idmap=uids=1-1-1"):
        assert "invalid idmap" in _fails(engine, "-v", f"{tmp_path}:/h:{wrong}")
    engine.run("create", "--name", "box", "-v", f"{tmp_path}:/h:idmap", "busybox")
    assert tars.get(engine, "box", "/h/mine")[2]["mine"].uid == 0
    assert engine.mounts(engine.exec / "views") == []


@pytest.mark.parametrize("mode", ["", ":ro", ":ro,z", ":rw,Z"])
def test_volumes_from(engine: rig.Engine, tmp_path: Path, mode: str) -> None:
    engine.run("create", "--name", "giver", "-v", "/anon", "-v", "named:/n", "-v", f"{tmp_path}:/h",
               "--tmpfs", "/t", "busybox")  # fmt: skip
    script = "touch /n/x 2>/dev/null && echo wrote; ls -d /anon /h /t 2>/dev/null; true"
    for client in ("firkin", "docker"):
        lines = _busybox(engine, "--volumes-from", f"giver{mode}", script, client=client).split()
        assert lines == ([] if "ro" in mode else ["wrote"]) + ["/anon", "/h"]
    body = {"Image": "busybox", "HostConfig": {"VolumesFrom": ["giver:bogus"]}}
    assert unixhttp.ask(engine.socket, "POST", "/v1.44/containers/create", body)[0] == 400


def test_a_volume_in_use_stays(engine: rig.Engine) -> None:
    engine.run("create", "--name", "box", "-v", "used:/u", "busybox")
    for verb in ("DELETE", "POST"):
        target = "/v1.44/volumes/used" + ("/rename?name=other" if verb == "POST" else "")
        status, answer = unixhttp.ask(engine.socket, verb, target)
        assert status == 409 and "in use" in answer["message"]
    engine.run("rm", "-v", "box")
    assert unixhttp.ask(engine.socket, "DELETE", "/v1.44/volumes/used")[0] == 204
    assert unixhttp.ask(engine.socket, "DELETE", "/v1.44/volumes/used")[0] == 404
    assert unixhttp.ask(engine.socket, "DELETE", "/v1.44/volumes/used?force=1")[0] == 204


@pytest.mark.parametrize("client", ["firkin", "docker"])
def test_prune(engine: rig.Engine, client: str) -> None:
    engine.run("volume", "create", "--label", "keep", "named")
    engine.run("volume", "create", "plain")
    engine.run("create", "--name", "box", "-v", "/anon", "busybox")
    used = engine.out("volume", "ls", "-qf", "dangling=false")
    engine.run("run", "--name", "past", "-v", "/anon", "busybox", "true")
    engine.run("rm", "past")
    out = engine.out("volume", "prune", "-f", client=client)
    assert "named" not in out and "plain" not in out and used not in out and len(out.split()) > 5
    out = engine.out("volume", "prune", "-af", "--filter", "label!=keep", client=client)
    assert "plain" in out and "named" not in out
    assert set(engine.out("volume", "ls", "-q").split()) == {"named", used}


def _fill(engine: rig.Engine, name: str) -> None:
    script = (
        "echo text >/v/f; chmod 640 /v/f; chown 5:6 /v/f; ln -s f /v/l; ln /v/f /v/h; "
        "mkdir -m 700 /v/d; echo in >/v/d/g; chmod 710 /v"
    )
    _busybox(engine, "-v", f"{name}:/v", script)


LISTING = "cd /v; find . | sort; stat -c '%n %a %u %g %h' . f l d; cat f d/g; readlink l"


def test_export_import_clone_rename(engine: rig.Engine, tmp_path: Path) -> None:
    _fill(engine, "first")
    before = _busybox(engine, "-v", "first:/v:ro", LISTING)
    engine.run("volume", "export", "-o", str(tmp_path / "tar"), "first")
    members, contents = tars.unpack((tmp_path / "tar").read_bytes())
    assert members["d"].mode == 0o700 and contents["d/g"] == b"in\n"
    engine.run("volume", "import", "second", str(tmp_path / "tar"))
    assert engine.run("volume", "import", "third", stdin=(tmp_path / "tar").read_bytes())
    engine.run("volume", "clone", "first", "fourth")
    assert _busybox(engine, "-v", "fourth:/v", LISTING) == before
    engine.run("volume", "rename", "fourth", "fifth")
    assert _busybox(engine, "-v", "fifth:/v", LISTING) == before
    for name in ("second", "third"):
        assert (
            _busybox(engine, "-v", f"{name}:/v", LISTING).splitlines()[1:6]
            == (before.splitlines()[1:6])
        )
    names = set(engine.out("volume", "ls", "-q").split())
    assert names == {"first", "second", "third", "fifth"}
    for path, status in (
        ("first/clone?name=second", 409), ("nope/clone?name=new", 404), ("first/clone?name=/", 400),
        ("first/rename?name=second", 409), ("nope/rename?name=new", 404),
        ("first/rename?name=", 400),
    ):  # fmt: skip
        assert unixhttp.ask(engine.socket, "POST", f"/v1.44/volumes/{path}")[0] == status, path
    status, _ = unixhttp.ask(engine.socket, "PUT", "/v1.44/volumes/broken/import", b"no tar" * 99)
    assert status == 400
    bad = tars.archive(tars.entry("s", type=tarfile.SYMTYPE, linkname="/etc"),
                       tars.entry("../../escape", b"x"))  # fmt: skip
    assert unixhttp.ask(engine.socket, "PUT", "/v1.44/volumes/broken/import", bad)[0] == 400
    assert unixhttp.ask(engine.socket, "GET", "/v1.44/volumes/nope/export")[0] == 404
    assert set(engine.out("volume", "ls", "-q").split()) == names


def test_a_rename_that_was_cut_short_is_finished(engine: rig.Engine) -> None:
    """The row has the new name, the directory still the old one."""
    _fill(engine, "old-name")
    engine.end()
    import sqlite3

    with sqlite3.connect(engine.data / "firkin.db") as connection:
        connection.execute(
            "UPDATE volumes SET name = 'new-name', previous = 'old-name' WHERE name = 'old-name'"
        )
    connection.close()
    engine.start()
    assert _busybox(engine, "-v", "new-name:/v", "cat /v/f") == "text"
    assert engine.out("volume", "ls", "-q") == "new-name"


def test_size_quota(tmp_path: Path) -> None:
    """Where the file system has project quotas a volume has a limit."""
    image, place = tmp_path / "disk", tmp_path / "data"
    place.mkdir()
    image.write_bytes(b"")
    os.truncate(image, 64 << 20)
    make = ["mkfs.ext4", "-q", "-O", "quota,project", image]
    subprocess.run(make, check=True)
    mount = ["mount", "-o", "loop,prjquota", image, place]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this kernel has no project quotas on ext4")
    engine = rig.Engine(tmp_path, f"fkq{os.getpid()}")
    try:
        engine.start()
        engine.add_busybox()
        engine.run("volume", "create", "-o", "size=4m", "small")
        script = "dd if=/dev/zero of=/v/f bs=1M count=3 2>&1 && echo fits; "
        script += "dd if=/dev/zero of=/v/g bs=1M count=3 2>&1 || echo full"
        out = _busybox(engine, "-v", "small:/v", script)
        assert "fits" in out and "full" in out
        assert "fits" in _busybox(engine, "-v", "large:/v", script)
        engine.run("volume", "rm", "small", "large")
    finally:
        engine.end()
        rig.clear(engine)
        subprocess.run(["umount", place], check=True)


def test_no_quota_without_the_file_system_for_it(engine: rig.Engine) -> None:
    done = engine.run("volume", "create", "-o", "size=4m", "small", check=False)
    if done.returncode == 0:
        pytest.skip("the file system of the tests has project quotas")
    assert b"prjquota" in done.stderr
    assert engine.out("volume", "ls", "-q") == ""
