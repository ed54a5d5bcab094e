"""Docker's framing of several output streams over one connection, without any I/O.

A container without a terminal has two outputs. On an attach, exec or log stream they share one
connection, cut into frames::

    +--------+-----------+------------------+----------------+
    | stream | 3 × zero  | length, 32 bit   | length bytes   |
    | 1 byte |           | big endian       |                |
    +--------+-----------+------------------+----------------+

``encode`` makes a frame; ``Decoder`` takes whatever bytes arrive and gives back the payloads, as
soon as they come: a frame need not be complete for its first bytes to be handed on, so memory does
not grow with what a length field claims.

The framing is described with ``ContainerAttach`` in the Engine API.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN = 0
STDOUT = 1
STDERR = 2
SYSTEM_ERROR = 3
"""An error of the engine itself, found after the stream had begun."""

HEADER_SIZE = 8


class FrameError(ValueError):
    """The bytes are no such frames; most likely the stream belongs to a terminal."""


def header(stream: int, length: int) -> bytes:
    """The eight bytes before a payload."""
    return bytes((stream, 0, 0, 0)) + length.to_bytes(4, "big")


def encode(stream: int, payload: bytes) -> bytes:
    """One frame."""
    return header(stream, len(payload)) + payload


class Decoder:
    """Cuts a stream of frames. Feed it bytes with ``feed``; ask ``complete`` when they end."""

    def __init__(self) -> None:
        self._header = b""
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The payloads within ``data`` as ``(stream, bytes)``. Raises ``FrameError``.

        The iterator must be run to its end before the next call.
        """
        at, end = 0, len(data)
        while at < end:
            if not self._left:
                taken = min(HEADER_SIZE - len(self._header), end - at)
                self._header += data[at : at + taken]
                at += taken
                if len(self._header) == HEADER_SIZE:
                    self._open_frame()
                continue
            taken = min(self._left, end - at)
            self._left -= taken
            yield self._stream, data[at : at + taken]
            at += taken

    def _open_frame(self) -> None:
        head, self._header = self._header, b""
        if head[0] > SYSTEM_ERROR or head[1:4] != b"\0\0\0":
            raise FrameError(f"not a frame of a multiplexed stream: {head.hex(' ')}")
        self._stream = head[0]
        self._left = int.from_bytes(head[4:], "big")

    @property
    def complete(self) -> bool:
        """False if the stream ended in the middle of a frame."""
        return not self._left and not self._header
