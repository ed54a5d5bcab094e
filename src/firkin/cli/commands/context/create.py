"""``context create``: give an engine a name."""

from __future__ import annotations

from firkin.cli import contextstore, errors, flags
from firkin.cli.commands.context import docker_endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTEXT",
    "Create a context",
    (
        flags.string("description", "", "What the context is"),
        docker_endpoint.FLAG,
        flags.string("from", "", "Begin with a copy of this context"),
    ),
    flags.exactly(1),
    note=docker_endpoint.NOTE,
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Write the context; without ``--docker`` it is a copy of the one in use or of ``--from``."""
    name, source, given = args[0], values.text("from"), values.get("docker")
    contextstore.check_name(name)
    if cli.contexts.exists(name):
        raise errors.CliError(f'context "{name}" already exists')
    if source and given:
        raise errors.CliError("cannot use --docker flag when --from is set")
    description = values.text("description")
    if given:
        host, skip, files = docker_endpoint.read(cli, given)
    else:
        source = source or cli.context_name()
        host, skip, files = docker_endpoint.copy(cli, source)
        if not description and source == contextstore.DEFAULT:
            description = contextstore.DEFAULT_DESCRIPTION
        elif not description:
            description = contextstore.description(cli.contexts.load(source))
    cli.contexts.save_tls(name, files)
    cli.contexts.save(contextstore.new(name, description, host, skip))
    cli.print(name)
    cli.warn(f'Successfully created context "{name}"')
    return 0
