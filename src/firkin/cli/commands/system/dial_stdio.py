"""``system dial-stdio``: standard input and output become a connection to the engine.

The other end of ``ssh://`` addresses: the client over there starts this command here. It copies
bytes and understands none of them. The end of input is handed on as a half-close; the command ends
when the engine has closed its side.
"""

from __future__ import annotations

import os

from firkin.cli import errors, flags, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context
    from firkin.client.transport import Channel

COMMAND = flags.Command(
    "", "Copy between standard input and output and the engine", (), flags.none()
)

CHUNK = 65536
_SHUT_WRITE = 1


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    import threading

    try:
        channel = cli.client.transport.connect()
    except OSError as error:
        raise errors.CliError(
            f"{cli.client.transport.address}: {error.strerror or error}"
        ) from None
    threading.Thread(target=_send, args=(channel,), name="stdin", daemon=True).start()
    try:
        while data := channel.recv(CHUNK):
            terminal.write(1, data)
    except ConnectionResetError:
        pass  # The engine dropped the connection: as good as its end.
    finally:
        channel.close()
    return 0


def _send(channel: Channel) -> None:
    try:
        while data := os.read(0, CHUNK):
            channel.sendall(data)
        channel.shutdown(_SHUT_WRITE)
    except OSError:
        pass  # The connection has ended: nobody reads any more.
