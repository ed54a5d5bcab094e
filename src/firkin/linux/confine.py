"""Giving up what a process does not need, for good, before it touches hostile input.

The order matters and :func:`confine` keeps it: name spaces while still privileged, then the root
directory, limits, capabilities, and at last the system call filter, which none of the former
would pass.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import resource
import struct

from firkin.linux import syscalls

CAP_CHOWN = 0
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAP_FOWNER = 3
CAP_FSETID = 4
CAP_MKNOD = 27
CAP_SETFCAP = 31

_CAP_SYS_CHROOT = 18
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522

# System calls that a process reading and writing files never makes, by machine: starting programs
# and processes, sockets, other processes' affairs, mounts, modules, keys, tracing.
_REFUSED: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (
        0xC000003E,
        (
            *range(41, 60),  # socket ... clone, fork, vfork, execve
            62, 101, 155, 161, 163, 165, 166, 167, 168, 169, 170, 171, 172, 173,
            175, 176, 200, 234, 246, 248, 249, 250, 272, 288, 298, 304, 308, 310, 311, 312,
            313, 320, 321, 322, 323, 425, 426, 427, 424, 428, 429, 430, 431, 432, 433, 434, 435,
            438, 440, 442,
        ),
    ),
    "aarch64": (
        0xC00000B7,
        (
            39, 40, 41, 51, 89, 97, 104, 105, 106, 117, 129, 130, 131, 142,
            *range(198, 213), 217, 218, 219, 220, 221, 224, 225, 240, 241, 242, 243, 264, 265,
            268, 270, 271, 272, 273, 280, 281, 282, 294, 424, 425, 426, 427, 428, 429, 430, 431,
            432, 433, 434, 435, 438, 440, 442,
        ),
    ),
}  # fmt: skip


def _prctl(option: int, *arguments: int) -> int:
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    result: int = syscalls.libc.prctl(option, *padded)
    return result


@functools.cache
def last_capability() -> int:
    """The kernel's highest capability. Ask once while /proc is there, if it will not stay."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as text:
        return int(text.read())


def keep_capabilities(kept: tuple[int, ...]) -> None:
    """Drop all capabilities but ``kept``, from every set, so that they cannot come back."""
    for capability in range(last_capability() + 1):
        if capability not in kept:
            syscalls.check(_prctl(_PR_CAPBSET_DROP, capability), "prctl(PR_CAPBSET_DROP)")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _set_capabilities(kept)


def _set_capabilities(kept: tuple[int, ...]) -> None:
    low = high = 0
    for capability in kept:
        if capability < 32:
            low |= 1 << capability
        else:
            high |= 1 << (capability - 32)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    syscalls.check(syscalls.libc.capset(header, data), "capset")


def refuse_system_calls() -> None:
    """Answer system calls that only an attacker would make with EPERM.

    Machines without a table go without a filter: it is the last of several walls.
    """
    known = _REFUSED.get(platform.machine())
    if known is None:
        return
    architecture, numbers = known
    load, jump_equal, jump_greater, give = 0x20, 0x15, 0x25, 0x06
    allow, kill = 0x7FFF0000, 0x80000000
    refuse = 0x00050000 | errno.EPERM
    code = [(load, 0, 0, 4), (jump_equal, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, 0)]
    # Numbers from 2**30 on are x86-64's second set of numbers (x32): nothing here uses it.
    code += [(jump_greater, 0, 1, 0x3FFFFFFF), (give, 0, 0, kill)]
    wanted = sorted(set(numbers))
    code += [(jump_equal, len(wanted) - at, 0, number) for at, number in enumerate(wanted)]
    code += [(give, 0, 0, allow), (give, 0, 0, refuse)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
    header = struct.pack("@HP", len(code), ctypes.addressof(program))
    buffer = ctypes.create_string_buffer(header)
    result = _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(buffer))
    syscalls.check(result, "prctl(PR_SET_SECCOMP)")


_OUTSIDE = syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWNET


def cut_off() -> None:
    """Own IPC, UTS and network name spaces, for this process and those that it will fork."""
    syscalls.unshare(_OUTSIDE)


def confine(
    root: int | None,
    capabilities: tuple[int, ...],
    *,
    memory: int,
    file_size: int,
    files: int = 64,
    apart: bool = False,
) -> None:
    """Lock this process into the directory ``root`` (a descriptor, closed here) for good.

    With ``apart`` the process is known to be cut off already (:func:`cut_off`). ``None`` is for a
    process that has a mount name space of its own, with a root that it may see all of: both stay as
    they are.

    Own mount, IPC, UTS and network name spaces; ``memory`` is the limit of the address space,
    ``file_size`` of one file (-1 for none), ``files`` of open descriptors. All descriptors above
    standard error are closed. Raises ``OSError``; then the process must end.
    """
    mounts = syscalls.CLONE_NEWNS if root is not None else 0
    if mounts or not apart:
        syscalls.unshare(mounts | (0 if apart else _OUTSIDE))
    limits = [
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, file_size if file_size >= 0 else resource.RLIM_INFINITY),
    ]
    _prctl(_PR_SET_DUMPABLE, 0)
    keep_capabilities((*capabilities, _CAP_SYS_CHROOT))
    if root is not None:
        os.fchdir(root)
        os.chroot(".")
    os.closerange(3, 4096)
    for kind, value in limits:
        resource.setrlimit(kind, (value, value))
    _set_capabilities(capabilities)
    syscalls.check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl(PR_SET_NO_NEW_PRIVS)")
    refuse_system_calls()
