"""The registry's configuration: one TOML file, every part of which has a default.

Unknown names and wrong types are refused with the path of the field, so that a typing error never
leaves a door open.
"""

from __future__ import annotations

import os
import tomllib
from typing import Any

import msgspec

from firkin import errdefs

DATA = "/var/lib/firkin-registry"


class TLS(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[tls]``: serve HTTPS. Both files are PEM; they are read again at SIGHUP."""

    certificate: str = ""
    key: str = ""


class Uploads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[uploads]``: sessions that nobody continues are dropped after ``expire`` seconds."""

    expire: int = 24 * 3600


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    listen: str = "127.0.0.1:5000"
    """``HOST:PORT``; more of them apart by commas."""
    data: str = DATA
    """Directory of the index, the uploads and, by default, of the blobs."""
    workers: int = 0
    """Worker processes; 0: as many as there are processors, four at most."""
    tls: TLS = TLS()
    uploads: Uploads = Uploads()

    def worker_count(self) -> int:
        """How many processes serve."""
        return self.workers or min(4, len(os.sched_getaffinity(0)))


def load(path: str) -> dict[str, Any]:
    """The tables of a configuration file; ``InvalidParameter`` names what is wrong with it."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise errdefs.InvalidParameter(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errdefs.InvalidParameter(f"{path} is not valid TOML: {error}") from error


def convert(tables: dict[str, Any], source: str = "the configuration") -> Config:
    """Check the tables and fill in the defaults."""
    try:
        return msgspec.convert(tables, Config)
    except msgspec.ValidationError as error:
        raise errdefs.InvalidParameter(f"{source}: {error}") from None
