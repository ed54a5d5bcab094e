"""What a process does with a signal, as /proc/PID/status tells."""

from __future__ import annotations


def catches(pid: int, number: int) -> bool | None:
    """Whether ``pid`` has a handler for the signal ``number``; ``None`` when it is gone.

    The first process of a PID namespace is not ended by a signal that it has no handler for
    (pid_namespaces(7)), unless it is SIGKILL or SIGSTOP from outside.
    """
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    except (OSError, ValueError):
        pass
    return None
