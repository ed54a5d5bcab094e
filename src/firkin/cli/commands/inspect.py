"""``firkin inspect``: any kind of object, the first that has the name."""

from __future__ import annotations

import sys

from firkin.cli import errors, flags, inspector
from firkin.client import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] NAME|ID [NAME|ID...]",
    "Show all that is known of any objects",
    (
        flags.string("format", "f", "'json', or a Go template to show the object with"),
        flags.boolean("size", "s", "Show total file sizes too, for containers"),
        flags.string("type", "", "Only objects of this type"),
    ),
    flags.at_least(1),
)

PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
    "service": "/services/{}",
    "task": "/tasks/{}",
    "node": "/nodes/{}",
    "plugin": "/plugins/{}/json",
    "secret": "/secrets/{}",
    "config": "/configs/{}",
}
"""Where each kind of object is found, in the order in which they are tried."""

ABSENT = (404, 501, 503)
"""No such object; no such kind of object in this engine; not part of a swarm."""


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    kind = values.text("type")
    if values.changed("type") and kind not in PATHS:
        known = ", ".join(flags.quoted(name) for name in sorted(PATHS))
        wrong = f"unknown type: {flags.quoted(kind)}" if kind else "type is empty"
        raise errors.CliError(f"{wrong}: must be one of {known}")
    size = values.flag("size") or None
    return inspector.inspect(
        args, values.text("format"), lambda name: _find(cli.client, name, kind, size)
    )


def _find(client: api.Client, name: str, kind: str, size: bool | None) -> tuple[str, bytes]:
    for candidate in [kind] if kind else PATHS:
        path = PATHS[candidate].format(api.quote(name, "/:" if candidate == "image" else ""))
        query = {"size": size} if candidate == "container" else None
        try:
            response = client.request("GET", path, query)
        except api.APIError as error:
            if kind:
                raise
            if error.status in ABSENT or "swarm" in error.message:
                continue
            raise
        if size and candidate != "container":
            sys.stderr.write(f"WARNING: --size ignored for {candidate}\n")
        try:
            return candidate, response.read()
        finally:
            client.release(response)
    raise errors.CliError(f"Error: No such object: {name}")
