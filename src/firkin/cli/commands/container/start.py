"""``firkin start``."""

from __future__ import annotations

import sys

from firkin.cli import errors, flags, streaming
from firkin.client import api, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Start stopped containers",
    (
        flags.boolean("attach", "a", "Attach STDOUT and STDERR, and hand signals on"),
        flags.string("checkpoint", "", "Go on from this checkpoint"),
        flags.string("checkpoint-dir", "", "Directory of the checkpoints"),
        flags.string("detach-keys", "", "Keys that detach from the container"),
        flags.boolean("interactive", "i", "Attach the container's STDIN"),
        flags.boolean("sig-proxy", "", "Hand received signals on to the process", True,
                      hidden=True),
    ),
    flags.at_least(1),
)  # fmt: skip


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    if values.text("checkpoint") and cli.client.ping().get("docker-experimental") != "true":
        raise errors.CliError(
            '"--checkpoint" is only supported on a Docker daemon with experimental features enabled'
        )
    if values.flag("attach") or values.flag("interactive"):
        return _attached(cli, values, args)
    failed: list[str] = []
    for name in args:
        try:
            containers.start(
                cli.client,
                name,
                checkpoint=values.text("checkpoint"),
                checkpoint_dir=values.text("checkpoint-dir"),
            )
        except api.APIError as error:
            cli.warn(f"Error response from daemon: {error}")
            failed.append(name)
            continue
        sys.stdout.write(name + "\n")
        sys.stdout.flush()
    if failed:
        raise errors.CliError(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _attached(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    if len(args) > 1:
        raise errors.CliError("you cannot start and attach multiple containers at once")
    client = cli.client
    keys = streaming.detach_keys(cli, values.text("detach-keys"))
    found = containers.inspect(client, args[0])
    identity, config = found["Id"], found["Config"]
    tty = bool(config.get("Tty"))
    stdin = values.flag("interactive") and bool(config.get("OpenStdin"))
    streaming.check_terminal(stdin=stdin, tty=tty)
    stop_signals = None
    if values.flag("sig-proxy") and not tty:
        stop_signals = streaming.proxy_signals(cli.connect(), identity)
    stream = containers.attach(
        client, identity, stdin=stdin, stdout=True, stderr=True, detach_keys=keys
    )
    removed = bool((found.get("HostConfig") or {}).get("AutoRemove"))
    waiting = containers.wait_begin(client, identity, "removed" if removed else "next-exit")
    side = cli.connect()
    containers.start(
        side,
        identity,
        checkpoint=values.text("checkpoint"),
        checkpoint_dir=values.text("checkpoint-dir"),
    )
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
        return 0
    status, error = containers.wait_end(client, waiting)
    if error:
        raise errors.CliError(error)
    return status
