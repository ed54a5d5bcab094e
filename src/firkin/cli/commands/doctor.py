"""``doctor``: what this host lacks before it can run containers. Asks no engine."""

from __future__ import annotations

import os
import sys

from firkin.cli import common, errors, flags, formatter, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from firkin.cli import context
    from firkin.doctor import findings

COMMAND = flags.Command(
    "[OPTIONS]",
    "Tell what this host lacks to run containers, and how to mend it",
    (
        flags.string("data-root", "", "Where the engine is to keep its files", "/var/lib/firkin"),
        flags.string("format", "", common.FORMAT_USAGE),
        flags.boolean("quiet", "q", "Only show what is not as it should be"),
    ),
    flags.none(),
    note="Exits with 1 when containers can't run. With sudo it can try more things.",
)  # fmt: skip

COLUMNS = {"Level": "STATE", "Subject": "SUBJECT", "What": "FINDING", "Remedy": "REMEDY"}

_MARKS = {
    "ok": ("ok  ", "32"),
    "warn": ("warn", "33"),
    "fail": ("FAIL", "31"),
}


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Findings as they are made; the remedy below each that has one."""
    if sys.platform != "linux":
        raise errors.CliError(
            "the doctor looks at the host that the engine is to run on: run it there, on Linux"
        )
    from firkin import doctor  # which takes long to import
    from firkin.doctor import findings, hosts

    host = hosts.Host()
    host.data_root = values.text("data-root")
    found = doctor.diagnose(host)
    if fmt := values.text("format"):
        said = list(found)
        if fmt == "table":
            fmt = "table {{.Level}}\t{{.Subject}}\t{{.What}}\t{{.Remedy}}"
        formatter.render(map(_row, said), fmt, sys.stdout, columns=COLUMNS)
    else:
        said = _print(found, values.flag("quiet"))
    return 1 if any(one.level is findings.Level.FAIL for one in said) else 0


def _row(one: findings.Finding) -> formatter.Row:
    return formatter.Row(
        {"Level": str(one.level), "Subject": one.subject, "What": one.what, "Remedy": one.remedy}
    )


def _print(found: Iterable[findings.Finding], quiet: bool) -> list[findings.Finding]:
    """Show each finding as it comes; colour only on a terminal and never with NO_COLOR."""
    colour = terminal.is_terminal(1) and not os.environ.get("NO_COLOR")
    said = []
    for one in found:
        said.append(one)
        if quiet and one.level == "ok":
            continue
        mark, code = _MARKS[one.level]
        if colour:
            mark = f"\x1b[{code}m{mark}\x1b[0m"
        print(f"{mark}  {one.subject}: {one.what}")
        if one.remedy:
            print(f"      {one.remedy}")
        sys.stdout.flush()
    return said
