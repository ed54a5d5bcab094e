"""``network create``."""

from __future__ import annotations

import ipaddress

from firkin.cli import common, errors, flags
from firkin.cli.opts import environment
from firkin.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

COMMAND = flags.Command(
    "[OPTIONS] NETWORK",
    "Create a network",
    (
        flags.boolean("attachable", "", "Let containers be attached by hand"),
        flags.strings(
            "aux-address",
            "",
            "Address to leave free, as in name=ip",
            type_name="map",
            default_text="map[]",
        ),
        flags.string("config-from", "", "Network to copy the configuration from"),
        flags.boolean("config-only", "", "Make a configuration, not a network"),
        flags.string("driver", "d", "Network driver", "bridge"),
        flags.strings("gateway", "", "Gateway of the subnet", type_name="strings"),
        flags.boolean("ingress", "", "Make the swarm's routing mesh"),
        flags.boolean("internal", "", "No way out of the network"),
        flags.strings("ip-range", "", "Give addresses from this part only", type_name="strings"),
        flags.string("ipam-driver", "", "Driver that gives addresses", "default"),
        flags.strings(
            "ipam-opt",
            "",
            "Option of that driver, as in key=value",
            type_name="map",
            default_text="map[]",
        ),
        flags.boolean("ipv4", "", "Give IPv4 addresses", True),
        flags.boolean("ipv6", "", "Give IPv6 addresses"),
        flags.strings("label", "", "Label of the network", check=environment.label),
        flags.strings(
            "opt",
            "o",
            "Option of the driver, as in key=value",
            type_name="map",
            default_text="map[]",
        ),
        flags.string("scope", "", "Where the network is known"),
        flags.strings("subnet", "", "Subnet as address/bits", type_name="strings"),
    ),
    flags.exactly(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Print the network's ID."""
    made = networks.create(cli.client, body(args[0], values))
    if made.get("Warning"):
        cli.warn(f"WARNING: {made['Warning']}")
    cli.print(str(made["Id"]))
    return 0


def body(name: str, values: flags.Values) -> dict[str, Any]:
    """The API's NetworkCreateRequest for the flags."""
    request: dict[str, Any] = {
        "Name": name,
        "Driver": values.text("driver"),
        "Scope": values.text("scope"),
        "IPAM": {
            "Driver": values.text("ipam-driver"),
            "Options": common.pairs(values.items("ipam-opt")),
            "Config": pools(values),
        },
        "Internal": values.flag("internal"),
        "Attachable": values.flag("attachable"),
        "Ingress": values.flag("ingress"),
        "ConfigOnly": values.flag("config-only"),
        "Options": common.pairs(values.items("opt")),
        "Labels": common.pairs(values.items("label")),
    }
    for family in ("ipv4", "ipv6"):
        if values.changed(family):
            request[f"EnableIP{family[2:]}"] = values.flag(family)
    if values.text("config-from"):
        request["ConfigFrom"] = {"Network": values.text("config-from")}
    return request


def pools(values: flags.Values) -> list[dict[str, Any]]:
    """One address pool per subnet, with the range, gateway and addresses that lie in it."""
    found: list[tuple[Network, dict[str, Any]]] = []
    for text in common.comma_separated(values.items("subnet")):
        subnet = _network(text, "subnet")
        if any(subnet.version == other.version and subnet.overlaps(other) for other, _ in found):
            raise errors.CliError(
                f"multiple overlapping subnet configuration is not supported: {text}"
            )
        found.append((subnet, {"Subnet": text}))
    ranges = common.comma_separated(values.items("ip-range"))
    gateways = common.comma_separated(values.items("gateway"))
    if not found and (ranges or gateways):
        raise errors.CliError("every ip-range or gateway must have a corresponding subnet")
    for text in ranges:
        inner = _network(text, "ip-range")
        _put(_pool(found, inner[0], text, "ip-range"), "IPRange", text)
    for text in gateways:
        _put(_pool(found, _address(text, "gateway"), text, "gateway"), "Gateway", text)
    for text in values.items("aux-address"):
        name, _, address = text.partition("=")
        pool = _pool(found, _address(address, "aux-address"), text, "aux-address")
        pool.setdefault("AuxiliaryAddresses", {})[name] = address
    return [pool for _, pool in found]


def _put(pool: dict[str, Any], key: str, text: str) -> None:
    if key in pool:
        raise errors.CliError(f"subnet {pool['Subnet']} has two values for {key}: {text} is one")
    pool[key] = text


def _network(text: str, what: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise errors.CliError(f"invalid {what} {text!r}: {error}; expected address/bits") from None


def _address(text: str, what: str) -> Any:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise errors.CliError(f"invalid {what} {text!r}: {error}") from None


def _pool(
    found: list[tuple[Network, dict[str, Any]]], address: Any, text: str, what: str
) -> dict[str, Any]:
    for subnet, pool in found:
        if address in subnet:
            return pool
    raise errors.CliError(f"no matching subnet for {what} {text}")
