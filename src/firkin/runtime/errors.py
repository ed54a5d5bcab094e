"""What an OCI runtime's words mean.

Runtimes report failures as text for people. The engine needs to tell three kinds apart, because
users rely on the exit codes that follow: 127 for a command that does not exist, 126 for one that
can't be executed, 125 for everything else.
"""

from __future__ import annotations

import json
import re

from firkin import errdefs


class CommandNotFound(errdefs.InvalidParameter):
    """The container's command does not exist; clients exit with 127."""


class CommandNotExecutable(errdefs.InvalidParameter):
    """The container's command exists but can't be executed; clients exit with 126."""


_NOT_FOUND = re.compile(
    r"executable file .{0,4096}? not found in \$PATH|"
    r"(?:exec|open executable|stat|lookup)[^\n]{0,4096}: [Nn]o such file or directory"
)
_NOT_EXECUTABLE = re.compile(
    r"(?:exec|open executable|the path)[^\n]{0,4096}"
    r"(?:[Pp]ermission denied|[Oo]peration not permitted|[Ee]xec format error|[Ii]s a directory)"
)


def words(text: str) -> str:
    """The runtime's message on one line, without its log decoration."""
    lines = []
    for line in text.strip().splitlines():
        if line.startswith("{"):
            try:
                line = str(json.loads(line).get("msg", line))
            except (ValueError, AttributeError):
                pass
        line = re.sub(r'^(?:\d{4}-\S+T\S+:\S+:\S+|time="[^"]*" level=\w+ msg=)\s*', "", line)
        if line and "level=warning" not in line:
            lines.append(line)
    return " ".join(lines)[:4096]


def from_runtime(name: str, text: str, command: str = "") -> errdefs.FirkinError:
    """The error for what the runtime ``name`` wrote when it could not do its work.

    ``command`` is what the user asked to run; its name is part of the messages that clients match.
    """
    message = words(text) or "it gave no reason"
    shown = f'exec: "{command}": ' if command else ""
    if _NOT_FOUND.search(message):
        return CommandNotFound(
            f"failed to create task for container: {name}: {shown}"
            f"executable file not found in $PATH: no such file or directory ({message})"
        )
    if _NOT_EXECUTABLE.search(message):
        return CommandNotExecutable(
            f"failed to create task for container: {name}: {shown}permission denied, or not a "
            f"program ({message})"
        )
    return errdefs.System(f"failed to create task for container: {name}: {message}")
