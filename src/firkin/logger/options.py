"""Options of log drivers: their values, and what they choose to tell of a container.

``tag`` is a template: see ``firkin.logger.tags``. ``labels`` and ``env`` are names apart by commas,
``labels-regex`` and ``env-regex`` expressions that names match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from firkin import errdefs
from firkin.logger import logger, tags

_SIZE = re.compile(r"(\d{1,15})(?:\.\d+)?\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def size(options: Mapping[str, str], name: str, default: int) -> int:
    """Bytes such as ``10m``. Raises ``InvalidParameter``."""
    text = options.get(name, "")
    if not text:
        return default
    match = _SIZE.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        if text.strip() == "-1":
            return 0
        raise errdefs.InvalidParameter(f"log option {name}={text[:40]}: give a size such as 10m")
    return int(match[1]) * _UNITS[match[2].lower()]


def count(options: Mapping[str, str], name: str, default: int, least: int = 1) -> int:
    """A whole number. Raises ``InvalidParameter``."""
    text = options.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
        raise errdefs.InvalidParameter(
            f"log option {name}={text[:40]}: give a number, {least} or more"
        )
    return int(text)


def truth(options: Mapping[str, str], name: str, default: bool) -> bool:
    """``true`` or ``false``. Raises ``InvalidParameter``."""
    text = options.get(name, "").lower()
    if not text:
        return default
    if text in ("1", "t", "true"):
        return True
    if text in ("0", "f", "false"):
        return False
    raise errdefs.InvalidParameter(f"log option {name}={text[:40]}: give true or false")


def seconds(options: Mapping[str, str], name: str, default: float) -> float:
    """A duration such as ``500ms`` or ``3s``. Raises ``InvalidParameter``."""
    text = options.get(name, "")
    if not text:
        return default
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise errdefs.InvalidParameter(f"log option {name}={text[:40]}: give a time such as 3s")
    return float(match[1]) * _SECONDS[match[2]]


def check(driver: logger.Driver, options: Mapping[str, str], *, reads: bool) -> None:
    """Check names and values. Raises ``InvalidParameter`` naming the option.

    ``reads``: the driver's own files are what ``logs`` shows, so there is no other copy.
    """
    known = driver.options | logger.COMMON_OPTIONS
    if not reads:
        known |= logger.CACHE_OPTIONS
    for name in options:
        if name not in known:
            raise errdefs.InvalidParameter(
                f"unknown log opt '{name[:80]}' for {driver.name} log driver: there are "
                f"{', '.join(sorted(known))}"
            )
    if options.get("mode", "") not in ("", "blocking", "non-blocking"):
        raise errdefs.InvalidParameter(
            f"log option mode={options['mode'][:40]}: use blocking or non-blocking"
        )
    if options.get("max-buffer-size") and options.get("mode") != "non-blocking":
        raise errdefs.InvalidParameter(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
        )
    size(options, "max-buffer-size", 0)
    truth(options, "cache-disabled", False)
    truth(options, "cache-compress", True)
    size(options, "cache-max-size", 0)
    count(options, "cache-max-file", 1)
    for name in ("labels-regex", "env-regex"):
        try:
            re.compile(options.get(name, ""))
        except re.error as error:
            raise errdefs.InvalidParameter(
                f"log option {name}={options[name][:80]}: not a regular expression: {error}"
            ) from None
    _check_tag(options.get("tag", ""))
    driver.validate(options)


def _check_tag(template: str) -> None:
    tags.render(template, tags.EXAMPLE)


def tag(info: logger.Info, default: str = "{{.ID}}") -> str:
    """The tag of a container's entries."""
    return tags.render(info.options.get("tag") or default, info)


def attributes(info: logger.Info, *, tagged: bool = True) -> dict[str, str]:
    """The labels and variables that the options choose and, with ``tagged``, a tag that was given.

    A name that is there in both is the variable's.
    """
    found: dict[str, str] = {}
    env = dict(entry.partition("=")[::2] for entry in info.env)
    for kind, values in (("labels", info.labels), ("env", env)):
        names = {name.strip() for name in info.options.get(kind, "").split(",") if name.strip()}
        pattern = info.options.get(f"{kind}-regex", "")
        for name, value in values.items():
            if name in names or (pattern and re.search(pattern, name)):
                found[name] = value
    if tagged and info.options.get("tag"):
        found["tag"] = tag(info)
    return found
