"""``secret inspect``."""

from __future__ import annotations

from firkin.cli import common, flags, inspector
from firkin.client import jsontext, secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] SECRET [SECRET...]",
    "Show everything about secrets but their values",
    (
        flags.string("format", "f", common.INSPECT_USAGE),
        flags.boolean("pretty", "", "Print what there is to know in lines for people"),
    ),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Show every secret that is there, then say which ones are not."""

    def fetch(name: str) -> tuple[str, bytes]:
        return "secret", secrets.inspect_raw(cli.client, name)

    if values.flag("pretty"):
        return _pretty(cli, args)
    return inspector.inspect(args, values.text("format"), fetch)


def _pretty(cli: context.Cli, names: list[str]) -> int:
    for name in names:
        found = jsontext.loads(secrets.inspect_raw(cli.client, name))
        labels = found["Spec"].get("Labels") or {}
        cli.print(f"ID:              {found['ID']}")
        cli.print(f"Name:            {found['Spec']['Name']}")
        if labels:
            cli.print("Labels:")
            for key in sorted(labels):
                cli.print(f" - {key}={labels[key]}")
        cli.print(f"Created at:      {found['CreatedAt']}")
        cli.print(f"Updated at:      {found['UpdatedAt']}")
    return 0
