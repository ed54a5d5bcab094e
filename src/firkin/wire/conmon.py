"""conmon's protocols, without I/O.

conmon reports over its *sync pipe* in JSON lines: ``{"data": N, "message": "..."}`` where ``N`` is
the pid of the new process, or negative (or zero with a message) when the OCI runtime failed, whose
words are then in ``message``. For an exec a second line brings the exit code.

On the *attach socket* (SOCK_SEQPACKET) each packet from conmon begins with a byte that names the
stream (2 stdout, 3 stderr); packets to conmon are raw standard input of fewer than 32 KiB; shutting
down the sending side is end of file. On the *control FIFO* a line ``1 ROWS COLUMNS`` resizes the
terminal and ``2 0 0`` reopens the log file.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from firkin import errdefs

STDOUT = 2
STDERR = 3
PACKET_SIZE = 8192 + 1
"""Upper bound of a packet from conmon, in bytes: a full stdio buffer and the stream's byte."""
STDIN_CHUNK = 16384
"""How much standard input goes into one packet, in bytes: well below what conmon would cut."""

REOPEN_LINE = b"2 0 0\n"
"""The control line that has the log file made anew."""


class Sync(NamedTuple):
    """One line of the sync pipe."""

    data: int
    message: str


def parse_sync(line: bytes) -> Sync:
    """Parse a line of the sync pipe. Raises ``System`` when it is not what conmon writes."""
    try:
        value = msgspec.json.decode(line, type=dict[str, int | str], strict=True)
        return Sync(int(value["data"]), str(value.get("message", "")))
    except (msgspec.DecodeError, KeyError, ValueError):
        pass
    # conmon escapes little: the runtime's words may hold bytes that are not JSON.
    head, found, rest = line.partition(b'"message": "')
    digits = head.rpartition(b'"data": ')[2].rstrip(b", ")
    try:
        code = int(digits)
    except ValueError:
        raise errdefs.System(f"conmon reported something unreadable: {line[:200]!r}") from None
    message = rest.rpartition(b'"}')[0] if found else b""
    return Sync(code, message.decode(errors="replace").replace('\\"', '"').replace("\\n", "\n"))


def resize_line(rows: int, columns: int) -> bytes:
    """The control line that gives the terminal a size in characters."""
    return b"1 %d %d\n" % (rows, columns)
