"""``firkin port``."""

from __future__ import annotations

from firkin.cli import errors, flags
from firkin.client import containers, networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List where a container's ports are published",
    (flags.boolean("reachable", "", "Show every address of the host that reaches the port"),),
    flags.between(1, 2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    found = containers.inspect(cli.client, args[0])
    if values.flag("reachable"):
        return _reachable(cli, str(found["Id"]), args)
    ports: dict[str, Any] = (found.get("NetworkSettings") or {}).get("Ports") or {}
    if len(args) == 2:
        number, slash, protocol = args[1].partition("/")
        start = (
            f"Error: invalid port ({number}): strconv.ParseUint: parsing {flags.quoted(number)}: "
        )
        if not (number.isascii() and number.isdigit()):
            raise errors.CliError(start + "invalid syntax (want a number and /tcp or /udp)")
        if int(number[:20]) > 65535:
            raise errors.CliError(start + "value out of range")
        wanted = f"{number}/{protocol if slash else 'tcp'}"
        bindings = ports.get(wanted)
        if not bindings:
            raise errors.CliError(f"Error: No public port '{args[1]}' published for {args[0]}")
        lines = [_address(binding) for binding in bindings]
    else:
        lines = [
            f"{port} -> {_address(binding)}"
            for port in sorted(ports, key=_order)
            for binding in ports[port] or ()
        ]
    for line in lines:
        cli.print(line)
    return 0


def _reachable(cli: context.Cli, container_id: str, args: list[str]) -> int:
    wanted = f"{args[1]}/tcp" if len(args) == 2 and "/" not in args[1] else "".join(args[1:])
    for way in networks.exposure(cli.client, container_id):
        port = f"{way['ContainerPort']}/{way['Protocol']}"
        if wanted in ("", port):
            cli.print(f"{port} -> {networks.reach(way)}")
    return 0


def _address(binding: dict[str, str]) -> str:
    host = binding.get("HostIp", "")
    return f"[{host}]:{binding['HostPort']}" if ":" in host else f"{host}:{binding['HostPort']}"


def _order(port: str) -> tuple[int, str]:
    number, _, protocol = port.partition("/")
    return int(number) if number.isdigit() else 0, protocol
