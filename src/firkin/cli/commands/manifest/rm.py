"""``manifest rm``: drop local manifest lists."""

from __future__ import annotations

from firkin.cli import errors, flags, manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "MANIFEST_LIST [MANIFEST_LIST...]",
    "Delete local manifest lists",
    (),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Go on after one that isn't there."""
    failures: list[str] = []
    for text in args:
        try:
            manifests.remove(cli, manifests.normal(text))
        except errors.CliError as error:
            failures.append(str(error))
    if failures:
        raise errors.CliError("\n".join(failures))
    return 0
