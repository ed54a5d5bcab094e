"""Detach keys: the sequence typed in a terminal that leaves a container running. No I/O."""

from __future__ import annotations

from firkin import errdefs

DEFAULT = b"\x10\x11"


def parse(text: str) -> bytes:
    """``ctrl-p,ctrl-q``, ``a``, ``ctrl-@``... as the bytes a terminal sends; "" is the default.

    Raises ``InvalidParameter``.
    """
    if not text:
        return DEFAULT
    keys = bytearray()
    for word in text.split(","):
        name = word.removeprefix("ctrl-")
        if word == name and len(word.encode()) == 1:
            keys += word.encode()
        elif word != name and len(name) == 1 and (name.islower() or name in "@[\\]^_"):
            if not name.isascii():
                break
            keys.append(ord(name.upper()) - 64)
        else:
            break
    else:
        return bytes(keys)
    raise errdefs.InvalidParameter(
        f"Invalid detach keys ({text}) provided: use single characters, or ctrl- and a letter "
        "or one of @ [ \\ ] ^ _, separated by commas"
    )


class Filter:
    """Looks for the sequence in input that arrives in pieces."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What may be passed on, and whether the sequence was completed.

        The beginning of a possible sequence is held back until it is decided.
        """
        data = self._held + data
        self._held = b""
        position = data.find(self._keys)
        if position >= 0:
            return data[:position], True
        for length in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if data.endswith(self._keys[:length]):
                self._held = data[-length:]
                return data[:-length], False
        return data, False
