"""Keeping secrets out of a step's log."""

from __future__ import annotations

from firkin.builder import executor

_SHORTEST = 4
_MARK = b"***"


class Mask:
    """Passes output on with ``secrets`` replaced by ``***``.

    A secret of several lines is looked for line by line, as it would be printed. What might be the
    beginning of one is held back until the next write, or the end.
    """

    def __init__(self, secrets: list[bytes], output: executor.Output) -> None:
        wanted = {line.strip() for secret in secrets for line in secret.splitlines()}
        self._wanted = sorted((one for one in wanted if len(one) >= _SHORTEST), key=len)[::-1]
        self._output = output
        self._held: dict[int, bytes] = {}

    def write(self, stream: int, data: bytes) -> None:
        """Take output of a step."""
        text = self._held.pop(stream, b"") + data
        for secret in self._wanted:
            text = text.replace(secret, _MARK)
        keep = 0
        for secret in self._wanted:
            for size in range(min(len(secret) - 1, len(text)), keep, -1):
                if text.endswith(secret[:size]):
                    keep = size
                    break
        if keep:
            self._held[stream] = text[len(text) - keep :]
            text = text[: len(text) - keep]
        if text:
            self._output(stream, text)

    def end(self) -> None:
        """Let go of what was held back."""
        for stream, text in sorted(self._held.items()):
            self._output(stream, text)
        self._held.clear()
