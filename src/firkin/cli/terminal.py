"""The user's terminal: raw mode, its size, and signals, on systems that have them.

Unix parts (termios, most signals) are imported when used, so the module loads anywhere; where they
are missing there may be the console of Windows (``console``). ``signal`` is its C half here: the
rest of it makes enumerations of all names, 5 ms of an ``exec``.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any

PROXIED = (
    "HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "CONT", "TSTP", "IO", "XCPU", "XFSZ",
    "VTALRM", "PROF", "PWR", "SYS",
)  # fmt: skip
"""Signals that are handed on to a container without a terminal: those that can be caught and that
the client does not need for itself."""


def is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def size() -> tuple[int, int] | None:
    """Height and width of the terminal that shows the output; ``None`` if there is none."""
    for fd in (1, 0, 2):
        try:
            columns, lines = os.get_terminal_size(fd)
        except (OSError, ValueError):
            continue
        if lines and columns:
            return lines, columns
    return None


class Raw:
    """Within ``with``, standard input is raw: every key goes through as it is.

    The former mode is restored on the way out, whatever the reason, and also when SIGTERM or
    SIGHUP end the client.
    """

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._saved: list[Any] | None = None
        self._console: Callable[[], None] | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Raw:
        if not is_terminal(self._fd):
            return self
        try:
            import termios
            import tty
        except ImportError:
            from firkin.cli import console

            self._console = console.raw(self._fd)
            return self
        try:
            self._saved = termios.tcgetattr(self._fd)
            tty.setraw(self._fd, termios.TCSADRAIN)
        except termios.error:
            self._saved = None
            return self
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name)
            self._handlers[number] = signal.signal(number, self._die)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def restore(self) -> None:
        """Put the terminal back as it was; harmless when repeated."""
        console, self._console = self._console, None
        if console is not None:
            console()
        if self._saved is None:
            return
        import termios

        saved, self._saved = self._saved, None
        try:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, saved)
        except termios.error:
            pass

    def _die(self, number: int, frame: FrameType | None) -> None:
        self.restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def on_resize(callback: Callable[[], None]) -> Callable[[], None]:
    """Call ``callback`` whenever the window changes its size; returns what ends that."""
    number = getattr(signal, "SIGWINCH", None)
    if number is None:
        return lambda: None
    before = signal.signal(number, lambda *_: callback())
    return lambda: _put_back({number: before})


def proxy_signals(send: Callable[[str], None]) -> Callable[[], None]:
    """Hand every signal that the client gets to ``send``, by name; returns what ends that."""
    before: dict[int, Any] = {}
    names: dict[int, str] = {}

    def handler(number: int, frame: FrameType | None) -> None:
        send(names[number])

    for name in PROXIED:
        number = getattr(signal, "SIG" + name, None)
        if number is not None:
            names[number] = "SIG" + name
            before[number] = signal.signal(number, handler)
    return lambda: _put_back(before)


def _put_back(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def write(fd: int, data: bytes) -> None:
    """Write all of ``data`` to standard output or error, past Python's buffers."""
    (sys.stdout if fd == 1 else sys.stderr).flush()
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
