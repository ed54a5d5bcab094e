"""Device nodes and the rules of the devices cgroup.

A container can make any device node (``mknod``, if it has the capability) but use only those its
cgroup allows: by default the harmless ones that every container has. ``--device`` adds a node and
its rule, ``--device-cgroup-rule`` a rule alone; a privileged container gets the host's nodes and
no limits.

What a path of the host is, is asked of a ``Lookup``: it returns the device node that the path (or
the symlink there) is, all nodes below it if it is a directory, and raises ``OSError`` otherwise.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Callable, Sequence
from typing import Any

from firkin import errdefs
from firkin.oci.tables import words
from firkin.types import container


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A device node: ``kind`` is "c" or "b"; ``mode`` the permission bits."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o660
    uid: int = 0
    gid: int = 0


Lookup = Callable[[str], Sequence[Device]]

#: Nodes that a runtime makes in every container, whatever the spec says.
MADE_BY_RUNTIME = frozenset(words("null zero full random urandom tty console ptmx", "/dev/"))

#: Directories and links of /dev that belong to each container.
_OWN_DEV = ("/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/.lxc", "/dev/.lxd-mounts")

_RULE = re.compile(r"([acb]) ([0-9]{1,10}|\*):([0-9]{1,10}|\*) ([rwm]{1,3})", re.ASCII)
_MAX_NUMBER = 2**32 - 1


def _rule(kind: str, major: int | None, minor: int | None, access: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule


def default_rules() -> list[dict[str, Any]]:
    """Nothing but: making any node; null, zero, full, random, urandom, tty, console and ptys."""
    return [
        {"allow": False, "access": "rwm"},
        _rule("c", None, None, "m"),
        _rule("b", None, None, "m"),
        *(_rule("c", 1, minor, "rwm") for minor in (3, 5, 7, 8, 9)),
        *(_rule("c", 5, minor, "rwm") for minor in (0, 1, 2)),
        _rule("c", 136, None, "rwm"),
    ]


def parse_rule(text: str) -> dict[str, Any]:
    """A rule from ``type major:minor access``, such as ``c 13:* rwm``."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise errdefs.InvalidParameter(
            f"invalid device cgroup rule format: '{text[:80]}'; it should look like 'c 13:* rwm'"
        )
    kind, major, minor, access = match.groups()
    numbers = [None if number == "*" else int(number) for number in (major, minor)]
    if any(number is not None and number > _MAX_NUMBER for number in numbers):
        raise errdefs.InvalidParameter(
            f"invalid device cgroup rule '{text[:80]}': a device number is too large"
        )
    return _rule(kind, numbers[0], numbers[1], access)


def one(lookup: Lookup, path: str, purpose: str) -> Device:
    """The device node at ``path``; ``purpose`` is for the message of ``InvalidParameter``."""
    try:
        found = lookup(path)
    except OSError as error:
        raise errdefs.InvalidParameter(f"{purpose}: {path[:200]}: {error.strerror}") from error
    if len(found) != 1:
        raise errdefs.InvalidParameter(f"{purpose}: {path[:200]} is not a device node")
    return found[0]


def _node(device: Device, path: str) -> dict[str, Any]:
    return {
        "path": path,
        "type": device.kind,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode & 0o777,
        "uid": device.uid,
        "gid": device.gid,
    }


def _checked_target(path: str, field: str) -> str:
    if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise errdefs.InvalidParameter(f"invalid {field} {path[:80]!r}: it must be absolute")
    return posixpath.normpath(path)


def _mapped(entry: container.DeviceMapping, lookup: Lookup) -> list[tuple[Device, str]]:
    """The nodes of one ``--device`` entry, each with its path in the container."""
    source = _checked_target(entry.path_on_host, "device")
    target = _checked_target(entry.path_in_container or source, "device path in the container")
    try:
        found = lookup(source)
    except OSError as error:
        raise errdefs.InvalidParameter(
            "error gathering device information while adding custom device "
            f'"{source[:200]}": {(error.strerror or str(error)).lower()}'
        ) from error
    if not found:
        raise errdefs.InvalidParameter(
            "error gathering device information while adding custom device "
            f'"{source[:200]}": not a device node'
        )
    if len(found) == 1 and not found[0].path.startswith(source + "/"):
        return [(found[0], target)]
    return [
        (device, posixpath.join(target, posixpath.relpath(device.path, source))) for device in found
    ]


def resolve(
    host: container.HostConfig, lookup: Lookup, host_devices: Sequence[Device] = ()
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """``linux.devices`` and ``linux.resources.devices`` of a container.

    ``host_devices`` are all nodes of the host, for a privileged container. Raises
    ``InvalidParameter`` for what is not a device. Device requests are edits of the whole spec, see
    ``cdi``.
    """
    nodes: dict[str, dict[str, Any]] = {}
    rules = default_rules()
    if host.privileged:
        rules = [{"allow": True, "access": "rwm"}]
        for device in host_devices:
            if not any(device.path == own or device.path.startswith(own + "/") for own in _OWN_DEV):
                nodes[device.path] = _node(device, device.path)
    for entry in host.devices or ():
        access = entry.cgroup_permissions or "rwm"
        if not set(access) <= set("rwm") or len(access) > 3:
            raise errdefs.InvalidParameter(
                f"invalid device permissions {access[:20]!r} for {entry.path_on_host[:80]}: "
                "a combination of r, w and m is expected"
            )
        for device, path in _mapped(entry, lookup):
            nodes[path] = _node(device, path)
            if not host.privileged:
                rules.append(_rule(device.kind, device.major, device.minor, access))
    for text in host.device_cgroup_rules or ():
        rule = parse_rule(text)
        if not host.privileged:
            rules.append(rule)
    kept = [node for path, node in nodes.items() if path not in MADE_BY_RUNTIME]
    return kept, rules
