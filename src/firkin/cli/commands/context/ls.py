"""``context ls``."""

from __future__ import annotations

import os
import sys

from firkin.cli import common, context, contextstore, errors, flags, formatter, ordering

COMMAND = flags.Command(
    "[OPTIONS]",
    "List contexts",
    (
        flags.string("format", "", common.FORMAT_USAGE),
        flags.boolean("quiet", "q", "Only show names"),
    ),
    flags.none(),
)

TABLE = "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
COLUMNS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "DockerEndpoint": "DOCKER ENDPOINT",
    "Error": "ERROR",
}
_ERROR_LENGTH = 45


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """All contexts by name, and the current one even if it does not exist."""
    quiet = values.flag("quiet")
    fmt = values.text("format") or "table"
    if fmt == "table":
        fmt = "{{.Name}}" if quiet else TABLE
    current = cli.context_name()
    names = [*cli.contexts.names(), contextstore.DEFAULT]
    if current not in names:
        names.append(current)
    names.sort(key=ordering.natural)
    rows = [_row(cli, name, name == current) for name in names]
    formatter.render(rows, fmt, sys.stdout, columns=COLUMNS)
    variable = next((host for host in context.HOST_VARIABLES if os.environ.get(host)), "")
    if variable:
        cli.warn(
            f"Warning: {variable} environment variable overrides the active context. To use a "
            f"context, either set the global --context flag, or unset {variable} environment "
            "variable."
        )
    return 0


def _row(cli: context.Cli, name: str, current: bool) -> formatter.Row:
    description, host, problem = "", "", ""
    if name == contextstore.DEFAULT:
        description, host = contextstore.DEFAULT_DESCRIPTION, cli.default_address()
    else:
        try:
            meta = cli.contexts.load(name)
            description = contextstore.description(meta)
            host = str(contextstore.endpoint(meta).get("Host") or "")
        except errors.CliError as error:
            problem = str(error)
    return formatter.Row(
        {
            "Name": name,
            "Current": current,
            "Description": description,
            "DockerEndpoint": host,
            "Error": common.shorten(problem, _ERROR_LENGTH),
        },
        type_name="*formatter.clientContextContext",
    )
