"""Texts that have methods in the official client's templates: modes of namespaces, ports.

``{{.HostConfig.NetworkMode.IsHost}}``, and the keys of ``.Config.ExposedPorts`` have ``.Int``.
Everywhere else they are the texts that they are.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Methods = Mapping[str, Callable[[str], object]]

_CONTAINER = "container:"


class Named(str):
    """A text of one of the types here."""

    __slots__ = ()
    methods: Methods = {}

    def field(self, name: str) -> object:
        """What a method returns; KeyError if there is none of that name."""
        return self.methods[name](str(self))


def _is(*texts: str) -> Callable[[str], object]:
    return lambda mode: mode in texts


def _of_container(mode: str) -> bool:
    return mode.startswith(_CONTAINER)


def _container(mode: str) -> str:
    return mode[len(_CONTAINER) :] if _of_container(mode) else ""


def _user_defined(mode: str) -> bool:
    return mode not in ("default", "bridge", "host", "none") and not _of_container(mode)


def _network_name(mode: str) -> str:
    return "container" if _of_container(mode) else mode


class NetworkMode(Named):
    """How a container is connected."""

    __slots__ = ()
    methods = {
        "IsNone": _is("none"), "IsDefault": _is("default"), "IsHost": _is("host"),
        "IsBridge": _is("bridge"), "IsContainer": _of_container, "ConnectedContainer": _container,
        "IsPrivate": lambda mode: mode != "host" and not _of_container(mode),
        "IsUserDefined": _user_defined, "NetworkName": _network_name,
        "UserDefined": lambda mode: mode if _user_defined(mode) else "",
    }  # fmt: skip


class IpcMode(Named):
    """Whose shared memory a container has."""

    __slots__ = ()
    methods = {
        "IsPrivate": _is("private"), "IsHost": _is("host"), "IsShareable": _is("shareable"),
        "IsNone": _is("none"), "IsEmpty": _is(""), "IsContainer": _of_container,
        "Container": _container,
    }  # fmt: skip


class PidMode(Named):
    """Whose processes a container sees."""

    __slots__ = ()
    methods = {
        "IsHost": _is("host"), "IsContainer": _of_container, "Container": _container,
        "IsPrivate": lambda mode: mode != "host" and not _of_container(mode),
    }  # fmt: skip


class HostMode(Named):
    """The host's namespace, or one of its own."""

    __slots__ = ()
    methods = {"IsHost": _is("host"), "IsPrivate": lambda mode: mode != "host"}


class CgroupnsMode(Named):
    """Whose control groups a container sees."""

    __slots__ = ()
    methods = {"IsHost": _is("host"), "IsPrivate": _is("private"), "IsEmpty": _is("")}


class Isolation(Named):
    """Windows' kinds of container."""

    __slots__ = ()
    methods = {
        "IsDefault": lambda mode: mode.lower() in ("", "default"),
        "IsHyperV": lambda mode: mode.lower() == "hyperv",
        "IsProcess": lambda mode: mode.lower() == "process",
    }  # fmt: skip


def _number(port: str) -> int:
    digits = port.partition("/")[0].partition("-")[0]
    return int(digits) if digits.isascii() and digits.isdigit() else 0


class Port(Named):
    """A container's port and its protocol, ``80/tcp``."""

    __slots__ = ()
    methods = {
        "Port": lambda port: port.partition("/")[0],
        "Proto": lambda port: port.partition("/")[2] or "tcp",
        "Int": _number,
    }  # fmt: skip


KINDS: dict[str, type[Named]] = {
    "netmode": NetworkMode, "ipcmode": IpcMode, "pidmode": PidMode, "hostmode": HostMode,
    "cgroupnsmode": CgroupnsMode, "isolation": Isolation,
}  # fmt: skip
"""Their names in ``shapes.SCHEMA``; ports are keys of its ``ports[T]``."""


class Platform(Named):
    """What an image was built for: a text to read, an object in JSON."""

    __slots__ = ("parts",)
    parts: Mapping[str, object]

    def __new__(cls, parts: Mapping[str, object]) -> Platform:
        words = (parts.get(key) for key in ("os", "architecture", "variant"))
        made = super().__new__(cls, "/".join(str(word) for word in words if word))
        made.parts = parts
        return made

    def as_json(self) -> object:
        """The object, as the image-spec has it."""
        return {key: self.parts[key] for key in _OF_PLATFORMS.values() if self.parts.get(key)}

    def field(self, name: str) -> object:
        return self.parts.get(_OF_PLATFORMS[name]) or ""


_OF_PLATFORMS = {
    "Architecture": "architecture", "OS": "os", "OSVersion": "os.version",
    "OSFeatures": "os.features", "Variant": "variant",
}  # fmt: skip
