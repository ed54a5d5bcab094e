"""``volume prune``: remove volumes that no container uses."""

from __future__ import annotations

from firkin.cli import common, errors, flags, units
from firkin.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Remove unused volumes",
    (
        flags.boolean("all", "a", "Remove named volumes too"),
        common.filter_flag(),
        flags.boolean("force", "f", "Don't ask"),
    ),
    flags.none(),
)

ANONYMOUS = "WARNING! This will remove anonymous local volumes not used by at least one container."
ALL = "WARNING! This will remove all local volumes not used by at least one container."


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Ask first, unless told not to."""
    filters = common.prune_filters(cli, values.items("filter"))
    if values.flag("all"):
        if "all" in filters:
            raise errors.CliError(
                "conflicting options: cannot specify both --all and --filter all=1"
            )
        filters["all"] = ["true"]
    question = f"{ALL if values.flag('all') else ANONYMOUS}\nAre you sure you want to continue?"
    if not values.flag("force") and not common.confirm(question):
        return 0
    report = volumes.prune(cli.client, filters)
    if names := report.get("VolumesDeleted"):
        cli.print("\n".join(["Deleted Volumes:", *names]) + "\n")
    cli.print(f"Total reclaimed space: {units.human_size(report.get('SpaceReclaimed') or 0)}")
    return 0
