"""Devices: ``--device`` (a path, or a CDI name), ``--device-cgroup-rule``, ``--gpus``."""

from __future__ import annotations

from firkin.cli import flags
from firkin.cli.opts import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def split(values: list[str]) -> tuple[list[dict[str, str]], list[str]]:
    """Every ``--device``: those with a path on the host, and the names of CDI devices."""
    cdi = [value for value in values if _is_cdi(value)]
    return [_device(value) for value in values if value not in cdi], cdi


def cgroup_rule(value: str) -> str:
    """``type major:minor access``, such as ``c 10:* rwm``."""
    parts = value.split(" ")
    if len(parts) == 3:
        kind, numbers, access = parts
        major, colon, minor = numbers.partition(":")
        good = kind in ("a", "b", "c") and colon and 0 < len(access) <= 3
        if good and not set(access) - set("rwm") and _number(major) and _number(minor):
            return value
    raise ValueError(f"invalid device cgroup format '{value}' (want for example 'c 10:* rwm')")


def gpus(value: str) -> dict[str, Any]:
    """One ``--gpus`` as the API's DeviceRequest."""
    request: dict[str, Any] = {
        "Driver": "",
        "Count": 0,
        "DeviceIDs": None,
        "Capabilities": [],
        "Options": {},
    }
    capabilities: list[str] = []
    seen: set[str] = set()
    for field in text.fields(value):
        key, equals, setting = field.partition("=")
        if not equals:
            key, setting = "count", field
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        match key:
            case "driver":
                request["Driver"] = setting
            case "count":
                request["Count"] = _count(setting)
            case "device":
                request["DeviceIDs"] = setting.split(",")
            case "capabilities":
                capabilities = setting.split(",")
            case "options":
                request["Options"] = text.pairs(text.fields(setting))
            case _:
                raise ValueError(f"unexpected key '{key}' in '{field}'")
    if "count" not in seen and request["DeviceIDs"] is None:
        request["Count"] = 1
    if "gpu" not in capabilities:
        capabilities.append("gpu")
    request["Capabilities"] = [capabilities]
    return request


def cdi_request(names: list[str]) -> dict[str, Any]:
    """The DeviceRequest for CDI devices."""
    return {
        "Driver": "cdi",
        "Count": 0,
        "DeviceIDs": names,
        "Capabilities": None,
        "Options": None,
    }


def _is_cdi(value: str) -> bool:
    kind, equals, name = value.partition("=")
    vendor, slash, device_class = kind.partition("/")
    return bool(equals and slash and vendor and device_class and name) and ":" not in vendor


def _device(value: str) -> dict[str, str]:
    parts = value.split(":")
    if not value or len(parts) > 3:
        raise ValueError(f"bad format for path: {value} (want host[:container][:rwm])")
    source = parts[0]
    target, access = source, "rwm"
    if len(parts) == 3:
        target, access = parts[1], parts[2]
    elif len(parts) == 2:
        if _is_access(parts[1]):
            access = parts[1]
        else:
            target = parts[1]
    if not _is_access(access):
        raise ValueError(f"bad mode specified: {access} (want some of the letters rwm)")
    for path in (source, target):
        if not path.startswith("/"):
            raise ValueError(f"{path} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}


def _is_access(word: str) -> bool:
    return bool(word) and not set(word) - set("rwm") and len(set(word)) == len(word)


def _number(word: str) -> bool:
    return word == "*" or (word.isascii() and word.isdigit())


def _count(word: str) -> int:
    if word == "all":
        return -1
    try:
        return flags.parse_integer(word)
    except ValueError:
        raise ValueError(f'invalid count ({word}): want "all" or a whole number') from None
