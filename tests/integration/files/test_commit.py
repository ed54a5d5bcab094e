"""What is committed is what was there, whatever the only change was."""

from __future__ import annotations

import pytest

import rig

pytestmark = pytest.mark.root

SEEN = """
cd /
find . -xdev ! -path './etc/*' ! -path './proc*' ! -path './sys*' ! -path './dev*' |
    sort | while read n; do stat -c '%n %F %a %u %g %h %s %Y' "$n"; done | grep -v '^. '
find . -xdev -type f ! -path './etc/*' ! -path './bin/*' -exec sha256sum {} + | sort
"""
CHANGES = {
    "a large file": "dd if=/dev/urandom of=/large bs=1M count=3",
    "files of many sizes": "for n in 0 1 511 512 513 99999; do head -c $n /dev/urandom >/f$n; done",
    "two names": "dd if=/dev/urandom of=/one bs=1M count=2; ln /one /two",
    "a hole": "truncate -s 5M /hole",
    "a hole with data": "dd if=/dev/urandom of=/hole bs=64k count=3 seek=40; truncate -s 9M /hole",
    "a directory": "mkdir -m 1770 /d",
    "a link": "ln -s nowhere /l",
    "two links": "ln -s nowhere /l; ln /l /m",
    "a fifo": "mkfifo -m 640 /p",
    "a device": "mknod /z c 1 5",
    "something less": "rm -r /var/www /home; mkdir /home",
    "an owner": "chown 7:8 /root",
}


@pytest.fixture(scope="module")
def base(files_engine: rig.Engine) -> str:
    """An image that has the mount points of a container: what runs from it adds nothing to it."""
    engine = files_engine
    engine.run("run", "--name", "first", "busybox", "true")
    engine.run("commit", "first", "base")
    engine.run("rm", "first")
    engine.run("run", "--name", "second", "base", "true")
    assert engine.out("diff", "second") == ""
    engine.run("rm", "second")
    return "base"


@pytest.mark.parametrize("change", CHANGES)
def test_commit(engine: rig.Engine, base: str, change: str) -> None:
    seen = engine.out("run", "--name", "box", base, "sh", "-c", f"{CHANGES[change]}; {SEEN}")
    engine.run("commit", "box", "committed")
    assert engine.out("run", "--rm", "committed", "sh", "-c", SEEN) == seen
    engine.run("rm", "box")
    engine.run("rmi", "committed")
