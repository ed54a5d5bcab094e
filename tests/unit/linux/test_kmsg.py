"""The kernel's log of kills for lack of memory: written here as a socket of packets gives it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from firkin.linux import kmsg

GROUP = "/system.slice/firkin-abc.scope"
KILL = (
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=abc,mems_allowed=0,"
    "oom_memcg={group},task_memcg={group}/container,task=sh,pid=4711,uid=0\n"
)


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([f"6,10,5000000,-;{KILL.format(group=GROUP)}"], True),
        ([f"6,10,4999999,-;{KILL.format(group=GROUP)}"], False),  # of an earlier run
        ([f"14,10,6000000,-;{KILL.format(group=GROUP)}"], False),  # a process wrote it
        ([f"6,10,6000000,-;{KILL.format(group=GROUP + 'd')}"], False),  # another group
        (["6,10,6000000,-;something else\n SUBSYSTEM=x\n"], False),
        ([f"6,10,6000000,-;x {KILL.format(group=GROUP)}"], False),
        (["6,9,1,-;a\n", f"4,10,6000000,c;{KILL.format(group=GROUP)}", "6,11,7,-;b\n"], True),
        ([], False),
    ],
)
def test_kills_are_found_by_group_and_time(
    monkeypatch: pytest.MonkeyPatch, records: list[str], found: bool
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for record in records:
        theirs.send(record.encode())
    theirs.close()
    monkeypatch.setattr(os, "open", lambda *_: ours.detach())
    assert kmsg.oom_killed(GROUP, since=5.0) is found


def test_a_log_that_cannot_be_read_has_no_kill(tmp_path: Path) -> None:
    assert not kmsg.oom_killed(GROUP, since=0.0, path=str(tmp_path / "none"))
