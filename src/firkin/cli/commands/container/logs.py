"""``firkin logs``."""

from __future__ import annotations

from firkin.cli import errors, flags, streaming, units
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context
    from firkin.client import http

_MOMENT = 'a moment ("2013-01-02T13:23:37Z") or an age ("42m")'

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER",
    "Show what a container wrote",
    (
        flags.boolean("details", "", "Show the attributes given to the log"),
        flags.boolean("follow", "f", "Go on showing what is written"),
        flags.string("since", "", f"Only what was written after {_MOMENT}"),
        flags.string("tail", "n", "Only that many lines from the end", "all"),
        flags.boolean("timestamps", "t", "Show when each line was written"),
        flags.string("until", "", f"Only what was written before {_MOMENT}"),
    ),
    flags.exactly(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    response = containers.logs(
        cli.client,
        args[0],
        stdout=True,
        stderr=True,
        follow=values.flag("follow") or None,
        timestamps=values.flag("timestamps") or None,
        details=values.flag("details") or None,
        since=_moment(values, "since"),
        until=_moment(values, "until"),
        tail=values.text("tail"),
    )
    streaming.copy_output(response.chunks(), raw=_is_raw(cli, response, args[0]))
    return 0


def _moment(values: flags.Values, name: str) -> str | None:
    text = values.text(name)
    if not text:
        return None
    try:
        return units.parse_moment(text)
    except Exception as error:
        raise errors.CliError(f'invalid value for "{name}": {error}') from None


def _is_raw(cli: context.Cli, response: http.Response, name: str) -> bool:
    """Whether the logs come as they were written; engines before 1.42 do not say."""
    kind = response.headers.get("content-type", "")
    if "multiplexed-stream" in kind:
        return False
    if "raw-stream" in kind and cli.client.version_at_least(1, 42):
        return True
    found = containers.inspect(cli.client, name)
    return bool((found.get("Config") or {}).get("Tty"))
