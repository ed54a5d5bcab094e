"""``firkin stats``."""

from __future__ import annotations

import io
import sys
import threading
import time

from firkin.cli import errors, flags, formatter, stats, terminal
from firkin.client import api, containers, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] [CONTAINER...]",
    "Show what containers use of the host, live",
    (
        flags.boolean("all", "a", "All containers, not just those that run"),
        flags.string(
            "format",
            "",
            "How to show them:\n"
            "'table':            a table with column titles (default)\n"
            "'table TEMPLATE':   a table made with a Go template\n"
            "'json':             JSON, one object a line\n"
            "'TEMPLATE':         lines made with a Go template",
        ),
        flags.boolean("no-stream", "", "Show one sample and end"),
        flags.boolean("no-trunc", "", "Do not shorten anything"),
    ),
    flags.at_least(0),
)

TABLE = (
    "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}"
    "\t{{.PIDs}}"
)
COLUMNS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
SHORT_ID = 12
PERIOD = 0.5
HOME, CLEAR_LINE, CLEAR_BELOW = "\033[H", "\033[K", "\033[J"


class _Watched:
    """One container: the latest sample, fetched by a thread of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sample: dict[str, Any] | None = None
        self.failure: Exception | None = None
        self.ended = False
        self.ready = threading.Event()

    def follow(self, client: api.Client, stream: bool) -> None:
        try:
            response = containers.stats(client, self.name, stream=stream)
            for sample in response.json_values():
                self.sample = sample
                self.ready.set()
        except (api.APIError, api.ConnectionFailed, OSError, ValueError) as error:
            self.failure = error
        self.ended = True
        self.ready.set()


class _Board:
    """All containers that are shown, in the order in which they are shown."""

    def __init__(self, cli: context.Cli, stream: bool) -> None:
        self._cli = cli
        self._stream = stream
        self._lock = threading.Lock()
        self.watched: list[_Watched] = []

    def add(self, name: str) -> None:
        with self._lock:
            if any(one.name == name and not one.ended for one in self.watched):
                return
            one = _Watched(name)
            self.watched.append(one)
        work = (self._cli.connect(), self._stream)
        threading.Thread(target=one.follow, args=work, name=f"stats {name}", daemon=True).start()

    def remove(self, name: str) -> None:
        with self._lock:
            self.watched = [one for one in self.watched if one.name != name]

    def alive(self) -> list[_Watched]:
        with self._lock:
            self.watched = [one for one in self.watched if not (one.ended and self._stream)]
            return list(self.watched)

    def follow_events(self, client: api.Client, everything: bool) -> None:
        """Show containers that come and leave out those that go."""
        arrivals = "create" if everything else "start"
        departures = "destroy" if everything else "die"
        wanted = {"type": ["container"], "event": [arrivals, departures]}
        try:
            for raw in system.events(client, filters=wanted):
                from firkin.client import jsontext

                event = jsontext.loads(raw)
                identity = str((event.get("Actor") or {}).get("ID") or "")[:SHORT_ID]
                (self.add if event.get("Action") == arrivals else self.remove)(identity)
        except (api.APIError, api.ConnectionFailed, OSError, ValueError):
            pass  # the engine is gone: the streams of the containers end too


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    everything, stream = values.flag("all"), not values.flag("no-stream")
    board = _Board(cli, stream)
    client = cli.client
    if args:
        names = args
    else:
        names = [str(item["Id"])[:SHORT_ID] for item in containers.listing(client, all=everything)]
        if stream:
            events = threading.Thread(
                target=board.follow_events, args=(cli.connect(), everything), daemon=True
            )
            events.start()
    for name in names:
        board.add(name)
    first = list(board.watched)
    for one in first:
        one.ready.wait()
    if args:
        _report_failures(first)
    fmt = values.text("format") or str(cli.config.get("statsFormat") or "") or "table"
    fmt = TABLE if fmt == "table" else fmt
    whole = values.flag("no-trunc")
    if not stream:
        sys.stdout.write(_text([one for one in first if one.failure is None], fmt, whole))
        return 0
    live = terminal.is_terminal(1)
    while True:
        shown = board.alive()
        if not shown and args:
            return 0
        _show(_text(shown, fmt, whole), live)
        time.sleep(PERIOD if live else 2 * PERIOD)


def _report_failures(watched: list[_Watched]) -> None:
    from firkin.client import api

    failures = []
    for one in watched:
        if isinstance(one.failure, api.APIError):
            failures.append(f"Error response from daemon: {one.failure}")
        elif one.failure is not None:
            failures.append(str(one.failure))
    if failures:
        raise errors.CliError("\n".join(failures))


def _text(watched: list[_Watched], fmt: str, whole: bool) -> str:
    out = io.StringIO()
    rows = [stats.row(one.name, one.sample, whole=whole) for one in watched]
    formatter.render(rows, fmt, out, columns=COLUMNS)
    return out.getvalue()


def _show(text: str, live: bool) -> None:
    if live:
        text = HOME + text.replace("\n", CLEAR_LINE + "\n") + CLEAR_BELOW
    sys.stdout.write(text)
    sys.stdout.flush()
