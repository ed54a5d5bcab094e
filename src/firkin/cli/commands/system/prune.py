"""``system prune``: remove everything that nothing uses."""

from __future__ import annotations

from firkin.cli import common, errors, flags, units
from firkin.cli.commands.image import prune as image_prune
from firkin.client import api, images, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Remove everything that is not used",
    (
        flags.boolean("all", "a", "Remove all images without a container, not only untagged ones"),
        common.filter_flag(),
        flags.boolean("force", "f", "Don't ask"),
        flags.boolean("volumes", "", "Remove anonymous volumes too"),
    ),
    flags.none(),
)

_NOUNS = (
    ("containers", "ContainersDeleted", "Deleted Containers:"),
    ("networks", "NetworksDeleted", "Deleted Networks:"),
    ("volumes", "VolumesDeleted", "Deleted Volumes:"),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Containers first: they keep the rest in use."""
    given = values.items("filter")
    if values.flag("volumes") and any(item.startswith("until=") for item in given):
        raise errors.CliError('ERROR: The "until" filter is not supported with "--volumes"')
    if not values.flag("force") and not common.confirm(_question(values, given)):
        return 0
    reclaimed = 0
    filters = common.prune_filters(cli, given)
    for noun, key, title in _NOUNS:
        if noun == "volumes" and not values.flag("volumes"):
            continue
        report = system.prune(cli.client, noun, filters)
        reclaimed += report.get("SpaceReclaimed") or 0
        _show(cli, title, report.get(key))
    show_all = values.flag("all")
    dangling = {"dangling": ["false" if show_all else "true"]}
    report = images.prune(cli.client, {**filters, **dangling})
    reclaimed += report.get("SpaceReclaimed") or 0
    if text := image_prune.summary(report):
        cli.print(text)
    report = _prune_build_cache(cli, filters, show_all)
    reclaimed += report.get("SpaceReclaimed") or 0
    _show(cli, "Deleted build cache objects:", report.get("CachesDeleted"))
    cli.print(f"Total reclaimed space: {units.human_size(reclaimed)}")
    return 0


def _prune_build_cache(
    cli: context.Cli, filters: dict[str, list[str]], show_all: bool
) -> dict[str, Any]:
    """An engine without a builder has no cache to prune."""
    try:
        return system.prune(cli.client, "build", filters, all=show_all or None)
    except api.APIError as error:
        if error.status not in (404, 501):
            raise
        return {}


def _show(cli: context.Cli, title: str, names: list[str] | None) -> None:
    if names:
        cli.print("\n".join([title, *names]) + "\n")


def _question(values: flags.Values, given: list[str]) -> str:
    lines = [
        "WARNING! This will remove:",
        "  - all stopped containers",
        "  - all networks not used by at least one container",
    ]
    if values.flag("volumes"):
        lines.append("  - all anonymous volumes not used by at least one container")
    if values.flag("all"):
        lines.append("  - all images without at least one container associated to them")
        lines.append("  - all build cache")
    else:
        lines.append("  - all dangling images")
        lines.append("  - unused build cache")
    if given:
        lines += ["", "  Items to be pruned will be filtered with:"]
        lines += [f"  - {item}" for item in given]
    return "\n".join([*lines, "", "Are you sure you want to continue?"])
