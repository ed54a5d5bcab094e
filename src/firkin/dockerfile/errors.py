"""What is wrong with a Dockerfile, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from firkin import errdefs

_AROUND = 2


class DockerfileError(errdefs.InvalidParameter):
    """A Dockerfile that can't be used. ``first`` and ``last`` are line numbers from 1."""

    def __init__(self, message: str, first: int = 0, last: int = 0) -> None:
        super().__init__(message)
        self.reason = message
        self.first = first
        self.last = last or first

    def shown(self, filename: str, text: str) -> DockerfileError:
        """Another one with the file's name, the line and the lines around it in its message."""
        message = self.reason
        if self.first:
            where = excerpt(filename, text, self.first, self.last)
            message = f"dockerfile parse error on line {self.first}: {self.reason}\n{where}"
        error = DockerfileError(message, self.first, self.last)
        error.reason = self.reason
        return error


def excerpt(filename: str, text: str, first: int, last: int) -> str:
    """``filename:line`` and the lines in question, marked, with those around them."""
    lines = text.splitlines()
    start, end = max(1, first - _AROUND), min(len(lines), last + _AROUND)
    shown = [f"{filename}:{first}", "-" * 20]
    for number in range(start, end + 1):
        mark = ">>>" if first <= number <= last else "   "
        shown.append(f"{number:4} | {mark} {lines[number - 1][:400]}".rstrip())
    shown.append("-" * 20)
    return "\n".join(shown)


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` for a word that is almost one of ``known``, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""
