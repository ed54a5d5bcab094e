"""Where plug-ins are: the files by which they register themselves.

A plug-in named NAME is one of these, the first that exists (Docker's plugin API, "Plugin
discovery"):

* a Unix socket ``NAME.sock`` in :data:`SOCKETS`, or in a folder NAME there;
* ``NAME.spec`` in one of :data:`SPECS`, or in a folder NAME there: one line with its address, such
  as ``unix:///run/x.sock`` or ``tcp://localhost:8080``;
* ``NAME.json`` likewise: ``{"Name", "Addr", "TLSConfig": {"InsecureSkipVerify", "CAFile",
  "CertFile", "KeyFile"}}``.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence

import msgspec

from firkin import errdefs
from firkin.types import base

SOCKETS = ("/run/docker/plugins",)
SPECS = ("/etc/docker/plugins", "/usr/lib/docker/plugins")

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_MAX_SPEC = 64 << 10


class TLS(msgspec.Struct, frozen=True, rename={
    "insecure_skip_verify": "InsecureSkipVerify", "ca_file": "CAFile",
    "cert_file": "CertFile", "key_file": "KeyFile",
}):  # fmt: skip
    """How to speak TLS with a plug-in; paths of PEM files, "" for none."""

    insecure_skip_verify: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class Address(msgspec.Struct, frozen=True):
    """A plug-in's address: ``unix:///PATH``, ``http://HOST[:PORT]`` or ``https://HOST[:PORT]``."""

    url: str
    tls: TLS | None = None


class _Spec(msgspec.Struct, rename={"addr": "Addr", "tls": "TLSConfig"}):
    addr: str
    tls: TLS | None = None


def find(name: str, *, sockets: Sequence[str] = SOCKETS, specs: Sequence[str] = SPECS) -> Address:
    """The address of the plug-in of that name.

    Raises ``NotFound`` when there is no such plug-in, and ``InvalidParameter`` when its file can't
    be used.
    """
    if _NAME.fullmatch(name):
        for directory in sockets:
            for path in _paths(directory, name, ".sock"):
                if _is_socket(path):
                    return Address(f"unix://{path}")
        for directory in specs:
            for path in (*_paths(directory, name, ".spec"), *_paths(directory, name, ".json")):
                text = _read(path)
                if text is not None:
                    return _parse(path, text)
    raise errdefs.NotFound(
        f"plugin {name!r} not found: there is no {name}.sock in {' or '.join(sockets)}, and no "
        f"{name}.spec or {name}.json in {' or '.join(specs)}"
    )


def names(*, sockets: Sequence[str] = SOCKETS, specs: Sequence[str] = SPECS) -> list[str]:
    """The names of all plug-ins that have registered themselves, sorted."""
    found: set[str] = set()
    for directories, endings in ((sockets, (".sock",)), (specs, (".spec", ".json"))):
        for directory in directories:
            for entry in _entries(directory):
                stem, ending = os.path.splitext(entry.name)
                if ending in endings and _NAME.fullmatch(stem):
                    found.add(stem)
                elif any(
                    os.path.exists(os.path.join(entry.path, entry.name + ending))
                    for ending in endings
                ):
                    found.add(entry.name)
    return sorted(found)


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []


def _paths(directory: str, name: str, ending: str) -> tuple[str, str]:
    return (
        os.path.join(directory, name + ending),
        os.path.join(directory, name, name + ending),
    )


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_SPEC)
    except OSError:
        return None


def _parse(path: str, text: bytes) -> Address:
    if path.endswith(".spec"):
        return _address(path, text.decode("utf-8", "replace").strip(), None)
    try:
        spec = base.decode(_Spec, text)
    except errdefs.InvalidParameter as error:
        raise errdefs.InvalidParameter(f"plugin file {path}: {error}") from error
    return _address(path, spec.addr, spec.tls)


def _address(path: str, url: str, tls: TLS | None) -> Address:
    scheme, found, rest = url.partition("://")
    if found and scheme == "unix" and rest.startswith("/"):
        return Address(url)
    if found and rest and scheme in ("tcp", "http", "https"):
        if scheme == "tcp":
            scheme = "https" if tls is not None else "http"
        return Address(f"{scheme}://{rest.rstrip('/')}", tls)
    raise errdefs.InvalidParameter(
        f"plugin file {path}: cannot use the address {url[:200]!r}: use unix:///PATH, "
        "tcp://HOST:PORT or https://HOST:PORT"
    )
