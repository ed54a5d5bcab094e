"""Linux capabilities: which a container gets.

Docker's model: a container starts from a fixed set of 14. ``cap_add`` and ``cap_drop`` change it:

* adding ALL gives everything the host can give, less what is dropped by name;
* else dropping ALL leaves exactly what is added;
* else the dropped ones go first and the added ones come after, so that a capability which is both
  added and dropped is there.

Names are taken in any case, with or without ``CAP_``. Names are those of capabilities(7).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from firkin import errdefs
from firkin.oci.tables import words

#: All capabilities in the kernel's numeric order (linux/capability.h).
ALL: tuple[str, ...] = words(
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP "
    "LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER "
    "SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE "
    "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF "
    "CHECKPOINT_RESTORE",
    "CAP_",
)

#: What a container has when nothing is said.
DEFAULT: frozenset[str] = frozenset(
    words(
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP "
        "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE",
        "CAP_",
    )
)

_EVERYTHING = "ALL"
_ORDER = {name: number for number, name in enumerate(ALL)}


def from_mask(mask: str) -> frozenset[str]:
    """The capabilities in a mask of /proc/PID/status (``CapBnd``), a hexadecimal number.

    The engine's own bounding set is the limit of what a container can have: the kernel's
    capabilities, unless the engine itself runs confined.
    """
    bits = int(mask.strip(), 16)
    return frozenset(name for number, name in enumerate(ALL) if bits >> number & 1)


def normalize(names: Iterable[str] | str | None, option: str) -> list[str]:
    """Canonical names (``CAP_X`` or ``ALL``), without repetition.

    ``option`` (``CapAdd``, ``CapDrop``) is for the message of ``InvalidParameter``.
    """
    if names is None:
        return []
    result: list[str] = []
    for given in [names] if isinstance(names, str) else names:
        name = given.strip().upper()
        if name in (_EVERYTHING, "CAP_ALL"):
            name = _EVERYTHING
        else:
            name = name if name.startswith("CAP_") else "CAP_" + name
            if name not in _ORDER:
                raise errdefs.InvalidParameter(
                    f'invalid {option}: unknown capability: "{given[:80]}"; '
                    "capabilities(7) lists the names"
                )
        if name not in result:
            result.append(name)
    return result


def ordered(names: Collection[str]) -> list[str]:
    """``names`` in the kernel's order."""
    return sorted(names, key=lambda name: _ORDER.get(name, len(_ORDER)))


def resolve(
    cap_add: list[str] | str | None,
    cap_drop: list[str] | str | None,
    *,
    privileged: bool = False,
    kernel: frozenset[str] = frozenset(ALL),
) -> list[str]:
    """The bounding set of a container, in the kernel's order; ``kernel`` is what can be given.

    Raises ``InvalidParameter`` for names that do not exist and added ones that can't be given.
    """
    added = normalize(cap_add, "CapAdd")
    dropped = normalize(cap_drop, "CapDrop")
    missing = [name for name in added if name != _EVERYTHING and name not in kernel]
    if missing:
        raise errdefs.InvalidParameter(
            f"invalid CapAdd: this host can not give {', '.join(missing)}: the kernel does "
            "not know it or the engine itself runs without it"
        )
    if privileged:
        return ordered(kernel)
    if _EVERYTHING in added:
        return ordered(kernel - set(dropped))
    if _EVERYTHING in dropped:
        return ordered(added)
    return ordered((DEFAULT & kernel) - set(dropped) | set(added))


def sets(granted: list[str]) -> dict[str, list[str]]:
    """The runtime-spec's ``process.capabilities``.

    The kernel takes them from a user other than root when the program is executed, but for those
    that the program's file has: these it keeps with no-new-privileges too. The inheritable and
    ambient sets stay empty, so that capabilities do not leak into other programs.
    """
    return {
        "bounding": list(granted),
        "effective": list(granted),
        "permitted": list(granted),
        "inheritable": [],
        "ambient": [],
    }
