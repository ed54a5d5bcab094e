"""Limits of the host that many containers run into."""

from __future__ import annotations

from collections.abc import Iterator

from firkin.doctor import findings, hosts

_FILES = 65536
_TABLES = (
    # sysctl, least, what runs out
    ("fs.inotify.max_user_instances", 256, "programs in containers that watch files"),
    ("kernel.keys.maxkeys", 1000, "containers: each has a session keyring"),
    ("kernel.pid_max", 32768, "processes"),
)


def open_files(host: hosts.Host) -> Iterator[findings.Finding]:
    """How many files the engine may hold open: about six for each container."""
    for line in host.read("/proc/self/limits").splitlines():
        if line.startswith("Max open files"):
            hard = line.split()[4]
            if hard != "unlimited" and int(hard) < _FILES:
                yield findings.warn(
                    "open files",
                    f"at most {hard} for a process: enough for about {int(hard) // 6} containers",
                    "set LimitNOFILE=1048576 in the unit, or ulimit -Hn 1048576 before firkind",
                )
            else:
                yield findings.ok("open files", f"at most {hard} for a process")


def kernel_tables(host: hosts.Host) -> Iterator[findings.Finding]:
    """Tables of the kernel that are small by default."""
    low = False
    for name, least, what in _TABLES:
        text = host.read("/proc/sys/" + name.replace(".", "/"))
        if text.isdecimal() and int(text) < least:
            low = True
            yield findings.warn(name, f"{text} allows few {what}", f"sysctl -w {name}={least * 8}")
    if not low:
        yield findings.ok("kernel limits", ", ".join(name for name, _, _ in _TABLES))
