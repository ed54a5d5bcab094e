"""``network prune``: remove networks that no container uses."""

from __future__ import annotations

from firkin.cli import common, flags
from firkin.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Remove unused networks",
    (common.filter_flag(), flags.boolean("force", "f", "Don't ask")),
    flags.none(),
)

QUESTION = (
    "WARNING! This will remove all custom networks not used by at least one container.\n"
    "Are you sure you want to continue?"
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Ask first, unless told not to."""
    if not values.flag("force") and not common.confirm(QUESTION):
        return 0
    report = networks.prune(cli.client, common.prune_filters(cli, values.items("filter")))
    if names := report.get("NetworksDeleted"):
        cli.print("\n".join(["Deleted Networks:", *names]) + "\n")
    return 0
