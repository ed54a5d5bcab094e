"""Commands that do something, and errors: both clients say and do the same.

Each client gets containers of its own, prepared alike; their names become the same mark.
"""

from __future__ import annotations

import shlex
import shutil

import normal
import pytest

import rig
from rig import Engine

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="needs the official client"),
]

VERBS = """
stop -t 0 RUNNING
stop -t 0 RUNNING nosuch CREATED
stop -s KILL RUNNING
kill RUNNING
kill -s TERM RUNNING nosuch
kill CREATED
restart -t 0 RUNNING CREATED
pause RUNNING
unpause RUNNING
start CREATED
start CREATED nosuch
start -a CREATED
start -ai CREATED
wait CREATED
rm CREATED
rm -f RUNNING
rm -fv RUNNING nosuch
rm RUNNING
rename CREATED NEWNAME
rename CREATED RUNNING
rename CREATED /bad/name
exec RUNNING echo hello
exec -d RUNNING true
exec -e A=b -w /tmp RUNNING sh -c 'echo $A; pwd; exit 3'
exec RUNNING nosuchcommand
exec -w /nonexistent RUNNING true
exec -u nosuchuser RUNNING true
exec CREATED true
exec -t RUNNING tty
exec -it RUNNING true
top RUNNING -o comm
top CREATED
attach CREATED
commit CREATED
commit -m msg -a me CREATED
port CREATED
logs CREATED
create --name NEWNAME busybox true
create --name RUNNING busybox true
run --rm --name NEWNAME busybox echo hello
run --rm busybox sh -c 'echo out; echo err >&2; exit 5'
run --rm busybox nosuchcommand
run --rm busybox /etc
run --rm --name RUNNING busybox true
run -d --rm --restart always busybox
run --rm --network nosuch busybox true
run --rm --memory 1 busybox true
run --rm --restart foo busybox true
run --rm --ip 1.2.3.4 busybox true
run --rm --user nosuch busybox true
run --rm --cpuset-cpus 99 busybox true
run --rm --stop-signal FOO busybox true
run --rm --link nosuch busybox true
run --rm --mount type=bind,source=/nonexistent,target=/x busybox true
run --rm --label a=b --hostname h -w /tmp busybox sh -c 'hostname; pwd'
run --memory xx busybox
run -d -a stdin busybox
run -it busybox true
run --env-file /nonexistent busybox
run --health-cmd a --no-healthcheck busybox
run --pull foo busybox
volume create NEWNAME
volume create
volume create 'bad name'
volume create -d nosuch x
volume rm nosuch
volume rm -f nosuch
volume prune -f
container prune -f --filter label=nosuchlabel
image rm nosuch other/nosuch
rmi nosuch
tag nosuch x
tag busybox busybox:latest
network connect nosuch RUNNING
network connect bridge nosuch
network disconnect bridge nosuch
network rm -f nosuch
network create bridge
save nosuch
save
load -i /nonexistent
import /nonexistent
stop
stop -t x RUNNING
stop nosuch
kill
kill nosuch
kill -s FOO RUNNING
rm
rm nosuch
rm -f nosuch
rename RUNNING
restart
restart nosuch
start nosuch
pause nosuch
unpause RUNNING
wait nosuch
wait
exec RUNNING
exec nosuch true
exec -e
attach
attach nosuch
top nosuch
logs
port
tag busybox
rmi
inspect
run
run -x busybox
run --bogus
create
create --name
commit nosuch
history
volume inspect
volume rm
network rm
network inspect
network create
ps --bogus
ps x
ps --format
images a b
--bogus
-H
info x
version x
events x
system df x
"""


def prepared(engine: Engine, client: str) -> dict[str, str]:
    """A running and a created container for this client; the marks of their names."""
    running, created, new = (f"{client}-{word}" for word in ("runs", "waits", "new"))
    engine.run("run", "-d", "--name", running, "busybox", "sleep", "1000")
    engine.run("create", "--name", created, "busybox", "sh", "-c", "echo started; exit 4")
    identities = [
        engine.out("inspect", "-f", "{{.Id}}", name, client="docker") for name in (running, created)
    ]
    marks = dict(zip(identities, ("<RUNNING ID>", "<CREATED ID>"), strict=True))
    return {**marks, running: "RUNNING", created: "CREATED", new: "NEWNAME"}


_STATES = ("ps", "-a", "--format", "{{.Names}} {{.State}}")


@pytest.mark.parametrize("line", VERBS.strip().split("\n"))
def test_does_and_says_the_same(engine: Engine, line: str) -> None:
    said = {}
    for client in ("firkin", "docker"):
        names = prepared(engine, client) if line.upper() != line else {}
        place = {mark: name for name, mark in names.items()}
        words = [place.get(word, word) for word in shlex.split(line)]
        # Docker is the mark of both programs in texts: the names must be read before.
        marks = {name.replace("firkin", "docker"): mark for name, mark in names.items()}
        first = normal.say(engine, client, words, names=marks, identities=False)
        # What CREATED runs ends by itself, sooner or later.
        rig.settled(lambda client=client: f"{client}-waits running" not in engine.out(*_STATES))
        state = engine.out(*_STATES, client="docker")
        said[client] = (first, sorted(state.replace(client, "").splitlines()))
        if paused := engine.out("ps", "-q", "-f", "status=paused").split():
            engine.run("unpause", *paused)
        if ids := engine.out("ps", "-aq").split():
            engine.run("rm", "-f", "-v", *ids)
        engine.run("volume", "prune", "-af")
    assert said["firkin"] == said["docker"]


def test_an_engine_that_is_not_there(engine: Engine) -> None:
    host = ("-H", "unix:///nonexistent")
    for line in ("ps", "run busybox", "exec x true", "images", "info", "volume ls",
                 "network inspect x", "events", "logs x", "stop x", "system df"):  # fmt: skip
        ours, theirs = (
            normal.say(engine, client, [*host, *line.split()]) for client in ("firkin", "docker")
        )
        assert (ours.stderr, ours.status) == (theirs.stderr, theirs.status), line
