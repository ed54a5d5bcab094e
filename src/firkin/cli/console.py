"""The console of Windows, where there is no termios: keys as they are, and escape sequences.

Source: "Console Modes", https://learn.microsoft.com/windows/console/setconsolemode.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PROCESSED_INPUT, _LINE_INPUT, _ECHO_INPUT, _TERMINAL_INPUT = 0x1, 0x2, 0x4, 0x200
_PROCESSED_OUTPUT, _TERMINAL_OUTPUT, _NO_AUTO_RETURN = 0x1, 0x4, 0x8


def raw(fd: int) -> Callable[[], None] | None:
    """Make input ``fd`` raw and have the output understand escape sequences.

    Returns what puts both back, or ``None`` where there is no such console.
    """
    try:
        import ctypes
        import msvcrt

        kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined]
        handles = [msvcrt.get_osfhandle(fd), msvcrt.get_osfhandle(1)]  # type: ignore[attr-defined]
    except (ImportError, AttributeError, OSError):
        return None
    cooked = _PROCESSED_INPUT | _LINE_INPUT | _ECHO_INPUT
    changes = (
        (cooked, _TERMINAL_INPUT),
        (0, _PROCESSED_OUTPUT | _TERMINAL_OUTPUT | _NO_AUTO_RETURN),
    )
    before: list[tuple[int, int]] = []
    for handle, (less, more) in zip(handles, changes, strict=True):
        mode = ctypes.c_uint32()
        if kernel.GetConsoleMode(handle, ctypes.byref(mode)):
            before.append((handle, mode.value))
            kernel.SetConsoleMode(handle, mode.value & ~less | more)

    def restore() -> None:
        for handle, mode in before:
            kernel.SetConsoleMode(handle, mode)

    return restore if before else None
