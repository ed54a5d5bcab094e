"""``firkin update``."""

from __future__ import annotations

from firkin.cli import errors, flags
from firkin.cli.commands.container import many
from firkin.cli.opts import environment, limits, policies, ports, text
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Change the limits, the restart policy, the labels or the ports of containers",
    (
        flags.integer("blkio-weight", "", "Relative weight of block I/O, 10 to 1000",
                      bits=16, signed=False, type_name="uint16"),
        flags.integer("cpu-period", "", "Period of the CPU quota in microseconds"),
        flags.integer("cpu-quota", "", "CPU time within one period in microseconds"),
        flags.integer("cpu-rt-period", "", "Real-time period of the CPU in microseconds"),
        flags.integer("cpu-rt-runtime", "", "Real-time runtime of the CPU in microseconds"),
        flags.integer("cpu-shares", "c", "Relative weight of CPU time"),
        flags.converted("cpus", "", "Number of CPUs", limits.nano_cpus, 0, "decimal"),
        flags.string("cpuset-cpus", "", "CPUs to run on (0-3, 0,1)"),
        flags.string("cpuset-mems", "", "Memory nodes to use (0-3, 0,1)"),
        flags.strings("label-add", "", "Set labels (name=value); Firkin's own",
                      environment.label),
        flags.strings("label-rm", "", "Take labels away, by name; Firkin's own"),
        flags.converted("memory", "m", "Memory limit", limits.size, 0, "bytes"),
        flags.converted("memory-reservation", "", "Soft limit of memory", limits.size, 0, "bytes"),
        flags.converted("memory-swap", "", "Limit of memory plus swap; -1 for no limit on swap",
                        limits.swap_size, 0, "bytes"),
        flags.integer("pids-limit", "", "Most processes at a time (-1 for no limit)"),
        flags.strings("publish-add", "", "Publish ports, as run -p does; Firkin's own"),
        flags.strings("publish-rm", "", "Take back published ports (80/tcp); Firkin's own"),
        flags.string("restart", "", "What to do when the container exits"),
    ),
    flags.at_least(1),
)  # fmt: skip


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    if not any(values.changed(flag.name) for flag in COMMAND.flags):
        raise errors.CliError("you must provide one or more flags when using this command")
    body = _body(values)

    def update(name: str) -> None:
        for warning in containers.update(cli.client, name, body):
            cli.warn(f"WARNING: {warning}")

    return many.each(args, update)


def _body(values: flags.Values) -> dict[str, Any]:
    body: dict[str, Any] = {
        "BlkioWeight": values.number("blkio-weight"),
        "CpuPeriod": values.number("cpu-period"),
        "CpuQuota": values.number("cpu-quota"),
        "CpuRealtimePeriod": values.number("cpu-rt-period"),
        "CpuRealtimeRuntime": values.number("cpu-rt-runtime"),
        "CpuShares": values.number("cpu-shares"),
        "NanoCpus": values.number("cpus"),
        "CpusetCpus": values.text("cpuset-cpus"),
        "CpusetMems": values.text("cpuset-mems"),
        "Memory": values.number("memory"),
        "MemoryReservation": values.number("memory-reservation"),
        "MemorySwap": values.number("memory-swap"),
        "PidsLimit": values.number("pids-limit") if values.changed("pids-limit") else None,
    }
    if values.text("restart"):
        try:
            body["RestartPolicy"] = policies.restart(values.text("restart"))
        except ValueError as error:
            raise errors.CliError(str(error)) from None
    if values.changed("label-add"):
        body["Labels"] = text.pairs(values.items("label-add"))
    if values.changed("label-rm"):
        body["RemoveLabels"] = values.items("label-rm")
    if values.changed("publish-add"):
        try:
            body["Publish"] = ports.publish(values.items("publish-add"))
        except ValueError as error:
            raise errors.CliError(str(error)) from None
    if values.changed("publish-rm"):
        body["Unpublish"] = values.items("publish-rm")
    return body
