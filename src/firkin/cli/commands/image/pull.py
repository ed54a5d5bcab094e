"""``image pull``: an image, or all of a repository's, from a registry."""

from __future__ import annotations

import sys

from firkin.cli import common, credentials, errors, flags, progress
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    "Download an image from a registry",
    (
        flags.boolean("all-tags", "a", "Download all tags of the repository"),
        flags.boolean("disable-content-trust", "", "Accepted for old scripts", hidden=True),
        flags.boolean("dry-run", "", "Only tell what would be downloaded"),
        flags.string("platform", "", "Pull this platform, as os[/arch[/variant]]"),
        flags.boolean("quiet", "q", "Only print the image's name"),
    ),
    flags.exactly(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Without a tag it is the tag latest; that is said, because it is often forgotten."""
    everything = values.flag("all-tags")
    from firkin import reference  # which takes long to import

    parsed = reference.parse(args[0])
    if everything and (parsed.tag or parsed.digest):
        raise errors.CliError("tag can't be used with --all-tags/-a")
    if not everything and not parsed.tag and not parsed.digest:
        parsed = parsed.tagged()
        if not values.flag("quiet"):
            cli.print(f"Using default tag: {parsed.tag}")
    fetch(
        cli,
        str(parsed) if not everything else parsed.name,
        everything=everything,
        platform=values.text("platform"),
        dry_run=values.flag("dry-run"),
        quiet=values.flag("quiet"),
    )
    if not values.flag("dry-run"):
        cli.print(str(parsed))
    return 0


def fetch(
    cli: context.Cli,
    name: str,
    *,
    everything: bool = False,
    platform: str = "",
    dry_run: bool = False,
    quiet: bool = False,
    to_stderr: bool = False,
) -> None:
    """Pull ``name`` and show how it goes."""
    from firkin import reference  # which takes long to import

    parsed = reference.parse(name)
    tag = parsed.digest or parsed.tag
    if parsed.digest and parsed.tag:
        tag = f"{parsed.tag}@{parsed.digest}"
    response = images.pull(
        cli.client,
        parsed.familiar_name,
        "" if everything else tag,
        platform=common.platform(platform),
        dry_run=dry_run,
        headers=credentials.headers(cli, name),
    )
    messages: Iterator[dict[str, Any]] = response.json_values()
    if quiet:
        for message in messages:
            if detail := message.get("errorDetail"):
                raise errors.CliError(str(detail.get("message") or message.get("error")))
    else:
        progress.show(messages, sys.stderr if to_stderr else sys.stdout)
    cli.client.release(response)
