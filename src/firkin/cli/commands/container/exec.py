"""``firkin exec``."""

from __future__ import annotations

from firkin.cli import errors, flags, streaming, terminal
from firkin.cli.opts import environment
from firkin.client import exec as instances

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    "Run a command in a running container",
    (
        flags.boolean("detach", "d", "Leave the command to itself"),
        flags.string("detach-keys", "", "Keys that detach from the command"),
        flags.strings("env", "e", "Set environment variables", environment.variable),
        flags.strings("env-file", "", "Read environment variables from a file"),
        flags.boolean("interactive", "i", "Keep STDIN open even if not attached"),
        flags.boolean("privileged", "", "Lift the isolation for this command"),
        flags.boolean("tty", "t", "Give the command a terminal"),
        flags.string("user", "u", 'User to run as ("<name|uid>[:<group|gid>]")'),
        flags.string("workdir", "w", "Directory to start in"),
    ),
    flags.at_least(2),
    interspersed=False,
)


def body(values: flags.Values, command: list[str], keys: str) -> dict[str, Any]:
    """The body that creates the exec instance."""
    attached = not values.flag("detach")
    try:
        variables = environment.variables(values.items("env-file"), values.items("env"))
    except ValueError as error:
        raise errors.CliError(str(error)) from None
    built: dict[str, Any] = {
        "User": values.text("user"),
        "Privileged": values.flag("privileged"),
        "Tty": values.flag("tty"),
        "AttachStdin": attached and values.flag("interactive"),
        "AttachStdout": attached,
        "AttachStderr": attached,
        "DetachKeys": keys,
        "Env": variables or None,
        "WorkingDir": values.text("workdir"),
        "Cmd": command,
    }
    size = terminal.size() if attached and built["Tty"] else None
    if size:
        built["ConsoleSize"] = list(size)
    return built


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    client = cli.client
    keys = streaming.detach_keys(cli, values.text("detach-keys"))
    request = body(values, args[1:], keys)
    stdin, tty = request["AttachStdin"], request["Tty"]
    streaming.check_terminal(stdin=stdin, tty=tty)
    instance = instances.create(client, args[0], request)
    if values.flag("detach"):
        instances.start_detached(client, instance, tty=tty)
        return 0
    size = terminal.size() if tty else None
    stream = instances.start(client, instance, tty=tty, size=size)
    stop_size = None
    if tty:
        side = cli.connect()
        stop_size = streaming.follow_size(lambda h, w: instances.resize(side, instance, h, w))
    session = streaming.Session(stream, stdin=stdin, tty=tty, keys=keys)
    try:
        session.run()
    finally:
        if stop_size:
            stop_size()
    if session.detached:
        raise errors.CliError("read escape sequence")
    return int(instances.inspect(client, instance).get("ExitCode") or 0)
