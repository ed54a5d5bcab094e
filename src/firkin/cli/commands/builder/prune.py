"""``builder prune``: remove build cache."""

from __future__ import annotations

from firkin.cli import common, flags, units
from firkin.cli.opts import limits
from firkin.client import build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "",
    "Remove build cache",
    (
        flags.boolean("all", "a", "Remove what images share too, not only what nothing needs"),
        common.filter_flag("", "Only what fits (e.g. until=24h)"),
        flags.boolean("force", "f", "Don't ask"),
        flags.converted("keep-storage", "", "Leave that much of what was used last", limits.size,
                        0, "bytes"),
        flags.converted("max-used-space", "", "Remove no more than leaves that much", limits.size,
                        0, "bytes"),
        flags.converted("min-free-space", "", "Remove no more than frees that much of the disk",
                        limits.size, 0, "bytes"),
        flags.converted("reserved-space", "", "Leave at least that much (new --keep-storage)",
                        limits.size, 0, "bytes"),
    ),
    flags.none(),
)  # fmt: skip

NORMAL = "WARNING! This will remove all dangling build cache."
ALL = "WARNING! This will remove all build cache."


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Ask first, unless told not to."""
    everything = values.flag("all")
    question = f"{ALL if everything else NORMAL} Are you sure you want to continue?"
    if not values.flag("force") and not common.confirm(question):
        return 0
    report = build.prune(
        cli.client,
        {
            "all": everything or None,
            **{
                name: values.number(name) or None
                for name in ("keep-storage", "max-used-space", "min-free-space", "reserved-space")
            },
            "filters": common.filters(values.items("filter")) or None,
        },
    )
    gone = report.get("CachesDeleted") or []
    if gone:
        cli.print("Deleted build cache objects:\n" + "\n".join(gone) + "\n")
    cli.print(f"Total reclaimed space: {units.human_size(report.get('SpaceReclaimed') or 0)}")
    return 0
