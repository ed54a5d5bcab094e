"""``image ls --tree``: each image with the platforms that it is there for.

The columns are those of the official client: as many as fit into the terminal beside twelve
columns for the names, the newest image first, a line that explains the marks above. Colour only on
a terminal and never with NO_COLOR; where there is no terminal it is taken for 80 columns wide.
"""

from __future__ import annotations

import os
import sys

from firkin.cli import common, terminal, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_GAP = 3
_WIDTH, _LEAST_WIDTH, _LEAST_NAME = 80, 20, 12
_COLUMNS = (("ID", 12), ("DISK USAGE", 10), ("CONTENT SIZE", 12), ("EXTRA", 5))
_HEAD, _NAME, _PLAIN, _FAINT = "\x1b[39m\x1b[1m", "\x1b[34m\x1b[1m", "\x1b[39m", "\x1b[39m\x1b[2m"
_MARK = "\x1b[38;5;0m\x1b[48;5;14m"
_END = "\x1b[0m"


def show(found: list[dict[str, Any]]) -> None:
    """Print ``found``, which has Manifests. What is not here has no sizes."""
    size = terminal.size() if terminal.is_terminal(1) else None
    colour = size is not None and not os.environ.get("NO_COLOR")
    tree = _Tree(found, size[1] if size else _WIDTH, colour=colour)
    sys.stdout.write("".join(line + "\n" for line in tree.lines()))


class _Tree:
    def __init__(self, found: list[dict[str, Any]], width: int, *, colour: bool) -> None:
        self.found = sorted(found, key=lambda image: -int(image.get("Created") or 0))
        self.colour = colour
        self.columns: list[tuple[str, int]] = []
        self.width = width
        left = max(width, _LEAST_WIDTH)
        for title, its_width in _COLUMNS:
            if left - its_width - _GAP < _LEAST_NAME:
                break
            left -= its_width + _GAP
            self.columns.append((title, its_width))
        # A branch is drawn with characters of three bytes, and the official client counts bytes.
        widest = [len(name.encode()) for image in found for name in _names(image)]
        widest += [
            len(f"└─ {_platform(one)}".encode()) for image in found for one in _members(image)
        ]
        self.name_width = min(left, max([len("IMAGE"), *widest]))

    def lines(self) -> list[str]:
        legend, length = self.legend()
        titles = [title for title, _ in self.columns]
        made = [" " * (max(self.width, _LEAST_WIDTH) - length) + legend, ""]
        made.append(self.line("IMAGE", _HEAD, titles, _HEAD))
        spaced = any(_members(image) for image in self.found)
        for image in self.found:
            *others, last = _names(image)
            made += [self.paint(_NAME, self.cut(name, self.width)) for name in others]
            members = _members(image)
            used = int(image.get("Containers") or 0) > 0 or any(map(_used, members))
            content = sum(_size(one, "Content") for one in image.get("Manifests") or ())
            texts = self.details(str(image["Id"]), int(image.get("Size") or 0), content, used)
            style = _NAME if image.get("RepoTags") else _FAINT
            made.append(self.line(last, style, texts, _PLAIN))
            for at, one in enumerate(members):
                style = _PLAIN if one.get("Available") else _FAINT
                branch = "└─ " if at == len(members) - 1 else "├─ "
                sizes = _size(one, "Total"), _size(one, "Content")
                texts = self.details(str(one["ID"]), *sizes, _used(one))
                made.append(self.line(branch + _platform(one), style, texts, style))
            if spaced:
                made.append("")
        return made

    def details(self, identity: str, size: int, content: int, used: bool) -> list[str]:
        shown = (units.human_size(amount, 3) for amount in (size, content))
        texts = [common.short_id(identity), *shown, "U" if used else ""]
        return texts[: len(self.columns)]

    def line(self, name: str, name_style: str, texts: list[str], style: str) -> str:
        shown = self.cut(name, self.name_width)
        parts = [self.paint(name_style, shown) + " " * (self.name_width - len(shown))]
        for text, (title, width) in zip(texts, self.columns, strict=True):
            text = self.cut(text, width)
            if title == "EXTRA" and text == "U":
                mark = self.paint(_MARK, " U ") if self.colour else text
                parts.append(mark + " " * (width - (3 if self.colour else 1)))
            elif title in ("DISK USAGE", "CONTENT SIZE"):
                parts.append(" " * (width - len(text)) + self.paint(style, text))
            else:
                parts.append(self.paint(style, text) + " " * (width - len(text)))
        return (" " * _GAP).join(parts)

    def legend(self) -> tuple[str, int]:
        """What the mark means, and how many columns that takes."""
        if not self.colour:
            plain = "Info ->  U In Use "
            return plain, len(plain)
        info = f"\x1b[1m\x1b[106m\x1b[30mi{_END} \x1b[96mInfo → {_END}"
        return f"{info} {self.paint(_MARK, ' U ')} In Use ", len("i Info →   U  In Use ")

    def paint(self, style: str, text: str) -> str:
        return f"{style}{text}{_END}" if self.colour and text else text

    @staticmethod
    def cut(text: str, width: int) -> str:
        return text if len(text) <= width else text[: width - 1] + "…"


def _names(image: dict[str, Any]) -> list[str]:
    return image.get("RepoTags") or ["<untagged>"]


def _members(image: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in image.get("Manifests") or () if one.get("Kind") == "image"]


def _used(member: dict[str, Any]) -> bool:
    return bool((member.get("ImageData") or {}).get("Containers"))


def _size(member: dict[str, Any], name: str) -> int:
    return int((member.get("Size") or {}).get(name) or 0)


def _platform(member: dict[str, Any]) -> str:
    platform = (member.get("ImageData") or {}).get("Platform") or {}
    parts = (platform.get(name) for name in ("os", "architecture", "variant"))
    return "/".join(str(part) for part in parts if part)
