"""The ``filters`` query of the Engine API: a JSON object of name → values.

Values are a list, or (as older clients send it) an object of value → true.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

from firkin import errdefs


class Filters:
    """Parsed filters. A name matches when any of its values does; all names must match."""

    def __init__(self, values: dict[str, list[str]] | None = None) -> None:
        self._values = values or {}

    @classmethod
    def parse(cls, text: str | None, known: Collection[str]) -> Filters:
        """Parse the query's text. Raises ``InvalidParameter`` for bad JSON and unknown names."""
        if not text:
            return cls()
        try:
            raw = msgspec.json.decode(text, type=dict[str, list[str] | dict[str, bool]])
        except (msgspec.DecodeError, RecursionError) as error:
            raise errdefs.InvalidParameter(f"invalid filter {text!r}: {error}") from error
        for name in raw:
            if name not in known:
                raise errdefs.InvalidParameter(
                    f"invalid filter '{name}': known are {', '.join(sorted(known))}"
                )
        return cls(
            {
                name: values if isinstance(values, list) else [v for v, on in values.items() if on]
                for name, values in raw.items()
            }
        )

    @property
    def values(self) -> dict[str, list[str]]:
        """All names with their values."""
        return dict(self._values)

    def __bool__(self) -> bool:
        return bool(self._values)

    def get(self, name: str) -> list[str]:
        """The values given for ``name``."""
        return self._values.get(name, [])

    def has(self, name: str) -> bool:
        """Whether ``name`` was given."""
        return bool(self._values.get(name))

    def exact(self, name: str, *candidates: str) -> bool:
        """Whether one of the candidates is among the values, or there are none."""
        values = self._values.get(name)
        return not values or any(candidate in values for candidate in candidates)

    def prefix(self, name: str, candidate: str) -> bool:
        """Whether the candidate begins with one of the values, or there are none."""
        values = self._values.get(name)
        return not values or any(candidate.startswith(value) for value in values)

    def matches(self, name: str, *candidates: str) -> bool:
        """Whether a value, as a regular expression or as text, is found in a candidate."""
        values = self._values.get(name)
        if not values:
            return True
        for value in values:
            try:
                pattern = re.compile(value)
            except re.error:
                pattern = re.compile(re.escape(value))
            if any(pattern.search(candidate) for candidate in candidates):
                return True
        return False

    def labels(self, present: Mapping[str, str], name: str = "label") -> bool:
        """Whether all wanted labels (``key`` or ``key=value``) are present."""
        for wanted in self._values.get(name, []):
            key, equals, value = wanted.partition("=")
            if key not in present or (equals and present[key] != value):
                return False
        return True

    def flag(self, name: str) -> bool | None:
        """A boolean filter; ``None`` when absent. Raises ``InvalidParameter``."""
        values = self._values.get(name)
        if not values:
            return None
        word = values[0].lower()
        if word in ("1", "true", "t"):
            return True
        if word in ("0", "false", "f"):
            return False
        raise errdefs.InvalidParameter(f"invalid filter '{name}={values[0]}': use true or false")
