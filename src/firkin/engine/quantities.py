"""Amounts of disk in the configuration: bytes with a unit, or a share of the file system."""

from __future__ import annotations

import os
import re

from firkin import errdefs
from firkin.volumes import local

_SHARE = re.compile(r"(\d{1,3})(?:\.\d+)?%")


def check(text: str, name: str) -> None:
    """Raises ``InvalidParameter`` for what :func:`parse` would not take. "" is no amount."""
    if not text:
        return
    if _SHARE.fullmatch(text):
        if not 0 < float(text[:-1]) <= 100:
            raise errdefs.InvalidParameter(f"{name}: {text}: a share is from 1% to 100%")
        return
    try:
        local.parse_size(text)
    except errdefs.InvalidParameter:
        raise errdefs.InvalidParameter(
            f"{name}: {text!r}: use bytes with a unit, such as 20GB (units are powers of 1024), or "
            "a share of the file system, such as 80%"
        ) from None


def parse(text: str, directory: str) -> int:
    """Bytes; a share is one of the file system that holds ``directory``. 0 for none. Blocks."""
    if not text:
        return 0
    if text.endswith("%"):
        found = os.statvfs(directory)
        return int(found.f_blocks * found.f_frsize * float(text[:-1]) / 100)
    return local.parse_size(text)


def free(directory: str) -> int:
    """Bytes that are free on the file system of ``directory``, root's reserve apart. Blocks."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def show(size: float) -> str:
    """An amount for people, with the units of :func:`parse`."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(size) < 1024:
            return f"{size:.4g}{unit}"
        size /= 1024
    return f"{size:.4g}TB"
