"""Compiling a runtime-spec seccomp section to a BPF program, by libseccomp.

An OCI runtime compiles its container's filter anew at each start, which for a list of some hundred
calls takes longer than everything else it does. The program depends on the section alone, so it can
be made once and handed over.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_NO_SYSCALL = -1
_EEXIST = -17
_OPTIMIZE, _TREE = 8, 2  # SCMP_FLTATR_CTL_OPTIMIZE: seccomp_attr_set(3)


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    ]


class Unsupported(Exception):
    """The section asks for something that only the runtime itself can do."""


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    ]  # fmt: skip
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def _action(name: str, errno: int | None) -> int:
    try:
        action = _ACTIONS[name]
    except KeyError:
        raise Unsupported(name) from None
    return action | ((1 if errno is None else errno) if name == "SCMP_ACT_ERRNO" else 0)


def compile_filter(section: dict[str, Any]) -> bytes:
    """The BPF program (struct sock_filter entries) for ``linux.seccomp`` of the runtime-spec.

    Calls that this libseccomp does not know are left out, as the runtimes do. Raises
    ``Unsupported`` for flags, listeners and actions that can't be put into a program, and
    ``OSError`` when libseccomp is missing or fails. Blocks for some ten milliseconds.
    """
    if section.get("flags") or section.get("listenerPath"):
        raise Unsupported("flags or listener")
    library = _library()
    default = _action(section["defaultAction"], section.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise OSError("seccomp_init failed")
    try:
        # A tree instead of a chain of comparisons: a third of the kernel's work at each start. An
        # older libseccomp than 2.5 has no such attribute, and the chain does the same.
        library.seccomp_attr_set(context, _OPTIMIZE, _TREE)
        for name in section.get("architectures", []):
            token = library.seccomp_arch_resolve_name(
                name.removeprefix("SCMP_ARCH_").lower().encode()
            )
            if not token:
                continue
            result = library.seccomp_arch_add(context, token)
            if result < 0 and result != _EEXIST:
                raise OSError(-result, f"seccomp_arch_add {name}")
        for rule in section.get("syscalls", []):
            _add(library, context, rule, default)
        fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            if (result := library.seccomp_export_bpf(context, fd)) < 0:
                raise OSError(-result, "seccomp_export_bpf")
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)
    finally:
        library.seccomp_release(context)


def _add(library: ctypes.CDLL, context: int, rule: dict[str, Any], default: int) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return
    arguments = rule.get("args") or []
    array = (_Comparison * len(arguments))()
    for place, argument in zip(array, arguments, strict=True):
        place.arg = argument["index"]
        place.op = _OPERATORS[argument["op"]]
        place.a, place.b = argument["value"], argument.get("valueTwo", 0)
    indexes = [argument["index"] for argument in arguments]
    # Several conditions on one argument are alternatives, as in the runtimes.
    groups = [[place] for place in array] if len(set(indexes)) < len(indexes) else [list(array)]
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == _NO_SYSCALL:
            continue
        for group in groups:
            chosen = (_Comparison * len(group))(*group)
            result = library.seccomp_rule_add_array(context, action, number, len(group), chosen)
            if result < 0 and result != _EEXIST:
                raise OSError(-result, f"seccomp_rule_add {name}")
