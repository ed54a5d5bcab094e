"""``image prune``: remove images that nothing uses."""

from __future__ import annotations

from firkin.cli import common, flags, units
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Remove unused images",
    (
        flags.boolean("all", "a", "Remove all images without a container, not only untagged ones"),
        common.filter_flag(),
        flags.boolean("force", "f", "Don't ask"),
    ),
    flags.none(),
)

DANGLING = "WARNING! This will remove all dangling images."
ALL = "WARNING! This will remove all images without at least one container associated to them."


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Ask first, unless told not to."""
    show_all = values.flag("all")
    question = f"{ALL if show_all else DANGLING}\nAre you sure you want to continue?"
    if not values.flag("force") and not common.confirm(question):
        return 0
    filters = common.prune_filters(cli, values.items("filter"))
    filters["dangling"] = ["false" if show_all else "true"]
    report = images.prune(cli.client, filters)
    if text := summary(report):
        cli.print(text)
    cli.print(f"Total reclaimed space: {units.human_size(report.get('SpaceReclaimed') or 0)}")
    return 0


def summary(report: dict[str, Any]) -> str:
    """The removed images of a prune report, "" if there are none."""
    lines = ["Deleted Images:"]
    for item in report.get("ImagesDeleted") or ():
        if item.get("Untagged"):
            lines.append(f"untagged: {item['Untagged']}")
        else:
            lines.append(f"deleted: {item.get('Deleted', '')}")
    return "\n".join(lines) + "\n" if len(lines) > 1 else ""
