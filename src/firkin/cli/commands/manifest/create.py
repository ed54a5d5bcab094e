"""``manifest create``: begin a list of images of several platforms."""

from __future__ import annotations

from firkin.cli import errors, flags, manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "MANIFEST_LIST MANIFEST [MANIFEST...]",
    "Create a local manifest list to annotate and push to a registry",
    (
        flags.boolean("amend", "a", "Add to a list that exists"),
        flags.boolean("insecure", "", "Accepted: insecure-registries of the engine decides"),
    ),
    flags.at_least(2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """The manifests are looked up first: nothing is kept when one is not there."""
    name = manifests.normal(args[0])
    if manifests.exists(cli, name) and not values.flag("amend"):
        raise errors.CliError(
            f"refusing to amend an existing manifest list with no --amend flag: {name.familiar}"
        )
    wanted = [manifests.normal(one) for one in args[1:]]
    found = [(one, manifests.fetch(cli, one)) for one in wanted]
    for one, value in found:
        manifests.save(cli, name, one, value)
    cli.print(f"Created manifest list {name}")
    return 0
