"""Networks of a new container: ``--network`` and what belongs to it, DNS and host names.

``--network`` takes a name, or ``name=...`` with settings for that one network. The separate flags
(``--ip``, ``--network-alias``, ...) belong to the first network.
"""

from __future__ import annotations

from firkin.cli import flags
from firkin.cli.opts import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREDEFINED = frozenset(("", "default", "bridge", "host", "none", "nat"))
SEPARATE = {
    "network-alias": "alias",
    "ip": "ip",
    "ip6": "ip6",
    "link-local-ip": "link-local-ip",
    "mac-address": "mac-address",
}
"""Which flag says the same as which key of ``--network``."""


def network(value: str) -> dict[str, Any]:
    """One ``--network`` as a dict of its keys."""
    if "=" not in value:
        return {"name": value}
    found: dict[str, Any] = {"name": ""}
    for field in text.fields(value):
        key, equals, setting = (part.strip() for part in field.partition("="))
        key = key.lower()
        if not equals:
            raise ValueError(f"invalid field {field}")
        match key:
            case "name" | "ip" | "ip6":
                found[key] = setting
            case "mac-address":
                found[key] = mac(setting)
            case "alias" | "link-local-ip":
                found.setdefault(key, []).append(setting)
            case "gw-priority":
                found[key] = flags.parse_integer(setting)
            case "driver-opt":
                name, option_equals, option = setting.partition("=")
                if not option_equals or not name:
                    raise ValueError(f"driver-opt {setting!r} is not a key=value pair")
                found.setdefault(key, {})[name.strip().lower()] = option.strip()
            case _:
                raise ValueError(f"invalid field key {key}")
    if not found["name"]:
        raise ValueError("network name/id is not specified")
    return found


def mode_and_endpoints(
    given: list[dict[str, Any]], separate: dict[str, Any], links: list[str]
) -> tuple[str, dict[str, Any]]:
    """The NetworkMode and the EndpointsConfig.

    ``separate`` has the values of the flags in ``SEPARATE``, by flag name, empty when not given.
    """
    networks = [dict(item) for item in given] or [{"name": "default"}]
    first = networks[0]
    names = [item["name"] for item in networks]
    if not all(names):
        raise ValueError("no name set for network")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'network "{name}" is specified multiple times')
    own = [_user_defined(name) for name in names]
    if any(own) and not all(own):
        raise ValueError(
            "conflicting options: cannot attach both user-defined and non-user-defined "
            "network-modes"
        )
    for flag, key in SEPARATE.items():
        if separate[flag]:
            if first.get(key):
                raise ValueError(
                    f"conflicting options: cannot specify both --{flag} and per-network {key}"
                )
            first[key] = separate[flag]
    if separate["mac-address"]:
        mac(separate["mac-address"])
    for item in networks:
        if item.get("alias") and not _user_defined(item["name"]):
            raise ValueError("network-scoped aliases are only supported for user-defined networks")
    endpoints: dict[str, Any] = {}
    for position, item in enumerate(networks):
        own_links = links if position == 0 and _user_defined(item["name"]) else []
        endpoint = _endpoint(item, own_links)
        if len(given) == 1 and endpoint == _endpoint({}, []):
            continue
        endpoints[item["name"]] = endpoint
    return first["name"], endpoints


def _user_defined(name: str) -> bool:
    return name not in PREDEFINED and not name.startswith("container:")


def _endpoint(item: dict[str, Any], links: list[str]) -> dict[str, Any]:
    ipam = {
        name: item[key]
        for name, key in (
            ("IPv4Address", "ip"),
            ("IPv6Address", "ip6"),
            ("LinkLocalIPs", "link-local-ip"),
        )
        if item.get(key)
    }
    return {
        "IPAMConfig": ipam or None,
        "Links": links or None,
        "Aliases": item.get("alias") or None,
        "MacAddress": item.get("mac-address", ""),
        "DriverOpts": item.get("driver-opt"),
        "GwPriority": item.get("gw-priority", 0),
        "NetworkID": "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }


def mac(value: str) -> str:
    """A hardware address of 6, 8 or 20 bytes."""
    for separator, digits in ((":", 2), ("-", 2), (".", 4)):
        groups = value.split(separator)
        if len(groups) * digits in (12, 16, 40) and all(
            len(group) == digits and _is_hex(group) for group in groups
        ):
            return value
    raise ValueError(f"{value} is not a valid mac address")


def _is_hex(group: str) -> bool:
    return not set(group) - set("0123456789abcdefABCDEF")


def dns_server(value: str) -> str:
    if not text.is_ip(value.strip()):
        raise ValueError(f"IP address is not correctly formatted: {value}")
    return value.strip()


def dns_search(value: str) -> str:
    """A domain to look names up in; ``.`` alone means none."""
    domain = value.strip()
    labels = domain.strip(".").split(".")
    allowed = all(
        label and all(c.isalnum() or c in "-_" for c in label) and len(label) < 64
        for label in labels
    )
    if domain == "." or (allowed and len(domain) < 256):
        return domain
    raise ValueError(f"{value} is not a valid domain")


def extra_host(value: str) -> str:
    """``name:address`` or ``name=address``; the address may be ``host-gateway``."""
    name, equals, address = value.partition("=")
    if not equals or ":" in name:
        name, equals, address = value.partition(":")
    if not equals or not name:
        raise ValueError(f"bad format for add-host: {flags.quoted(value)} (want name:address)")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != "host-gateway" and not text.is_ip(address):
        raise ValueError(f"invalid IP address in add-host: {flags.quoted(address)}")
    return f"{name}:{address}"


def link(value: str) -> str:
    """``container[:alias]``."""
    if not value:
        raise ValueError("empty string specified for links")
    if value.count(":") > 1:
        raise ValueError(f"bad format for links: {value} (want container[:alias])")
    return value
