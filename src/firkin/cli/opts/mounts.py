"""Mounts: ``-v`` (short, positional), ``--mount`` (``key=value``) and ``--tmpfs``."""

from __future__ import annotations

import os

from firkin.cli import units
from firkin.cli.opts import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RECURSIVE = {
    "enabled": None,
    "disabled": "NonRecursive",
    "writable": "ReadOnlyNonRecursive",
    "readonly": "ReadOnlyForceRecursive",
}


def volumes(values: list[str]) -> tuple[list[str], list[str]]:
    """Every ``-v``: what is bound from somewhere, and the places of anonymous volumes."""
    binds: list[str] = []
    anonymous: list[str] = []
    for value in dict.fromkeys(values):
        parts = _split(value)
        if len(parts) == 1:
            anonymous.append(value)
            continue
        source, rest = parts[0], value[len(parts[0]) :]
        if source.startswith("."):
            source = os.path.abspath(source)
        binds.append(source + rest)
    return binds, anonymous


def _split(value: str) -> list[str]:
    """A ``-v`` at its colons, but for the one behind a Windows drive letter."""
    if not value:
        raise ValueError("invalid empty volume spec")
    if len(value) <= 2:
        return [value]
    parts: list[str] = []
    for part in value.split(":"):
        drive = parts and len(parts[-1]) == 1 and parts[-1].isalpha()
        if drive:
            parts[-1] += ":" + part
        else:
            parts.append(part)
    if len(parts) > 3:
        raise ValueError(f"invalid spec: {value}: too many colons")
    if not all(parts):
        raise ValueError(f"invalid spec: {value}: empty section between colons")
    return parts


def tmpfs(values: list[str]) -> dict[str, str]:
    """Every ``--tmpfs`` as path and options."""
    return {path: options for path, _, options in (value.partition(":") for value in values)}


def mount(value: str) -> dict[str, Any]:
    """One ``--mount`` as the API's Mount."""
    found: dict[str, Any] = {"Type": "volume"}
    bind: dict[str, Any] = {}
    volume: dict[str, Any] = {}
    driver: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    image: dict[str, Any] = {}
    read_only = False
    used: dict[str, bool] = {}
    for field in text.fields(value):
        key, equals, setting = field.partition("=")
        key = key.lower()
        if not equals:
            if key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "idmap"):
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            setting = "true" if key != "idmap" else "caller"
        prefix = key.partition("-")[0]
        if prefix in ("bind", "volume", "tmpfs", "image") and prefix != key:
            used[prefix] = True
        match key:
            case "type":
                found["Type"] = setting.lower()
            case "source" | "src":
                found["Source"] = _local(setting)
            case "target" | "dst" | "destination":
                found["Target"] = setting
            case "readonly" | "ro":
                read_only = text.truth(key, setting)
            case "consistency":
                found["Consistency"] = setting.lower()
            case "bind-propagation":
                bind["Propagation"] = setting.lower()
            case "bind-nonrecursive":
                _put(bind, "NonRecursive", text.truth(key, setting))
            case "bind-recursive":
                if setting not in RECURSIVE:
                    raise ValueError(
                        f"invalid value for bind-recursive: {setting} "
                        '(must be "enabled", "disabled", "writable" or "readonly")'
                    )
                if option := RECURSIVE[setting]:
                    bind[option] = True
            case "bind-idmap" | "idmap":
                bind["FirkinIdMap"] = setting or "caller"
            case "volume-subpath":
                volume["Subpath"] = setting
            case "volume-nocopy":
                _put(volume, "NoCopy", text.truth(key, setting))
            case "volume-label":
                volume.setdefault("Labels", {}).update(text.pairs([setting]))
            case "volume-driver":
                driver["Name"] = setting
            case "volume-opt":
                driver.setdefault("Options", {}).update(text.pairs([setting]))
            case "image-subpath":
                image["Subpath"] = setting
            case "tmpfs-size":
                memory["SizeBytes"] = _size(setting)
            case "tmpfs-mode":
                memory["Mode"] = _mode(setting)
            case _:
                raise ValueError(f"unexpected key '{key}' in '{field}'")
    _check(found, bind, read_only, used)
    if read_only:
        found["ReadOnly"] = True
    if not found.get("Source"):
        found.pop("Source", None)
    if bind:
        found["BindOptions"] = bind
    if "volume" in used:
        found["VolumeOptions"] = {**volume, "DriverConfig": driver}
    if memory:
        found["TmpfsOptions"] = memory
    if image:
        found["ImageOptions"] = image
    return found


def _check(
    found: dict[str, Any], bind: dict[str, Any], read_only: bool, used: dict[str, bool]
) -> None:
    if not found["Type"]:
        raise ValueError("type is required")
    if not found.get("Target"):
        raise ValueError("target is required")
    for kind in used:
        if found["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{found['Type']}'")
    for option, word in (
        ("ReadOnlyNonRecursive", "writable"),
        ("ReadOnlyForceRecursive", "readonly"),
    ):
        if bind.get(option) and not read_only:
            raise ValueError(
                f"option 'bind-recursive={word}' requires 'readonly' to be specified in conjunction"
            )
    if bind.get("ReadOnlyForceRecursive") and bind.get("Propagation") != "rprivate":
        raise ValueError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' "
            "to be specified in conjunction"
        )


def secret(value: str) -> dict[str, Any]:
    """One ``--secret``: ``NAME`` or ``source=NAME``, and where and whose the file is."""
    found: dict[str, Any] = {}
    for index, field in enumerate(text.fields(value)):
        key, equals, setting = field.partition("=")
        if not equals and not index:
            key, setting = "source", field
        match key.lower():
            case "source" | "src":
                found["Source"] = setting
            case "target" | "dst" | "destination":
                found["Target"] = setting
            case "uid" | "gid":
                found[key.upper()] = setting
            case "mode":
                try:
                    found["Mode"] = int(setting, 8)
                except ValueError:
                    raise ValueError(f"invalid mode specified: {setting}") from None
            case _:
                raise ValueError(f"invalid field in secret request: {field}")
    if not found.get("Source"):
        raise ValueError("source is required")
    return found


def _put(options: dict[str, Any], key: str, value: bool) -> None:
    if value:
        options[key] = True


def _local(source: str) -> str:
    if source in (".", "..") or source.startswith(("./", "../")):
        return os.path.abspath(source)
    return source


def _size(setting: str) -> int:
    try:
        return units.parse_size(setting)
    except Exception:
        raise ValueError(f"invalid value for tmpfs-size: {setting}") from None


def _mode(setting: str) -> int:
    if setting.isascii() and setting.isdigit():
        try:
            return int(setting, 8)
        except ValueError:
            pass
    raise ValueError(f"invalid value for tmpfs-mode: {setting} (want an octal number)")
