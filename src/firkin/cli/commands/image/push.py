"""``image push``: an image, or all of a repository's, to its registry."""

from __future__ import annotations

import sys

from firkin.cli import common, credentials, errors, flags, progress
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] NAME[:TAG]",
    "Upload an image to a registry",
    (
        flags.boolean("all-tags", "a", "Push all tags of the repository"),
        flags.boolean("disable-content-trust", "", "Accepted for old scripts", hidden=True),
        flags.string("platform", "", "Push this platform, as os[/arch[/variant]]"),
        flags.boolean("quiet", "q", "Only print the image's name"),
    ),
    flags.exactly(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Push and show how it goes."""
    everything, quiet = values.flag("all-tags"), values.flag("quiet")
    from firkin import reference  # which takes long to import

    parsed = reference.parse(args[0])
    if parsed.digest:
        raise errors.CliError("cannot push a digest reference")
    if everything and parsed.tag:
        raise errors.CliError("tag can't be used with --all-tags/-a")
    if not everything and not parsed.tag:
        parsed = parsed.tagged()
        if not quiet:
            cli.print(f"Using default tag: {parsed.tag}")
    response = images.push(
        cli.client,
        parsed.familiar_name,
        parsed.tag,
        platform=common.platform(values.text("platform")),
        headers=credentials.headers(cli, str(parsed)) or {"X-Registry-Auth": "e30="},
    )
    if quiet:
        for message in response.json_values():
            if detail := message.get("errorDetail"):
                raise errors.CliError(str(detail.get("message") or message.get("error")))
        cli.print(str(parsed))
    else:
        progress.show(response.json_values(), sys.stdout)
    cli.client.release(response)
    return 0
