"""The key sequence that detaches a terminal from its container (``ctrl-p,ctrl-q``), without I/O."""

from __future__ import annotations

DEFAULT = "ctrl-p,ctrl-q"
_SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> bytes:
    """The bytes that the keys send. A key is one character, or ``ctrl-`` and a-z, @ [ \\ ] ^ _."""
    found = bytearray()
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            found.append(ord(key))
            continue
        letter = key.removeprefix("ctrl-").lower()
        if key.startswith("ctrl-") and letter in _SPECIAL:
            found.append(_SPECIAL[letter])
        elif key.startswith("ctrl-") and len(letter) == 1 and "a" <= letter <= "z":
            found.append(ord(letter) - 96)
        else:
            raise ValueError(
                f"invalid detach keys ({text}): unknown key {key!r}; want for example 'ctrl-p,q'"
            )
    return bytes(found)


class Watcher:
    """Looks for the sequence in what is typed, and holds back a beginning that may become it."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to send on, and whether the sequence was completed; after that nothing is sent."""
        data = self._held + data
        self._held = b""
        at = data.find(self._keys) if self._keys else -1
        if at >= 0:
            return data[:at], True
        for length in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if self._keys.startswith(data[-length:]):
                self._held = data[-length:]
                return data[:-length], False
        return data, False
