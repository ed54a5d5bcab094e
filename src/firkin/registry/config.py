"""The registry's configuration: one TOML file, every part of which has a default.

Unknown names and wrong types are refused with the path of the field, so that a typing error never
leaves a door open.
"""

from __future__ import annotations

import os
import tomllib
from typing import Any, Literal

import msgspec

from firkin import errdefs

DATA = "/var/lib/firkin-registry"


class TLS(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[tls]``: serve HTTPS. Both files are PEM; they are read again at SIGHUP."""

    certificate: str = ""
    key: str = ""


class S3(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[s3]``: keep blobs in this bucket instead of on the disk.

    Keys that are not given here come from where AWS's tools find them, the environment for one.
    """

    bucket: str = ""
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    timeout: float = 30.0
    attempts: int = 4
    redirect: int = 0
    """Let clients fetch blobs from the storage themselves, by links that live so many seconds."""


class Uploads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[uploads]``: sessions that nobody continues are dropped after ``expire`` seconds."""

    expire: int = 24 * 3600


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[auth.rights]]``: what a user of the htpasswd file may do; "*" is every user."""

    user: str
    repositories: str
    actions: list[str]


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[auth]``: who may come in."""

    mode: Literal["none", "htpasswd", "users"] = "none"
    """"none": nobody is asked; "htpasswd": users of a file; "users": those of `registry user`."""
    anonymous: Literal["", "none", "pull", "all"] = ""
    """What may be done without a name; by default "all" in mode "none", else "none"."""
    htpasswd: str = ""
    realm: str = "Firkin registry"
    service: str = "firkin-registry"
    token_lifetime: int = 300
    refresh_lifetime: int = 90 * 24 * 3600
    rights: list[Rule] = []


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[gc.retention]]``: which tags stay. The first rule that fits a tag decides."""

    repositories: str = "*"
    tags: str = "*"
    keep: bool = False
    keep_last: int = 0
    keep_days: float = 0.0


class GC(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[gc]``: garbage collection. Times are in seconds where they do not say days."""

    every: int = 24 * 3600
    """How often the server collects by itself; 0 for never."""
    grace: float = 3600.0
    """How long a blob that no manifest names stays: longer than any push takes."""
    untagged_days: float = -1.0
    """After how many days a manifest without a tag goes; negative: never."""
    retention: list[Retention] = []


class Proxy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[proxy]``: be a pull-through cache of this registry. Nothing can be pushed then."""

    upstream: str = ""
    """``https://HOST[:PORT]``."""
    username: str = ""
    password: str = ""
    ttl: float = 3600.0
    """Seconds after which a tag is compared with the upstream again."""
    expire_days: float = 30.0
    """Days after which what nobody pulled is dropped; 0 for never."""
    timeout: float = 30.0


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[notifications]]``: where pushes and deletions are told to."""

    url: str
    headers: dict[str, str] = {}
    longest_wait: float = 300.0
    """Seconds between tries, at most."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    listen: str = "127.0.0.1:5000"
    """``HOST:PORT``; more of them apart by commas."""
    data: str = DATA
    """Directory of the index, the uploads and, by default, of the blobs."""
    workers: int = 0
    """Worker processes; 0: as many as there are processors, four at most."""
    tls: TLS = TLS()
    s3: S3 = S3()
    url: str = ""
    """The registry's own address as clients see it, behind a proxy for instance."""
    access_log: str = ""
    """File of the access log; "-" for standard output, "" for none."""
    public_metrics: bool = False
    """Whether /metrics needs no name where everything else does."""
    uploads: Uploads = Uploads()
    auth: Auth = Auth()
    gc: GC = GC()
    proxy: Proxy = Proxy()
    notifications: list[Endpoint] = []

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
        made = msgspec.convert(tables, Config)
    except msgspec.ValidationError as error:
        raise errdefs.InvalidParameter(f"{source}: {error}") from None
    for text in (made.auth.realm, made.auth.service):
        if not text.isascii() or not text.isprintable() or '"' in text or "\\" in text:
            raise errdefs.InvalidParameter(f"{source}: {text!r} cannot be part of a header")
    if made.proxy.upstream and not made.proxy.upstream.startswith(("http://", "https://")):
        raise errdefs.InvalidParameter(f"{source}: proxy.upstream is not http(s)://HOST[:PORT]")
    if made.auth.mode == "htpasswd" and not made.auth.htpasswd:
        raise errdefs.InvalidParameter(f"{source}: auth.htpasswd names no file")
    return made
