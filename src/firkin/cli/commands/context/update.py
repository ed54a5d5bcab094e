"""``context update``: change what a context says."""

from __future__ import annotations

from firkin.cli import contextstore, flags
from firkin.cli.commands.context import docker_endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTEXT",
    "Update a context",
    (
        flags.string("description", "", "What the context is"),
        docker_endpoint.FLAG,
    ),
    flags.exactly(1),
    note=docker_endpoint.NOTE,
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Change the description, the endpoint, or both."""
    name = args[0]
    contextstore.check_name(name)
    meta = cli.contexts.load(name)
    if description := values.text("description"):
        meta["Metadata"] = {**(meta.get("Metadata") or {}), "Description": description}
    if given := values.get("docker"):
        host, skip, files = docker_endpoint.read(cli, given)
        changed = {contextstore.ENDPOINT: {"Host": host, "SkipTLSVerify": skip}}
        meta["Endpoints"] = {**(meta.get("Endpoints") or {}), **changed}
        cli.contexts.save_tls(name, files)
    cli.contexts.save(meta)
    cli.print(name)
    cli.warn(f'Successfully updated context "{name}"')
    return 0
