"""``image ls --tree``: each image with the platforms that it is there for."""

from __future__ import annotations

import sys

from firkin.cli import common, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEAD = ("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA")
_GAP = 3


def show(found: list[dict[str, Any]], *, trunc: bool) -> None:
    """Print ``found``, which has Manifests. What is not here has no sizes."""
    rows: list[tuple[str, ...]] = [HEAD]
    for image in found:
        names = image.get("RepoTags") or image.get("RepoDigests") or ["<untagged>"]
        members = [one for one in image.get("Manifests") or () if one.get("Kind") == "image"]
        content = sum(_size(one, "Content") for one in members)
        total = sum(_size(one, "Total") for one in members)
        used = any((one.get("ImageData") or {}).get("Containers") for one in members)
        rows.append((names[0], _id(image["Id"], trunc), _shown(total), _shown(content),
                     "U" if used else ""))  # fmt: skip
        rows += [(name, "", "", "", "") for name in names[1:]]
        for at, one in enumerate(members):
            branch = "└─ " if at == len(members) - 1 else "├─ "
            data = one.get("ImageData") or {}
            here = one.get("Available")
            rows.append((
                branch + _platform(data.get("Platform") or {}),
                _id(str(one["ID"]), trunc),
                _shown(_size(one, "Total")) if here else "-",
                _shown(_size(one, "Content")) if here else "-",
                "U" if data.get("Containers") else "",
            ))  # fmt: skip
    widths = [max(len(row[at]) for row in rows) + _GAP for at in range(len(HEAD))]
    for row in rows:
        line = "".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


def _id(identity: str, trunc: bool) -> str:
    return common.short_id(identity) if trunc else identity


def _size(member: dict[str, Any], name: str) -> int:
    return int((member.get("Size") or {}).get(name) or 0)


def _shown(size: int) -> str:
    return units.human_size(size, 3)


def _platform(platform: dict[str, Any]) -> str:
    parts = (platform.get(name) for name in ("os", "architecture", "variant"))
    return "/".join(str(part) for part in parts if part)
