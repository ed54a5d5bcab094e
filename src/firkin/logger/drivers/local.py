"""``local``: the spool itself is the log, and rotates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from firkin.logger import logger, options, spool

NAME = "local"
_SIZE, _FILES = "20m", 5


class Local:
    """The driver. Nothing is forwarded to it."""

    name = NAME
    options = frozenset({"max-size", "max-file", "compress"}) | logger.ATTRIBUTE_OPTIONS

    def validate(self, given: Mapping[str, str]) -> None:
        """See ``Driver.validate``."""
        limits(given)

    def open(self, info: logger.Info, state: str = "") -> logger.Logger:
        """See ``Driver.open``."""
        return _Nothing()


class _Nothing:
    def write(self, entries: Sequence[logger.Entry]) -> str:
        return ""

    def close(self) -> None:
        return


def limits(given: Mapping[str, str], prefix: str = "") -> spool.Limits:
    """How much is kept: by default five files of 20 MiB, the older ones compressed.

    ``prefix`` is "cache-" for the copy that ``logs`` reads beside another driver. Raises
    ``InvalidParameter``.
    """
    sizes = {prefix + "max-size": _SIZE, **given}
    return spool.Limits(
        options.size(sizes, prefix + "max-size", 0),
        options.count(given, prefix + "max-file", _FILES),
        options.truth(given, prefix + "compress", True),
    )
