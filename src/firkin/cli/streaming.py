"""Between the user's standard streams and a container's: what attach, exec, run and start share.

Output is copied by the calling thread until the engine ends the stream. Input has a thread of its
own, since waiting for a key and for the socket at once is not possible on every system. It ends at
the end of input with a half-close, which lets output flow on, and it never holds up the exit: once
the output has ended the rest of the input does not matter.
"""

from __future__ import annotations

import os
import sys

from firkin.cli import detach, errors, terminal
from firkin.wire import stdcopy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from firkin.cli import context
    from firkin.client import api, http

CHUNK = 32768


def check_terminal(*, stdin: bool, tty: bool) -> None:
    """Refuse a terminal for the container when its input would not come from one."""
    if stdin and tty and not terminal.is_terminal(0):
        message = "the input device is not a TTY"
        if sys.platform == "win32":
            message += ".  If you are using mintty, try prefixing the command with 'winpty'"
        raise errors.CliError(message)


def detach_keys(cli: context.Cli, given: str) -> str:
    """The keys to detach with: from the flag or the configuration file; empty for the default."""
    keys = given or str(cli.config.get("detachKeys") or "")
    if keys:
        try:
            detach.parse(keys)
        except ValueError as error:
            raise errors.CliError(str(error)) from None
    return keys


class Session:
    """One attached stream. ``run`` copies until it ends."""

    def __init__(self, stream: http.Stream, *, stdin: bool, tty: bool, keys: str = "") -> None:
        self._stream = stream
        self._stdin = stdin
        self._tty = tty
        self._watcher = detach.Watcher(detach.parse(keys or detach.DEFAULT))
        self.detached = False

    def run(self) -> None:
        """Copy both ways. Returns at the end of output or when detached."""
        raw = terminal.Raw()
        if self._stdin and self._tty:
            with raw:
                self._copy()
        else:
            self._copy()

    def _copy(self) -> None:
        if self._stdin:
            import threading

            threading.Thread(target=self._copy_input, name="stdin", daemon=True).start()
        try:
            copy_output(self._receive(), raw=self._tty)
        finally:
            self._stream.close()

    def _receive(self) -> Iterable[bytes]:
        while not self.detached:
            try:
                data = self._stream.receive()
            except OSError:
                return  # The engine dropped the connection: as good as its end.
            if not data:
                return
            yield data

    def _copy_input(self) -> None:
        try:
            while True:
                try:
                    data = os.read(0, CHUNK)
                except OSError:
                    data = b""  # Standard input is closed, or its terminal is gone.
                if not data:
                    self._stream.close_write()
                    return
                if self._tty:
                    data, self.detached = self._watcher.feed(data)
                if data:
                    self._stream.send(data)
                if self.detached:
                    self._stream.shut_down()
                    return
        except (OSError, ValueError):
            pass  # The stream ended first: nobody reads this input any more.


def copy_output(chunks: Iterable[bytes], *, raw: bool) -> None:
    """Write a stream to standard output, or its frames to standard output and error."""
    decoder = stdcopy.Decoder()
    for data in chunks:
        if raw:
            terminal.write(1, data)
            continue
        try:
            for stream, payload in decoder.feed(data):
                terminal.write(1 if stream in (stdcopy.STDIN, stdcopy.STDOUT) else 2, payload)
        except stdcopy.FrameError as error:
            raise errors.CliError(str(error)) from None


def follow_size(resize: Callable[[int, int], None]) -> Callable[[], None]:
    """Keep the size of a remote terminal that of ours; returns what ends that."""

    def update() -> None:
        from firkin.client import api

        if measured := terminal.size():
            try:
                resize(*measured)
            except (api.APIError, api.ConnectionFailed):
                pass  # The process has just ended, or has not quite begun.

    update()
    return terminal.on_resize(update)


def proxy_signals(client: api.Client, container: str) -> Callable[[], None]:
    """Send the signals that this process gets to the container; returns what ends that.

    ``client`` must be one that nothing else uses: a signal comes at any moment.
    """
    from firkin.client import api, containers

    def send(name: str) -> None:
        try:
            containers.kill(client, container, name)
        except (api.APIError, api.ConnectionFailed):
            pass  # It has ended already.

    return terminal.proxy_signals(send)
