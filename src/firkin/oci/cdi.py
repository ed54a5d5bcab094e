"""Devices of the Container Device Interface (https://github.com/cncf-tags/container-device-interface).

Vendors describe their devices in files below ``DIRECTORIES``, JSON or YAML; a file in a later
directory takes precedence. A device is called ``VENDOR/CLASS=NAME``. What a container gets for it
is a set of edits of its runtime-spec: variables, device nodes, mounts, hooks and groups.

The files are the host's own, as trusted as the host. Everything here blocks.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from firkin import errdefs
from firkin.types import container

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
_GPUS = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}
_MAX = 8 << 20
_CLASS = "org.mobyproject.buildkit.device.class"
_AUTO = "org.mobyproject.buildkit.device.autoallow"
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


class Node(msgspec.Struct, rename="camel"):
    """A device node to make; what it does not say is that of ``host_path``."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int = 0
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class Mount(msgspec.Struct, rename="camel"):
    """A bind mount, or one of another type."""

    host_path: str
    container_path: str
    options: list[str] = []
    type: str = ""


class Hook(msgspec.Struct, rename="camel"):
    """A program of the host to run at one of the runtime-spec's moments."""

    hook_name: str
    path: str
    args: list[str] = []
    env: list[str] = []
    timeout: int | None = None


class Edits(msgspec.Struct, rename="camel"):
    """What a container gets."""

    env: list[str] = []
    device_nodes: list[Node] = []
    mounts: list[Mount] = []
    hooks: list[Hook] = []
    additional_gids: list[int] = msgspec.field(name="additionalGids", default_factory=list)


class _Device(msgspec.Struct, rename="camel"):
    name: str
    annotations: dict[str, Any] = {}
    container_edits: Edits = msgspec.field(default_factory=Edits)


class _Spec(msgspec.Struct, rename="camel"):
    kind: str
    cdi_version: str = ""
    annotations: dict[str, Any] = {}
    devices: list[_Device] = []
    container_edits: Edits = msgspec.field(default_factory=Edits)


class Device(msgspec.Struct, frozen=True):
    """A device of this host. ``allowed``: its vendor wants no permission for it in builds."""

    name: str
    kind: str
    classes: str
    allowed: bool
    edits: tuple[Edits, Edits]
    source: str


def _devices(path: str) -> list[Device]:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX + 1)
        if len(data) > _MAX:
            raise ValueError(f"it has more than {_MAX} bytes")
        if path.endswith(".json"):
            value = json.loads(data)
        else:
            import yaml

            try:
                value = yaml.safe_load(data)
            except yaml.YAMLError as error:
                raise ValueError(str(error)) from error
        spec = msgspec.convert(value, _Spec)
    except (OSError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise errdefs.System(f"the CDI specification {path} can't be read: {error}") from error
    return [
        Device(
            f"{spec.kind}={one.name}", spec.kind, str(one.annotations.get(_CLASS, "")),
            _true(one.annotations.get(_AUTO, spec.annotations.get(_AUTO))),
            (spec.container_edits, one.container_edits), path,
        )
        for one in spec.devices
    ]  # fmt: skip


def _true(value: object) -> bool:
    return str(value).lower() in ("true", "1")


class Known:
    """The devices of this host: those that the files in ``directories`` describe now."""

    def __init__(self, directories: Sequence[str] = DIRECTORIES) -> None:
        """Read the files. Raises ``System`` for one that can't be read."""
        self._directories = directories
        self.devices: dict[str, Device] = {}
        for directory in directories:
            try:
                names = sorted(os.listdir(directory))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for name in names:
                if name.endswith((".json", ".yaml", ".yml")):
                    for device in _devices(os.path.join(directory, name)):
                        self.devices[device.name] = device

    def find(self, wanted: str) -> list[Device]:
        """What a name means: ``KIND=NAME``, ``KIND`` (the first), ``KIND=*`` (all), or a class."""
        kind, equals, name = wanted.partition("=")
        of_kind = [one for one in self.devices.values() if one.kind == kind]
        if equals and name == "*":
            return of_kind
        if equals:
            return [self.devices[wanted]] if wanted in self.devices else []
        return of_kind[:1] or [one for one in self.devices.values() if one.classes == wanted]

    def need(self, wanted: str) -> list[Device]:
        """The same. Raises ``InvalidParameter`` when that is none."""
        if found := self.find(wanted):
            return found
        have = (
            f"there are {', '.join(sorted(self.devices))[:500]}"
            if self.devices
            else "there are none"
        )
        raise errdefs.InvalidParameter(
            f"CDI device injection failed: unresolvable CDI devices {wanted[:200]}: {have} "
            f"(specifications are looked for in {' and '.join(self._directories)})"
        )

    def requested(self, requests: Iterable[container.DeviceRequest]) -> list[Device]:
        """The devices of a HostConfig's DeviceRequests: CDI names, and GPUs by number or id
        (--gpus).

        Raises ``InvalidParameter`` for a device that is not there, ``System`` where no vendor has
        what is asked for.
        """
        return [
            device
            for request in requests
            for name in self._names(request)
            for device in self.need(name)
        ]

    def _names(self, request: container.DeviceRequest) -> list[str]:
        if request.driver == "cdi":
            return request.device_ids or []
        kinds = [_GPUS[request.driver]] if request.driver in _GPUS else list(_GPUS.values())
        asked = [wanted for wanted in request.capabilities or [] if "gpu" in wanted]
        for kind in kinds if asked and request.driver in ("", *_GPUS) else ():
            names = [
                one.name.partition("=")[2] for one in self.devices.values() if one.kind == kind
            ]
            if names:
                return [f"{kind}={one}" for one in _chosen(request, kind, names)]
        shown = " ".join(f"[{' '.join(wanted)}]" for wanted in request.capabilities or [])
        raise errdefs.System(
            f'could not select device driver "{request.driver[:40]}" with capabilities: '
            f"[{shown[:200]}]: no CDI specification in {' or '.join(self._directories)} has such "
            "devices (`nvidia-ctk cdi generate` writes NVIDIA's)"
        )


def _chosen(request: container.DeviceRequest, kind: str, names: list[str]) -> list[str]:
    """Which of a vendor's GPUs are meant: those of the request, or as many as it counts."""
    chosen = request.device_ids or (
        ["all"] if request.count < 0 and "all" in names
        else sorted((one for one in names if one.isdigit()), key=int)
    )  # fmt: skip
    if request.count > len(chosen):
        raise errdefs.InvalidParameter(
            f"--gpus: {request.count} were asked for, and {kind} has {len(chosen)}"
        )
    return chosen[: request.count] if request.count > 0 else chosen


def apply(document: dict[str, Any], devices: Iterable[Device]) -> None:
    """Edit a runtime-spec for some devices. Raises ``InvalidParameter`` for a node that the host
    does not have."""
    seen: list[Edits] = []
    for device in devices:
        for edits in device.edits:
            if not any(edits is one for one in seen):
                seen.append(edits)
                _edit(document, edits, device)


def _edit(document: dict[str, Any], edits: Edits, device: Device) -> None:
    process = document["process"]
    process.setdefault("env", []).extend(edits.env)
    groups = process["user"].setdefault("additionalGids", [])
    groups += [gid for gid in edits.additional_gids if gid and gid not in groups]
    linux = document.setdefault("linux", {})
    for node in edits.device_nodes:
        made, rule = _node(node, device)
        others = [one for one in linux.get("devices", []) if one["path"] != made["path"]]
        linux["devices"] = [*others, made]
        linux.setdefault("resources", {}).setdefault("devices", []).append(rule)
    for mount in edits.mounts:
        document["mounts"].append({
            "destination": mount.container_path, "source": mount.host_path,
            "type": mount.type or "bind", "options": mount.options or ["rbind", "ro"],
        })  # fmt: skip
    for hook in edits.hooks:
        if hook.hook_name not in _HOOKS:
            raise errdefs.InvalidParameter(
                f"{device.source}: there is no hook {hook.hook_name!r} of a container"
            )
        entry: dict[str, Any] = {
            "path": hook.path, "args": hook.args or [hook.path], "env": hook.env,
        }  # fmt: skip
        if hook.timeout:
            entry["timeout"] = hook.timeout
        document.setdefault("hooks", {}).setdefault(hook.hook_name, []).append(entry)


def _node(node: Node, device: Device) -> tuple[dict[str, Any], dict[str, Any]]:
    """A device node and its rule of the devices cgroup."""
    path = node.host_path or node.path
    kind, major, minor, mode, uid, gid = (
        node.type, node.major, node.minor, node.file_mode, node.uid, node.gid
    )  # fmt: skip
    if not kind or not (major or minor):
        try:
            status = os.stat(path)
        except OSError as error:
            raise errdefs.InvalidParameter(
                f"the device {device.name} needs {path}, which this host does not have: "
                f"{error.strerror} (see {device.source})"
            ) from error
        if not stat.S_ISCHR(status.st_mode) and not stat.S_ISBLK(status.st_mode):
            raise errdefs.InvalidParameter(
                f"the device {device.name} needs {path}, which is no device node "
                f"(see {device.source})"
            )
        kind = kind or ("c" if stat.S_ISCHR(status.st_mode) else "b")
        major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        mode = mode or stat.S_IMODE(status.st_mode)
        uid = status.st_uid if uid is None else uid
        gid = status.st_gid if gid is None else gid
    made = {
        "path": node.path, "type": kind, "major": major, "minor": minor,
        "fileMode": mode or 0o666, "uid": uid or 0, "gid": gid or 0,
    }  # fmt: skip
    rule = {
        "allow": True, "type": kind, "major": major, "minor": minor,
        "access": node.permissions or "rwm",
    }  # fmt: skip
    return made, rule
