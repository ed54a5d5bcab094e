"""``firkin attach``."""

from __future__ import annotations

from firkin.cli import errors, flags, streaming
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER",
    "Connect to the standard streams of a running container",
    (
        flags.string("detach-keys", "", "Keys that detach from the container"),
        flags.boolean("no-stdin", "", "Do not attach STDIN"),
        flags.boolean("sig-proxy", "", "Hand received signals on to the process", True),
    ),
    flags.exactly(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    client, name = cli.client, args[0]
    keys = streaming.detach_keys(cli, values.text("detach-keys"))
    found = containers.inspect(client, name)
    state, config = found["State"], found["Config"]
    if not state.get("Running"):
        raise errors.CliError("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise errors.CliError("You cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise errors.CliError(
            "You cannot attach to a restarting container, wait until it is running"
        )
    tty = bool(config.get("Tty"))
    stdin = bool(config.get("OpenStdin")) and not values.flag("no-stdin")
    streaming.check_terminal(stdin=stdin, tty=tty)
    identity = found["Id"]
    waiting = containers.wait_begin(client, identity)
    stream = containers.attach(
        client, identity, stdin=stdin, stdout=True, stderr=True, detach_keys=keys
    )
    stop_signals = None
    if values.flag("sig-proxy") and not tty:
        stop_signals = streaming.proxy_signals(cli.connect(), identity)
    side = cli.connect()
    stop_size = None
    if tty:
        stop_size = streaming.follow_size(lambda h, w: containers.resize(side, identity, h, w))
    session = streaming.Session(stream, stdin=stdin, tty=tty, keys=keys)
    try:
        session.run()
    finally:
        for stop in (stop_signals, stop_size):
            if stop:
                stop()
    if session.detached:
        raise errors.CliError("read escape sequence")
    status, error = containers.wait_end(client, waiting)
    if error:
        raise errors.CliError(error)
    return status
