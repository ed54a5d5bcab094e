"""The archive operations by raw HTTP: running and stopped, every kind of file, every refusal."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import tars

import rig
import unixhttp
from firkin.wire import acl

pytestmark = pytest.mark.root

MEMBERS = (
    tars.entry("tree", type=tarfile.DIRTYPE, mode=0o750, uid=7, gid=8, mtime=1_000_000_000),
    tars.entry("tree/file", b"text", mode=0o4755, uid=1000, gid=1001, mtime=1_234_567_890,
               pax_headers={"mtime": "1234567890.123456789", "SCHILY.xattr.user.note": "kept"}),
    tars.entry("tree/link", type=tarfile.SYMTYPE, linkname="file"),
    tars.entry("tree/hard", type=tarfile.LNKTYPE, linkname="tree/file"),
    tars.entry("tree/pipe", type=tarfile.FIFOTYPE, mode=0o600),
    tars.entry("tree/" + "n" * 200, b"long"),
    tars.entry("tree/caf\u00e9", b"unicode"),
)  # fmt: skip


@pytest.fixture(params=["running", "stopped", "paused"])
def container(request: pytest.FixtureRequest, engine: rig.Engine) -> str:
    """A container in each of the states, with a volume at /data and a read-only bind at /ro."""
    host = engine.directory / "host"
    host.mkdir(exist_ok=True)
    (host / "host-file").write_text("host")
    words = [
        "--name",
        "box",
        "-v",
        "boxdata:/data",
        "-v",
        f"{host}:/ro:ro",
        "busybox",
        "sleep",
        "9999",
    ]
    engine.run("create", *words)
    if request.param != "created":
        engine.run("start", "box")
    if request.param == "stopped":
        engine.run("stop", "-t", "0", "box")
    if request.param == "paused":
        engine.run("pause", "box")
    return "box"


@pytest.mark.parametrize("place", ["/tmp", "/data"])
def test_what_goes_in_comes_out(engine: rig.Engine, container: str, place: str) -> None:
    status, answer = tars.put(engine, container, place, tars.archive(*MEMBERS))
    assert status == 200, answer
    status, stat, members, contents = tars.get(engine, container, f"{place}/tree")
    assert status == 200
    assert stat["name"] == "tree" and stat["mode"] == 1 << 31 | 0o750
    top = members["tree"]
    assert (top.mode, top.uid, top.gid, int(top.mtime)) == (0o750, 7, 8, 1_000_000_000)
    names = [n for n in ("tree/file", "tree/hard") if members[n].isreg()]
    (first,) = names  # one is stored, the other a link to it
    file = members[first]
    assert (file.mode, file.uid, file.gid) == (0o4755, 1000, 1001)
    assert file.pax_headers["mtime"] == "1234567890.123456789"
    assert file.pax_headers["SCHILY.xattr.user.note"] == "kept"
    assert contents[first] == b"text"
    (second,) = {"tree/file", "tree/hard"} - {first}
    assert members[second].islnk() and members[second].linkname == first
    assert members["tree/link"].linkname == "file"
    assert members["tree/pipe"].isfifo()
    assert contents["tree/" + "n" * 200] == b"long" and contents["tree/caf\u00e9"] == b"unicode"


def test_stat(engine: rig.Engine, container: str) -> None:
    status, found = tars.head(engine, container, "/etc/passwd")
    assert status == 200
    assert found["name"] == "passwd" and found["mode"] == 0o644 and found["linkTarget"] == ""
    assert tars.head(engine, container, "/bin/sh")[1]["linkTarget"] == "/bin/busybox"
    assert tars.head(engine, container, "/bin/sh")[1]["mode"] == 1 << 27 | 0o777
    assert tars.head(engine, container, "/tmp")[1]["mode"] == 1 << 31 | 1 << 20 | 0o777
    assert tars.head(engine, container, "/ro/host-file")[1]["size"] == 4
    assert tars.head(engine, container, "/nope")[0] == 404
    assert tars.head(engine, container, "")[0] == 400
    assert tars.head(engine, "nobody", "/")[0] == 404
    assert tars.head(engine, container, "/etc/../etc/./passwd")[1]["name"] == "passwd"


@pytest.mark.parametrize(
    ("path", "first"),
    [("/etc", "etc"), ("/etc/", "etc"), ("/etc/.", "."), ("/etc/passwd", "passwd"), ("etc", "etc")],
)
def test_names_in_the_archive(engine: rig.Engine, container: str, path: str, first: str) -> None:
    status, _, members, _ = tars.get(engine, container, path)
    assert status == 200
    assert next(iter(members)) == first
    if first != "passwd":
        assert f"{first}/passwd" in members


def test_refusals(engine: rig.Engine, container: str) -> None:
    data = tars.archive(tars.entry("x", b"x"))
    assert tars.put(engine, container, "/ro", data)[0] == 403
    assert tars.put(engine, container, "/nope", data)[0] == 404
    assert tars.put(engine, container, "/etc/passwd", data)[0] == 400
    assert tars.put(engine, container, "", data)[0] == 400
    assert tars.get(engine, container, "/nope")[0] == 404
    assert tars.get(engine, container, "/etc/passwd/")[0] == 400
    status, answer = tars.put(engine, container, "/tmp", b"no tar at all" * 100)
    assert status == 400 and "archive" in answer["message"]
    status, answer = tars.put(engine, container, "/tmp", tars.archive(*MEMBERS)[:3000])
    assert status == 400 and "damaged" in answer["message"]


def test_kinds_are_replaced_only_when_that_is_wanted(engine: rig.Engine, container: str) -> None:
    tars.put(engine, container, "/tmp", tars.archive(*MEMBERS))
    on_directory = tars.archive(tars.entry("tree", b"now a file"))
    on_file = tars.archive(tars.entry("tree/file", type=tarfile.DIRTYPE, mode=0o755))
    keep = "&noOverwriteDirNonDir=1"
    status, answer = tars.put(engine, container, "/tmp", on_directory, keep)
    assert status == 400 and "cannot overwrite directory" in answer["message"]
    status, answer = tars.put(engine, container, "/tmp", on_file, keep)
    assert status == 400 and "cannot overwrite non-directory" in answer["message"]
    assert tars.put(engine, container, "/tmp", on_file)[0] == 200
    assert tars.head(engine, container, "/tmp/tree/file")[1]["mode"] & 1 << 31
    assert tars.put(engine, container, "/tmp", on_directory)[0] == 200
    assert tars.head(engine, container, "/tmp/tree")[1]["size"] == len(b"now a file")


def test_access_control_lists(engine: rig.Engine, container: str, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    (source / "file").write_text("x")
    lists = {
        (".", "default"): "user::rwx,user:77:rwx,group::r-x,mask::rwx,other::r-x",
        ("file", "access"): "user::rw-,user:1234:rw-,group::r--,group:5:r--,mask::rw-,other::---",
    }
    for (name, kind), text in lists.items():
        os.setxattr(source / name, f"system.posix_acl_{kind}", acl.from_text(text))
    engine.run("cp", "-a", str(source), "box:/tmp")
    engine.run("cp", "-a", "box:/tmp/source", str(back))
    for name, kind in lists:
        attribute = f"system.posix_acl_{kind}"
        assert os.getxattr(back / name, attribute) == os.getxattr(source / name, attribute)


def test_holes_stay_holes(engine: rig.Engine, container: str, tmp_path: Path) -> None:
    source = tmp_path / "holes"
    with source.open("wb") as file:
        file.write(b"begin")
        file.seek(8 << 20)
        file.write(b"end")
    for client in ("firkin", "docker"):
        engine.run("cp", str(source), f"{container}:/data/holes", client=client)
        _, stat, members, _ = tars.get(engine, container, "/data/holes")
        assert stat["size"] == members["holes"].size == (8 << 20) + 3
    inside = engine.data / "volumes" / "boxdata" / "_data" / "holes"
    engine.run("cp", str(source), f"{container}:/data/holes")
    assert inside.stat().st_blocks < 1000
    back = tmp_path / "back"
    engine.run("cp", f"{container}:/data/holes", str(back))
    assert back.stat().st_blocks < 1000
    assert subprocess.run(["cmp", source, back], check=False).returncode == 0


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_archives(engine: rig.Engine, mode: str) -> None:
    engine.run("create", "--name", "box", "busybox")
    data = tars.archive(tars.entry("x", b"unpacked"), mode=mode)
    assert tars.put(engine, "box", "/tmp", data)[0] == 200
    assert tars.get(engine, "box", "/tmp/x")[3] == {"x": b"unpacked"}


def test_an_empty_archive(engine: rig.Engine) -> None:
    engine.run("create", "--name", "box", "busybox")
    assert tars.put(engine, "box", "/tmp", tars.archive())[0] == 200
    assert tars.put(engine, "box", "/tmp", b"")[0] == 200


def test_read_only_root_takes_only_what_goes_into_volumes(engine: rig.Engine) -> None:
    for verb in ("create", "run"):
        words = ["--read-only", "--name", "box", "-v", "/data", "busybox", "sleep", "999"]
        engine.run(verb, *(["-d"] if verb == "run" else []), *words)
        data = tars.archive(tars.entry("x", b"x"))
        status, answer = tars.put(engine, "box", "/tmp", data)
        assert status == 403 and "read-only" in answer["message"]
        assert tars.put(engine, "box", "/data", data)[0] == 200
        engine.run("rm", "-fv", "box")


def test_copy_uid_gid_gives_the_files_to_the_user_of_the_container(engine: rig.Engine) -> None:
    engine.run("create", "--name", "box", "--user", "nobody", "busybox")
    data = tars.archive(tars.entry("x", b"x", uid=5, gid=6))
    tars.put(engine, "box", "/tmp", data)
    assert tars.get(engine, "box", "/tmp/x")[2]["x"].uid == 5
    tars.put(engine, "box", "/tmp", data, "&copyUIDGID=1")
    found = tars.get(engine, "box", "/tmp/x")[2]["x"]
    assert (found.uid, found.gid) == (65534, 65534)


def test_the_working_directory_is_there_before_the_first_start(engine: rig.Engine) -> None:
    engine.run("create", "--name", "box", "-w", "/app/sub", "busybox", "ls")
    assert tars.head(engine, "box", "/app/sub")[1]["mode"] == 1 << 31 | 0o755
    assert tars.put(engine, "box", "/app/sub", tars.archive(tars.entry("in", b"x")))[0] == 200
    assert engine.out("start", "-a", "box") == "in"
    engine.run("create", "--name", "fixed", "--read-only", "-w", "/app", "busybox")
    assert tars.head(engine, "fixed", "/app")[0] == 200


def test_files_of_etc_outlive_the_run(engine: rig.Engine, container: str) -> None:
    """Those that the engine binds into a container are found there when it has ended too."""
    status, _, _, contents = tars.get(engine, container, "/etc/hostname")
    assert status == 200
    hostname = engine.out("inspect", "-f", "{{.Config.Hostname}}", "box")
    assert contents["hostname"].decode() == hostname + "\n"
    _, _, _, contents = tars.get(engine, container, "/etc")
    assert b"localhost" in contents["etc/hosts"]


def test_tmpfs_and_nested_mounts_of_a_running_container(engine: rig.Engine) -> None:
    engine.run("run", "-d", "--name", "box", "--tmpfs", "/t", "busybox", "sleep", "999")
    assert tars.put(engine, "box", "/t", tars.archive(tars.entry("x", b"in memory")))[0] == 200
    assert engine.out("exec", "box", "cat", "/t/x") == "in memory"
    assert tars.get(engine, "box", "/t")[3] == {"t/x": b"in memory"}


def test_a_start_while_files_are_read_uses_the_same_mount(engine: rig.Engine) -> None:
    engine.run("create", "--name", "box", "busybox", "sleep", "999")
    big = tars.archive(tars.entry("big", bytes(32 << 20)))
    assert tars.put(engine, "box", "/tmp", big)[0] == 200
    connection = unixhttp.Connection(engine.socket)
    connection.request("GET", "/v1.44/containers/box/archive?path=/tmp")
    answer = connection.getresponse()
    answer.read(1000)
    assert len(engine.mounts(engine.exec / "views")) == 1
    engine.run("start", "box")
    engine.run("exec", "box", "sh", "-c", "echo seen >/tmp/later")
    overlays = {
        line.split(" - ")[1]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if str(engine.exec) in line and " - overlay " in line
    }
    devices = {os.stat(point).st_dev for point in engine.mounts(engine.exec) if "rootfs" in point}
    devices |= {os.stat(point).st_dev for point in engine.mounts(engine.exec / "views")}
    assert len(devices) == len(overlays) == 1
    rest = answer.read()
    connection.close()
    assert len(rest) > 32 << 20
    assert tars.get(engine, "box", "/tmp/later")[3] == {"later": b"seen\n"}


def test_a_client_that_goes_away_leaves_nothing(engine: rig.Engine) -> None:
    engine.run("create", "--name", "box", "busybox")
    tars.put(engine, "box", "/tmp", tars.archive(tars.entry("big", bytes(32 << 20))))
    for _ in range(3):
        connection = unixhttp.Connection(engine.socket)
        connection.request("GET", "/v1.44/containers/box/archive?path=/")
        connection.getresponse().read(1000)
        connection.close()
    head = b"PUT /v1.44/containers/box/archive?path=/tmp HTTP/1.1\r\nHost: x\r\n"
    unixhttp.exchange(engine.socket, head + b"Content-Length: 999999\r\n\r\nabc", wait=1)
    engine.run("rm", "-f", "box")
    assert rig.settled(lambda: engine.mounts(engine.exec / "views") == [])
    assert rig.settled(lambda: not engine.processes())


def test_export(engine: rig.Engine, container: str, tmp_path: Path) -> None:
    tars.put(engine, container, "/data", tars.archive(tars.entry("in-volume", b"x")))
    for client in ("firkin", "docker"):
        target = tmp_path / client
        engine.run("export", "-o", str(target), container, client=client)
        members, _ = tars.unpack(target.read_bytes())
        assert "bin/busybox" in members and "etc/passwd" in members and "data" in members
        assert "data/in-volume" not in members and "ro/host-file" not in members
    again = engine.out("import", str(target), "again:1")
    assert engine.out("run", "--rm", "again:1", "sh", "-c", "cat /etc/passwd | wc -l") == "2", again


def test_changes(engine: rig.Engine) -> None:
    script = "echo a >/new; rm /etc/group; echo b >>/etc/passwd; mkdir -p /d/e; rm -r /var/www"
    engine.run("run", "--name", "box", "-v", "/vol", "busybox", "sh", "-c", script)
    status, found = unixhttp.ask(engine.socket, "GET", "/v1.44/containers/box/changes")
    assert status == 200
    assert {(c["Path"], c["Kind"]) for c in found} == {
        ("/new", 1), ("/etc", 0), ("/etc/group", 2), ("/etc/passwd", 0), ("/d", 1), ("/d/e", 1),
        ("/var", 0), ("/var/www", 2), ("/vol", 1),
    }  # fmt: skip
    for client in ("firkin", "docker"):
        lines = engine.out("diff", "box", client=client).splitlines()
        assert "D /etc/group" in lines and "A /d/e" in lines and "C /etc/passwd" in lines
    engine.run("create", "--name", "fresh", "busybox")
    assert unixhttp.ask(engine.socket, "GET", "/v1.44/containers/fresh/changes") == (200, None)


def test_top(engine: rig.Engine) -> None:
    engine.run("run", "-d", "--name", "box", "busybox", "sh", "-c", "sleep 1000 & sleep 2000")

    def commands() -> set[str]:
        status, found = unixhttp.ask(engine.socket, "GET", "/v1.44/containers/box/top")
        assert status == 200 and found["Titles"][:2] == ["UID", "PID"]
        return {row[-1] for row in found["Processes"]}

    assert rig.settled(lambda: commands() == {"sleep 1000", "sleep 2000"})
    for arguments in ("-o%20pid,args", "aux", "-C%20sleep%20-o%20pid"):
        target = f"/v1.44/containers/box/top?ps_args={arguments}"
        status, found = unixhttp.ask(engine.socket, "GET", target)
        assert status == 200 and len(found["Processes"]) == 2, (arguments, found)
    for arguments, code in (("-o%20args", 400), ("-o%20pid=X", 400), ("--no-such", 400)):
        target = f"/v1.44/containers/box/top?ps_args={arguments}"
        assert unixhttp.ask(engine.socket, "GET", target)[0] == code
    for client in ("firkin", "docker"):
        assert "sleep 2000" in engine.out("top", "box", "-o", "pid,args", client=client)
    engine.run("stop", "-t", "0", "box")
    assert unixhttp.ask(engine.socket, "GET", "/v1.44/containers/box/top")[0] == 409
