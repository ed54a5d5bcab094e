"""``scripts/vm-test``: boots a Debian 12 and looks there at what only a whole machine can show."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from vm import checks, image, machine

ROOT = Path(__file__).resolve().parents[2]
CACHE = os.environ.get("FIRKIN_VM_CACHE", "/var/tmp/firkin-vm")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/vm-test", description=__doc__)
    add = parser.add_argument
    add("--cache", type=Path, default=Path(CACHE), metavar="DIR",
        help=f"where the disk image is kept (FIRKIN_VM_CACHE, {CACHE})")  # fmt: skip
    add("--reuse", action="store_true",
        help="go on with the machine of the last run, with the files of this commit")  # fmt: skip
    add("-k", metavar="WORD", default="", help="only the checks whose name has this word")
    add("--run", metavar="SCRIPT", help="run this in the machine instead of the checks")
    return parser.parse_args()


def _source(target: Path) -> None:
    """A tar of what a clone has."""
    with target.open("wb") as file:
        subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, stdout=file, check=True)


def _report(vm: checks.Vm, word: str) -> bool:
    """Run the checks and print a line for each; whether all passed."""
    failed = passed = 0
    for name, check in checks.ALL:
        if word not in name:
            continue
        start = time.monotonic()
        try:
            check(vm)
        except machine.Lost as error:
            print(f"FAIL {name}: {error}", flush=True)
            failed += 1
            break
        except checks.Failed as error:
            failed += 1
            print(f"FAIL {name}: {error}", flush=True)
        else:
            passed += 1
            print(f"ok {name} ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    return not failed and passed > 0


def main() -> int:
    """Returns the exit code."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the exits: no machine stays
    given.cache.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context((given.cache / "lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)  # one machine at a time
        base = image.Image(given.cache)
        base.make()
        disk, source = given.cache / "run.ext4", given.cache / "source.tar"
        if not given.reuse or not disk.exists():
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", base.disk, disk], check=True)
        _source(source)
        vm = checks.Vm(
            machine.Machine(
                given.cache, kernel=base.kernel, initrd=base.initrd, disk=disk, source=source
            )
        )
        stack.callback(vm.machine.end)
        try:
            vm.begin()
            if given.run:
                return vm.machine.run(given.run, timeout=3600, show=True, env=checks.ENV).code
            passed = _report(vm, given.k)
        except machine.Lost as error:
            print(f"FAIL the machine boots: {error}\n0 passed, 1 failed")
            passed = False
        vm.machine.run("systemctl stop firkin.service firkin.socket; sync", timeout=120)
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
