"""The engine's log: one line for each record, as text or as JSON, to standard error.

A record that belongs to a request of the API has its id (:data:`REQUEST`), so that what one request
did can be found among many. No query, header or body of a request is ever logged: they may have
secrets.
"""

from __future__ import annotations

import contextvars
import datetime
import json
import logging

from firkin.engine import config as configuration

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="")
"""The id of the request that is served, "" outside of any."""


class _Text(logging.Formatter):
    """``TIME LEVEL LOGGER: MESSAGE``; only the traceback of an error takes further lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = record.message.replace("\r", "\\r").replace("\n", "\\n")
        text = super().formatMessage(record)
        request = REQUEST.get()
        return f"{text} request={request}" if request else text


class _Json(logging.Formatter):
    """One JSON object a line: time, level, msg, logger and, where there are any, request, error."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        found = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
            "logger": record.name,
        }
        if request := REQUEST.get():
            found["request"] = request
        if record.exc_info:
            found["error"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False)


def open_log(config: configuration.Config) -> None:
    """Begin to log as the configuration says."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if config.log_format == "json" else _Text())
    logging.basicConfig(level=config.logging_level, handlers=[handler], force=True)
    quiet(config)


def quiet(config: configuration.Config) -> None:
    """Set the level; libraries are not heard below a warning."""
    logging.getLogger().setLevel(config.logging_level)
    for name in ("asyncio", "aiohttp", "pyroute2"):
        logging.getLogger(name).setLevel(logging.WARNING)
