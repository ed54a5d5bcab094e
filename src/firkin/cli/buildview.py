"""How a build looks: a plain log, or a live table of its steps on a terminal.

Messages are those of the engine's rich build stream. Whatever view is chosen, the log of the step
that failed is repeated at the end, and warnings of the build checks come last.
"""

from __future__ import annotations

import os
import time

from firkin.cli import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TextIO

KINDS = ("auto", "plain", "tty", "quiet", "rawjson", "none")
_TAIL = 6
_KEPT = 40
_EVERY = 0.1
_TICK = 0.25


class Step:
    """A vertex as the client knows it."""

    def __init__(self, number: int, name: str, inputs: list[int]) -> None:
        self.number = number
        self.name = name
        self.inputs = inputs
        self.started = 0.0
        self.ended = 0.0
        self.cached = False
        self.error = ""
        self.why = ""
        self.log: list[str] = []
        self.rest = ""

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        if not self.started:
            return 0.0
        return (self.ended or time.time()) - self.started

    def take(self, text: str) -> list[str]:
        """The lines that ``text`` completes."""
        *lines, self.rest = (self.rest + text).split("\n")
        self.log = (self.log + lines)[-_KEPT:]
        return lines


class Plain:
    """Every line with the number of its step."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.steps: dict[int, Step] = {}
        self.warnings: list[dict[str, Any]] = []
        self._titled: set[int] = set()

    def show(self, messages: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Show ``messages``; returns what the build's end said: aux, result, error, outputs."""
        found: dict[str, Any] = {}
        try:
            for message in messages:
                self._one_message(message, found)
        finally:
            self.end(found)
        return found

    def _one_message(self, message: dict[str, Any], found: dict[str, Any]) -> None:
        if "vertices" in message:
            for item in message["vertices"]:
                self.steps[item["id"]] = Step(item["id"], item["name"], item["inputs"])
        elif "start" in message:
            step = self.steps[message["start"]]
            step.started = message["time"]
            self.started(step)
        elif "log" in message:
            step = self.steps[message["log"]]
            self.logged(step, step.take(message["text"]))
        elif "end" in message:
            step = self.steps[message["end"]]
            step.ended = message["time"]
            step.cached, step.error = message["cached"], message["error"]
            step.why = message["why"]
            if step.rest:
                self.logged(step, step.take("\n"))
            self.done(step)
        elif "warning" in message:
            self.warnings.append(message["warning"])
        elif "message" in message:
            self.said(message["message"])
        else:
            found.update(message)

    def _title(self, step: Step) -> None:
        if step.number not in self._titled:
            self._titled.add(step.number)
            self.out.write(f"\n#{step.number} {clean(step.name)}\n")

    def started(self, step: Step) -> None:
        self._title(step)
        self.out.flush()

    def logged(self, step: Step, lines: list[str]) -> None:
        self._title(step)
        for line in lines:
            self.out.write(f"#{step.number} {step.seconds:.3f} {clean(line)}\n")
        self.out.flush()

    def done(self, step: Step) -> None:
        self._title(step)
        if step.cached:
            self.out.write(f"#{step.number} CACHED\n")
        elif step.error == "cancelled":
            self.out.write(f"#{step.number} CANCELED\n")
        elif step.error:
            self.out.write(f"#{step.number} ERROR: {clean(step.error)}\n")
        else:
            self.out.write(f"#{step.number} DONE {step.seconds:.1f}s\n")
        self.out.flush()

    def said(self, text: str) -> None:
        self.out.write(clean(text) + "\n")

    def end(self, found: dict[str, Any]) -> None:
        """The last words: what failed, and the warnings."""
        for step in self.steps.values():
            if step.error and step.error != "cancelled":
                self.out.write(f"------\n > {clean(step.name)}:\n")
                for line in step.log:
                    self.out.write(f"{clean(line)}\n")
                self.out.write("------\n")
        if self.warnings:
            count = len(self.warnings)
            self.out.write(f"\n {count} warning{'s' if count > 1 else ''} found:\n")
            for one in self.warnings:
                self.out.write(f" - {one['rule']}: {clean(one['message'])} (line {one['line']})\n")
        self.out.flush()


class Live(Plain):
    """The steps as a table that is drawn over itself, also while nothing is heard of them."""

    def __init__(self, out: TextIO) -> None:
        import threading

        super().__init__(out)
        self._widths: list[int] = []
        self._drawn = 0.0
        self._begun = time.time()
        self._over = threading.Event()
        self._one = threading.RLock()
        self._ticker = threading.Thread(target=self._tick, name="ticker", daemon=True)

    def show(self, messages: Iterable[dict[str, Any]]) -> dict[str, Any]:
        self._ticker.start()
        return super().show(messages)

    def _one_message(self, message: dict[str, Any], found: dict[str, Any]) -> None:
        with self._one:
            super()._one_message(message, found)

    def _tick(self) -> None:
        while not self._over.wait(_TICK):
            with self._one:
                if not self._over.is_set():
                    self._draw()

    def started(self, step: Step) -> None:
        self._draw()

    def logged(self, step: Step, lines: list[str]) -> None:
        self._draw()

    def done(self, step: Step) -> None:
        self._draw()

    def said(self, text: str) -> None:
        self._clear()
        self.out.write(clean(text) + "\n")
        self._draw(force=True)

    def end(self, found: dict[str, Any]) -> None:
        self._over.set()
        with self._one:
            self._draw(force=True, last="FINISHED" if found else "CANCELED")
        super().end(found)

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self.out.fileno())
        except (OSError, ValueError):
            return 80, 24
        return max(size.columns, 20), max(size.lines, 4)

    def _clear(self) -> None:
        """Go back to the table's first line, which may have been broken anew by a narrower
        terminal."""
        if self._widths:
            columns, _ = self._size()
            rows = sum(max(1, -(-width // columns)) for width in self._widths)
            self.out.write(f"\x1b[{rows}A\x1b[J")
            self._widths = []

    def _draw(self, *, force: bool = False, last: str = "") -> None:
        now = time.time()
        if not force and now - self._drawn < _EVERY:
            return
        self._drawn = now
        columns, rows = self._size()
        shown = [step for step in self.steps.values() if step.started or step.ended]
        finished = sum(bool(step.ended) for step in shown)
        head = f"[+] Building {now - self._begun:.1f}s ({finished}/{len(self.steps)})"
        lines = [(f"{head} {last}".rstrip(), "")]
        blocks = [(step, self._step(step, columns, quiet=bool(last))) for step in shown]
        if not last:
            # What has ended makes room first.
            over = sum(len(block) for _, block in blocks) - (rows - 2)
            for at, (step, block) in enumerate(blocks):
                if over > 0 and step.ended:
                    over -= len(block)
                    blocks[at] = (step, [])
        body = [(line, _colour(step)) for step, block in blocks for line in block]
        lines += body if last else body[-(rows - 2) :]
        self._clear()
        for line, colour in lines:
            line = clip(line, columns - 1)
            self._widths.append(width(line))
            if colour and self._coloured():
                line = f"\x1b[{colour}m{line}\x1b[0m"
            self.out.write(line + "\n")
        self.out.flush()

    def _coloured(self) -> bool:
        return not os.environ.get("NO_COLOR")

    def _step(self, step: Step, columns: int, *, quiet: bool) -> list[str]:
        name = clean(step.name).expandtabs()
        if step.cached:
            name = "CACHED " + name
        elif step.error:
            name = ("CANCELED " if step.error == "cancelled" else "ERROR ") + name
        timer = f"{step.seconds:.1f}s"
        room = max(columns - len(timer) - 6, 4)
        name = clip(name, room)
        found = [f" => {name}{' ' * (room - width(name))} {timer}"]
        if not step.ended and not quiet:
            found += [f" => => # {clean(line).expandtabs()}" for line in step.log[-_TAIL:]]
        return found


def _colour(step: Step) -> str:
    """The colour of a step's lines: blue when it is done, red when it failed."""
    if step.error:
        return "33" if step.error == "cancelled" else "31"
    return "34" if step.ended else ""


def width(text: str) -> int:
    """How many columns a text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    import unicodedata

    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def clip(text: str, columns: int) -> str:
    """A text in so many columns; what is cut off shows as dots."""
    if width(text) <= columns:
        return text
    kept, left = "", columns - 3
    for character in text:
        left -= _columns(character)
        if left < 0:
            break
        kept += character
    return kept + "..."


class Raw(Plain):
    """The messages themselves, a line each."""

    def show(self, messages: Iterable[dict[str, Any]]) -> dict[str, Any]:
        import json

        found: dict[str, Any] = {}
        for message in messages:
            self.out.write(json.dumps(message) + "\n")
            if "vertices" in message:
                for item in message["vertices"]:
                    self.steps[item["id"]] = Step(item["id"], item["name"], item["inputs"])
            found.update(message)
        return found


class Quiet(Plain):
    """Nothing, unless the build fails."""

    def started(self, step: Step) -> None:
        return

    def logged(self, step: Step, lines: list[str]) -> None:
        return

    def done(self, step: Step) -> None:
        return

    def said(self, text: str) -> None:
        return

    def end(self, found: dict[str, Any]) -> None:
        self.warnings = []
        super().end(found)


def clean(text: str) -> str:
    """Without what could move the cursor; colours stay out too."""
    kept = text.rsplit("\r", 1)[-1] if "\r" in text.rstrip("\r") else text
    return "".join(c for c in kept if c.isprintable() or c in "\n\t")


def choose(kind: str, out: TextIO) -> Plain:
    """The view of ``--progress``. Raises ``CliError`` for one that there is not."""
    if kind not in KINDS:
        raise errors.CliError(f"invalid progress mode {kind[:40]}: {', '.join(KINDS)}")
    if kind in ("quiet", "none"):
        return Quiet(out)
    if kind == "rawjson":
        return Raw(out)
    if kind == "tty" or (kind == "auto" and out.isatty() and os.environ.get("TERM") != "dumb"):
        return Live(out)
    return Plain(out)
