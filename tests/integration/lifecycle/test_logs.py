"""Logs of real containers: rotation, drivers, killed engines, dead targets, and what logs shows."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import logtargets
import rig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root


def home(engine: Engine, name: str) -> Path:
    return engine.data / "containers" / engine.out("inspect", "-f", "{{.Id}}", name)


def until(condition: Callable[[], Any], what: str = "") -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def test_the_default_is_local_and_rotates(engine: Engine, client: str) -> None:
    assert engine.out("info", "-f", "{{.LoggingDriver}}", client=client) == "local"
    engine.run(
        "run", "-d", "--name", "rot", "--log-opt", "max-size=100k", "--log-opt", "max-file=3",
        "--log-opt", "compress=false", "busybox", "sh", "-c",
        "i=0; while [ $i -lt 9000 ]; do i=$((i+1)); echo line $i;"
        " [ $((i % 3000)) = 0 ] && sleep 2.2; done; sleep 1000",
        client=client,
    )  # fmt: skip
    follower = subprocess.Popen(
        [rig.BIN / "firkin", "logs", "-f", "rot"], env=engine.environment(), stdout=subprocess.PIPE
    )
    until(lambda: "line 9000" in engine.out("logs", "--tail", "1", "rot"))
    engine.run("stop", "-t", "0", "rot")
    seen, _ = follower.communicate(timeout=60)
    assert seen.decode().split() == [w for n in range(1, 9001) for w in ("line", str(n))]
    files = [path.stat() for path in home(engine, "rot").glob("container.log*")]
    assert sum({file.st_ino: file.st_size for file in files}.values()) < 500_000
    shown = engine.out("logs", "rot", client=client).splitlines()
    assert 1000 < len(shown) < 9000
    assert shown == [f"line {n}" for n in range(9001 - len(shown), 9001)]
    for count in (1, 700, 1600, 2500):
        tail = engine.out("logs", "--tail", str(count), "rot", client=client).splitlines()
        assert tail == shown[-count:]


def follow(engine: Engine, name: str, rest: float) -> bytes:
    """What a slow client that follows a log gets: it looks away for a while at the beginning."""
    connection = unixhttp.Connection(engine.socket, 120)
    connection.request("GET", f"/v1.41/containers/{name}/logs?stdout=1&follow=1")
    answer = connection.getresponse()
    found = [answer.read(1000)]
    time.sleep(rest)
    while data := answer.read(1 << 20):
        found.append(data)
    connection.close()
    return b"".join(found)


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_who_follows_loses_nothing(engine: Engine, driver: str) -> None:
    """More than the monitor's own limit, in many rotations, faster than it is read."""
    lines = 1_500_000 if driver == "local" else 400_000
    limits = ("--log-opt", "max-size=1m", "--log-opt", "max-file=3") if driver == "local" else ()
    engine.run("run", "-d", "-t", "--name", "pour", "--log-driver", driver, *limits, "busybox",
               "sh", "-c", f"stty -onlcr; sleep 1; seq 1 {lines}")  # fmt: skip
    seen = follow(engine, "pour", 2)
    assert seen == b"".join(b"%d\n" % number for number in range(1, lines + 1))
    if driver == "local":
        files = home(engine, "pour")
        until(lambda: sum(one.stat().st_size for one in files.glob("container.log*")) < 4 << 20)
        assert engine.out("logs", "--tail", "1", "pour") == str(lines)


def test_compressed_segments_are_read(engine: Engine) -> None:
    engine.run(
        "run", "-d", "--name", "gz", "--log-opt", "max-size=50k", "busybox", "sh", "-c",
        "for part in 1 2 3 4; do for i in $(seq 1000); do echo $part.$i; done; sleep 2.5; done",
    )  # fmt: skip
    engine.run("wait", "gz")
    assert list(home(engine, "gz").glob("container.log.*.gz"))
    everything = [f"{part}.{i}" for part in range(1, 5) for i in range(1, 1001)]
    assert engine.out("logs", "gz").split() == everything
    assert engine.out("logs", "--tail", "3500", "gz").split() == everything[-3500:]


def test_json_file_is_json(engine: Engine, client: str) -> None:
    engine.run(
        "run", "--name", "js", "--log-driver", "json-file", "--log-opt", "labels=team", "-l",
        "team=blue", "busybox", "sh", "-c", 'echo "a \\"b\\""; echo e >&2; printf rest',
        client=client,
    )  # fmt: skip
    path = Path(engine.out("inspect", "-f", "{{.LogPath}}", "js"))
    until(lambda: path.read_text().count("\n") == 3)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(r["log"] for r in records) == ['a "b"\n', "e\n", "rest"]
    assert {r["stream"] for r in records} == {"stdout", "stderr"}
    assert records[0]["attrs"] == {"team": "blue"}
    assert engine.out("logs", "js", client=client).startswith('a "b"\n')
    details = engine.out("logs", "--details", "-t", "--tail", "3", "js", client=client)
    assert re.match(r"20\S+Z team=blue ", details)
    until(lambda: not list(path.parent.glob("container.log*")), "the spool is emptied at the end")
    engine.run("start", "js")
    until(lambda: path.read_text().count("\n") == 6)


def test_json_file_of_an_engine_that_is_killed(engine: Engine) -> None:
    engine.run(
        "run", "-d", "--name", "kj", "--log-driver", "json-file", "busybox", "sh", "-c",
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done; sleep 1000",
    )  # fmt: skip
    for _ in range(3):
        engine.end(9)
        time.sleep(0.2)
        engine.start()
        time.sleep(0.3)
    until(lambda: engine.out("logs", "--tail", "1", "kj") == "20000")
    assert engine.out("logs", "kj").split() == [str(n) for n in range(1, 20001)]


def test_a_log_without_its_newest_file_is_mended(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "mu", "busybox", "sh", "-c",
               "while :; do date; sleep 0.1; done")  # fmt: skip
    log = home(engine, "mu") / "container.log"
    engine.end(9)
    log.unlink()  # nobody but an administrator would; its other name stays
    engine.start()
    until(log.exists)
    until(lambda: log.stat().st_size)
    first = Path(log.with_name("container.log.1")).read_text().count("\n")
    assert len(engine.out("logs", "mu").splitlines()) > first


def test_a_remote_driver_and_its_cache(engine: Engine, client: str) -> None:
    target = logtargets.Target.tcp()
    engine.run(
        "run", "-d", "--name", "sys", "--log-driver", "syslog", "--log-opt",
        f"syslog-address=tcp://127.0.0.1:{target.port}", "--log-opt", "tag={{.Name}}", "busybox",
        "sh", "-c", "echo one; echo two >&2; sleep 1000", client=client,
    )  # fmt: skip
    until(lambda: target.data.count(b"\n") == 2)
    assert re.search(rb"<30>\w{3} .. \S+ sys\[\d+\]: one\n", target.data)
    assert re.search(rb"<27>\w{3} .. \S+ sys\[\d+\]: two\n", target.data)
    found = engine.run("logs", "sys", client=client)
    assert (found.stdout, found.stderr) == (b"one\n", b"two\n")
    target.close()
    refused = engine.run(
        "run", "-d", "--name", "uncached", "--log-driver", "gelf", "--log-opt",
        "gelf-address=udp://127.0.0.1:9", "--log-opt", "cache-disabled=true", "busybox", "sh",
        client=client,
    )  # fmt: skip
    assert refused.returncode == 0
    failed = engine.run("logs", "uncached", client=client, check=False)
    assert b"does not support reading" in failed.stderr


def test_the_last_words_of_a_container_that_removes_itself(engine: Engine) -> None:
    target = logtargets.Fluentd(socket.create_server(("127.0.0.1", 0)))
    engine.run(
        "run", "--rm", "--log-driver", "fluentd", "--log-opt",
        f"fluentd-address=127.0.0.1:{target.port}", "--log-opt", "fluentd-request-ack=true",
        "busybox", "sh", "-c", "for i in $(seq 500); do echo $i; done",
    )  # fmt: skip
    until(lambda: len(target.events()) >= 500)
    assert [record["log"] for _, record in target.events()] == [str(n) for n in range(1, 501)]
    target.close()


def test_a_dead_target_in_blocking_mode_is_an_error_at_start(engine: Engine, client: str) -> None:
    failed = engine.run(
        "run", "--name", "dead", "--log-driver", "fluentd", "--log-opt",
        "fluentd-address=127.0.0.1:1", "busybox", "true", client=client, check=False,
    )  # fmt: skip
    assert failed.returncode == 125
    assert b"failed to initialize logging driver: fluentd" in failed.stderr
    assert engine.out("inspect", "-f", "{{.State.Status}}", "dead") == "created"


def test_a_target_that_dies_and_comes_back(engine: Engine) -> None:
    target = logtargets.Target.tcp()
    port = target.port
    engine.run(
        "run", "-d", "--name", "back", "--log-driver", "syslog", "--log-opt",
        f"syslog-address=tcp://127.0.0.1:{port}", "--log-opt", "syslog-format=rfc5424", "busybox",
        "sh", "-c", "echo before; while ! [ -e /go ]; do sleep 0.1; done; echo during; sleep 1000",
    )  # fmt: skip
    until(lambda: b"before" in target.data)
    target.close()
    engine.run("exec", "back", "touch", "/go")
    said = ("events", "--since", "1h", "--until", "0s", "--filter", "container=back")
    until(lambda: "log_fail" in engine.out(*said))
    assert "during" in engine.out("logs", "back")
    target = logtargets.Target.tcp(port=port)
    until(lambda: b"during" in target.data)
    until(lambda: "log_resume" in engine.out(*said))
    target.close()


def test_non_blocking_mode_goes_on_and_tells_of_its_losses(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    engine.run(
        "run", "-d", "--name", "nb", "--log-driver", "syslog", "--log-opt",
        f"syslog-address=tcp://127.0.0.1:{port}", "--log-opt", "mode=non-blocking", "--log-opt",
        "max-buffer-size=50k", "busybox", "sh", "-c",
        "for i in $(seq 5000); do echo line $i; done; touch /done; sleep 1000",
    )  # fmt: skip
    until(lambda: not engine.run("exec", "nb", "test", "-e", "/done", check=False).returncode)
    said = ("events", "--since", "1h", "--until", "0s", "--filter", "container=nb")
    until(lambda: "log_drop" in engine.out(*said))
    assert "log_fail" in engine.out(*said)
    target = logtargets.Target.tcp(port=port)
    until(lambda: b"line 5000\n" in target.data)
    assert b"line 10\n" not in target.data
    assert engine.out("logs", "nb").splitlines()[9] == "line 10"  # the copy has them all
    target.close()


def test_removal_and_restart_with_a_dead_target(engine: Engine) -> None:
    engine.run(
        "run", "-d", "--name", "dt", "--log-driver", "gelf", "--log-opt",
        "gelf-address=tcp://127.0.0.1:1", "--log-opt", "mode=non-blocking", "busybox", "sh", "-c",
        "while :; do echo x; sleep 0.1; done",
    )  # fmt: skip
    said = ("events", "--since", "1h", "--until", "0s", "--filter", "container=dt")
    until(lambda: "log_fail" in engine.out(*said))
    engine.run("restart", "-t", "0", "dt")
    until(lambda: engine.out(*said).count("log_fail") >= 2)
    engine.run("stop", "-t", "0", "dt")
    engine.run("start", "dt")
    engine.run("rm", "-f", "dt")


def test_an_engine_that_is_killed_goes_on_forwarding(engine: Engine) -> None:
    target = logtargets.Target.tcp()
    engine.run(
        "run", "-d", "--name", "kf", "--log-driver", "syslog", "--log-opt",
        f"syslog-address=tcp://127.0.0.1:{target.port}", "busybox", "sh", "-c",
        "for i in $(seq 3000); do echo line-$i; sleep 0.001; done",
    )  # fmt: skip
    until(lambda: b"line-20\n" in target.data)
    engine.end(9)
    time.sleep(0.5)
    engine.start()
    until(lambda: b"line-3000\n" in target.data)
    target.settle()
    numbers = [int(n) for n in re.findall(rb"line-(\d+)\n", target.data)]
    assert sorted(set(numbers)) == list(range(1, 3001))  # all, some of them perhaps twice
    target.close()


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("splunk", {}, "no log driver named 'splunk'"),
        ("local", {"colour": "red"}, "unknown log opt 'colour' for local"),
        ("local", {"max-size": "much"}, "max-size=much"),
        ("local", {"max-buffer-size": "1m"}, "only supported with 'mode=non-blocking'"),
        ("json-file", {"max-file": "0"}, "max-file"),
        ("json-file", {"mode": "fast"}, "use blocking or non-blocking"),
        ("json-file", {"tag": "{{.Moon}}"}, "{{.Moon}} is unknown"),
        ("json-file", {"labels-regex": "("}, "not a regular expression"),
        ("syslog", {"syslog-address": "http://x"}, "syslog-address=http://x: use udp://"),
        ("syslog", {"syslog-facility": "coffee"}, "syslog-facility=coffee"),
        ("syslog", {"syslog-format": "xml"}, "syslog-format=xml"),
        ("gelf", {}, "gelf-address is a required parameter"),
        ("gelf", {"gelf-address": "tcp://h:1", "gelf-compression-type": "gzip"}, "UDP only"),
        ("fluentd", {"fluentd-address": "host:99999"}, "port from 1 to 65535"),
        ("none", {"max-size": "1m"}, "takes no options"),
    ],
)
def test_refused(engine: Engine, kind: str, options: dict[str, str], words: str) -> None:
    body = {"Image": "busybox", "HostConfig": {"LogConfig": {"Type": kind, "Config": options}}}
    status, answer = unixhttp.ask(engine.socket, "POST", "/containers/create", body)
    assert (status, words in answer["message"]) == (400, True), answer


def test_since_and_until_over_segments(engine: Engine) -> None:
    engine.run(
        "run", "-d", "--name", "time", "--log-opt", "max-size=10k", "--log-opt", "max-file=9",
        "busybox", "sh", "-c", "for p in 1 2 3; do for i in $(seq 300); do echo $p.$i; done;"
        " sleep 2.5; done",
    )  # fmt: skip
    engine.run("wait", "time")
    stamped = [line.split() for line in engine.out("logs", "-t", "time").splitlines()]
    first = next(when for when, text in stamped if text == "2.1")
    last = next(when for when, text in stamped if text == "2.300")
    found = engine.out("logs", "--since", first, "--until", last, "time").split()
    assert found == [f"2.{n}" for n in range(1, 301)]


def test_the_engines_default(tmp_path: Path) -> None:
    engine = Engine(tmp_path, f"fkld{time.monotonic_ns() % 10**8}")
    (tmp_path / "daemon.json").write_text(
        json.dumps({"log-driver": "json-file", "log-opts": {"max-size": "1m", "max-file": "2"}})
    )
    try:
        engine.start()
        engine.add_busybox()
        engine.run("create", "--name", "dd", "busybox")
        engine.run("create", "--name", "oo", "--log-driver", "local", "busybox")
        for name, kind, options in (
            ("dd", "json-file", {"max-size": "1m", "max-file": "2"}), ("oo", "local", {}),
        ):  # fmt: skip
            shown = json.loads(engine.out("inspect", name))[0]["HostConfig"]["LogConfig"]
            assert shown == {"Type": kind, "Config": options}
        engine.run("rm", "dd", "oo")
        engine.end()
    finally:
        if engine.process and engine.process.poll() is None:
            engine.end(9)
        rig.clear(engine)


_DRIVER = """
import json
from firkin import errdefs

class Driver:
    options = frozenset({"file"})
    def __init__(self, context):
        self.context = context
    def validate(self, options):
        if not options.get("file"):
            raise errdefs.InvalidParameter("mylog needs the option file")
    def open(self, info, state=""):
        return Logger(open(info.options["file"], "a"), info.name)

class Logger:
    def __init__(self, file, name):
        self.file, self.name = file, name
    def write(self, entries):
        for entry in entries:
            self.file.write(f"{self.name} {entry.source} {entry.line.decode()}\\n")
        self.file.flush()
        return ""
    def close(self):
        self.file.close()
"""


def test_a_driver_from_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "packages"
    info = packages / "mylog-1.0.dist-info"
    info.mkdir(parents=True)
    (packages / "mylog.py").write_text(_DRIVER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mylog\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[firkin.log_drivers]\nmylog = mylog:Driver\n")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    target = tmp_path / "target"
    home = tmp_path / "engine"
    home.mkdir()
    with rig.running(home, f"fklp{time.monotonic_ns() % 10**8}") as engine:
        assert "mylog" in engine.out("info", "-f", "{{.Plugins.Log}}")
        lacking = engine.run("create", "--log-driver", "mylog", "busybox", check=False)
        assert b"mylog needs the option file" in lacking.stderr
        engine.run("run", "--name", "own", "--log-driver", "mylog", "--log-opt", f"file={target}",
                   "busybox", "echo", "hello")  # fmt: skip
        until(lambda: target.exists() and target.read_text() == "own stdout hello\n")
        assert engine.out("logs", "own") == "hello"
