"""``firkin run``: create, attach, start, copy the streams, and end with the container's status.

The order matters: the streams are attached and the wait begins before the container starts, so
neither its first line nor its exit can be missed.
"""

from __future__ import annotations

from firkin.cli import errors, flags, streaming
from firkin.cli.commands.container import create
from firkin.cli.opts import body, runflags
from firkin.client import api, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a container and run a command in it",
    (
        *runflags.FLAGS,
        flags.boolean("detach", "d", "Leave the container to itself and print its ID"),
        flags.string("detach-keys", "", "Keys that detach from the container"),
        flags.boolean("sig-proxy", "", "Hand received signals on to the process", True),
    ),
    flags.at_least(1),
    interspersed=False,
    engine_status=errors.FLAG_STATUS,
)

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_NOT_FOUND_WORDS = ("executable file not found", "no such file or directory", "file not found",
                    "system cannot find the file specified")  # fmt: skip
_NOT_EXECUTABLE_WORDS = ("permission denied", "not a directory", "is a directory",
                         "exec format error")  # fmt: skip


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    detached = values.flag("detach")
    if detached and values.items("attach"):
        raise errors.CliError("conflicting options: cannot specify both --attach and --detach")
    keys = streaming.detach_keys(cli, values.text("detach-keys"))
    request = body.build(values, args, attached=not detached)
    streaming.check_terminal(stdin=request["AttachStdin"], tty=request["Tty"])
    identity = create.create(cli, values, request)
    if not detached:
        return _Run(cli, values, request, identity, keys).run()
    start(cli.client, identity, keys)
    cli.print(identity)
    return 0


def start(client: api.Client, identity: str, keys: str = "") -> None:
    """Start a new container; the error of one that cannot start has the status for it."""
    try:
        containers.start(client, identity, detach_keys=keys)
    except api.APIError as error:
        status = status_of_start_error(error.message)
        raise errors.CliError(
            f"Error response from daemon: {error}", status, named=True, hint=True
        ) from None


def status_of_start_error(message: str) -> int:
    """126 and 127 as a shell gives them, 125 for everything that is not about the command."""
    lowered = message.lower()
    if any(words in lowered for words in _NOT_FOUND_WORDS):
        return NOT_FOUND
    if any(words in lowered for words in _NOT_EXECUTABLE_WORDS):
        return NOT_EXECUTABLE
    return errors.FLAG_STATUS


class _Run:
    """The attached run of one container."""

    def __init__(
        self,
        cli: context.Cli,
        values: flags.Values,
        request: dict[str, Any],
        identity: str,
        keys: str,
    ) -> None:
        self._cli = cli
        self._identity = identity
        self._request = request
        self._keys = keys
        self._removed = values.flag("rm")
        self._proxy = values.flag("sig-proxy") and not request["Tty"]

    def run(self) -> int:
        client, identity, request = self._cli.client, self._identity, self._request
        tty = bool(request["Tty"])
        side = self._cli.connect()
        stops = []
        try:
            if self._proxy:
                stops.append(streaming.proxy_signals(self._cli.connect(), identity))
            session = self._attach(client)
            waiting = containers.wait_begin(
                client, identity, "removed" if self._removed else "next-exit"
            )
            try:
                start(side, identity, self._keys)
            except errors.CliError:
                self._wait_for_removal(client, waiting)
                raise
            if tty:
                stops.append(
                    streaming.follow_size(lambda h, w: containers.resize(side, identity, h, w))
                )
            if session:
                session.run()
        finally:
            for stop in stops:
                stop()
        if session and session.detached:
            return 0
        status, error = containers.wait_end(client, waiting)
        if error:
            raise errors.CliError(f"Error waiting for container: {error}", errors.FLAG_STATUS)
        return status

    def _attach(self, client: api.Client) -> streaming.Session | None:
        request = self._request
        streams = {
            "stdin": bool(request["AttachStdin"]),
            "stdout": bool(request["AttachStdout"]),
            "stderr": bool(request["AttachStderr"]),
        }
        if not any(streams.values()):
            return None
        stream = containers.attach(client, self._identity, detach_keys=self._keys, **streams)
        return streaming.Session(
            stream, stdin=streams["stdin"], tty=bool(request["Tty"]), keys=self._keys
        )

    def _wait_for_removal(self, client: api.Client, waiting: Any) -> None:
        """A container with ``--rm`` that could not start is removed: let that be done first."""
        if not self._removed:
            return
        try:
            containers.wait_end(client, waiting)
        except (api.APIError, api.ConnectionFailed, OSError):
            pass
