"""``network connect``."""

from __future__ import annotations

from firkin.cli import common, errors, flags
from firkin.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] NETWORK CONTAINER",
    "Connect a container to a network",
    (
        flags.strings("alias", "", "Name of the container within the network", type_name="strings"),
        flags.strings(
            "driver-opt", "", "Option of the driver, as in key=value", type_name="strings"
        ),
        flags.integer("gw-priority", "", "The network with the highest has the default gateway"),
        flags.string("ip", "", "IPv4 address"),
        flags.string("ip6", "", "IPv6 address"),
        flags.strings("link", "", "Link to another container"),
        flags.strings("link-local-ip", "", "Link-local address", type_name="strings"),
    ),
    flags.exactly(2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Nothing is printed."""
    networks.connect(cli.client, args[0], args[1], endpoint(values))
    return 0


def endpoint(values: flags.Values) -> dict[str, Any]:
    """The API's EndpointSettings for the flags."""
    addresses: dict[str, Any] = {
        "IPv4Address": values.text("ip"),
        "IPv6Address": values.text("ip6"),
        "LinkLocalIPs": common.comma_separated(values.items("link-local-ip")),
    }
    options = common.comma_separated(values.items("driver-opt"))
    if not all("=" in option for option in options):
        raise errors.CliError("invalid key/value pair format in driver options")
    settings: dict[str, Any] = {
        "IPAMConfig": {key: value for key, value in addresses.items() if value},
        "Links": values.items("link"),
        "Aliases": common.comma_separated(values.items("alias")),
        "DriverOpts": common.pairs(options),
        "GwPriority": values.number("gw-priority"),
    }
    return {key: value for key, value in settings.items() if value}
