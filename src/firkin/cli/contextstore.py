"""Contexts: named engines, kept in the files that Docker's client keeps them in.

::

    contexts/meta/DIGEST/meta.json             {"Name", "Metadata", "Endpoints": {"docker": ...}}
    contexts/tls/DIGEST/docker/{ca,cert,key}.pem

DIGEST is the SHA-256 of the name. The context "default" has no files: it is what flags and
environment say. Both clients may use the same directory at the same time; a file is replaced in
one step.
"""

from __future__ import annotations

import os

from firkin.cli import errors
from firkin.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Meta = dict[str, Any]

DEFAULT = "default"
DEFAULT_DESCRIPTION = "Current DOCKER_HOST based configuration"
ENDPOINT = "docker"
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")
IN_MEMORY = "<IN MEMORY>"
_NAME = "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"
_FILE_LIMIT = 10 << 20


class NotFound(errors.CliError):
    """There is no such context."""


def check_name(name: str) -> None:
    """Refuse a name for a new context that isn't one."""
    if name == DEFAULT:
        raise errors.CliError(f'"{DEFAULT}" is a reserved context name')
    plain = name.replace("_", "a").replace(".", "a").replace("+", "a").replace("-", "a")
    if len(name) < 2 or not (name.isascii() and plain.isalnum() and name[0].isalnum()):
        raise errors.CliError(
            f'context name "{name}" is invalid, names are validated against regexp "{_NAME}"'
        )


def new(name: str, description: str = "", host: str = "", skip_verify: bool = False) -> Meta:
    """The metadata of a context."""
    return {
        "Name": name,
        "Metadata": {"Description": description} if description else {},
        "Endpoints": {ENDPOINT: {"Host": host, "SkipTLSVerify": skip_verify}},
    }


def endpoint(meta: Meta) -> dict[str, Any]:
    """Where the engine of a context is: Host and SkipTLSVerify."""
    endpoints = meta.get("Endpoints")
    found = endpoints.get(ENDPOINT) if isinstance(endpoints, dict) else None
    return found if isinstance(found, dict) else {}


def description(meta: Meta) -> str:
    metadata = meta.get("Metadata")
    return str(metadata.get("Description") or "") if isinstance(metadata, dict) else ""


class Store:
    """The contexts below one configuration directory."""

    def __init__(self, config_dir: str) -> None:
        self._root = os.path.join(config_dir, "contexts")

    def meta_dir(self, name: str) -> str:
        return os.path.join(self._root, "meta", _digest(name))

    def tls_dir(self, name: str) -> str:
        return os.path.join(self._root, "tls", _digest(name))

    def names(self) -> list[str]:
        """All contexts with files, in the order that Docker's client shows them."""
        from firkin.cli import ordering

        found = []
        top = os.path.join(self._root, "meta")
        for entry in os.listdir(top) if os.path.isdir(top) else ():
            try:
                found.append(str(_read(os.path.join(top, entry, "meta.json"))["Name"]))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError) as error:
                raise errors.CliError(
                    f"cannot read the context in {top}/{entry}: {error}"
                ) from None
        return sorted(found, key=ordering.natural)

    def exists(self, name: str) -> bool:
        return os.path.exists(os.path.join(self.meta_dir(name), "meta.json"))

    def load(self, name: str) -> Meta:
        path = os.path.join(self.meta_dir(name), "meta.json")
        try:
            return _read(path)
        except FileNotFoundError:
            raise NotFound(
                f'context "{name}": context not found: open {path}: no such file or directory'
            ) from None
        except (OSError, ValueError) as error:
            raise errors.CliError(f'context "{name}": {path}: {error}') from None

    def save(self, meta: Meta) -> None:
        import json

        directory = self.meta_dir(meta["Name"])
        os.makedirs(directory, exist_ok=True)
        text = json.dumps(meta, separators=(",", ":"), ensure_ascii=False)
        _write(os.path.join(directory, "meta.json"), text.encode(), 0o644)

    def tls_files(self, name: str) -> dict[str, list[str]]:
        """The names of the TLS files of each endpoint."""
        found = {}
        top = self.tls_dir(name)
        for entry in sorted(os.listdir(top)) if os.path.isdir(top) else ():
            if files := sorted(os.listdir(os.path.join(top, entry))):
                found[entry] = files
        return found

    def tls_path(self, name: str, file: str) -> str:
        """The path of a TLS file of the engine's endpoint, or "" if it isn't there."""
        path = os.path.join(self.tls_dir(name), ENDPOINT, file)
        return path if os.path.isfile(path) else ""

    def save_tls(self, name: str, files: dict[str, bytes]) -> None:
        """Replace all TLS files of the engine's endpoint."""
        import shutil

        shutil.rmtree(self.tls_dir(name), ignore_errors=True)
        if not files:
            return
        directory = os.path.join(self.tls_dir(name), ENDPOINT)
        for path in (os.path.join(self._root, "tls"), self.tls_dir(name), directory):
            os.makedirs(path, mode=0o700, exist_ok=True)
        for file, content in files.items():
            _write(os.path.join(directory, file), content, 0o600)

    def load_tls(self, name: str) -> dict[str, bytes]:
        found = {}
        for file in TLS_FILES:
            if path := self.tls_path(name, file):
                found[file] = read_file(path)
        return found

    def remove(self, name: str) -> None:
        import shutil

        for directory in (self.meta_dir(name), self.tls_dir(name)):
            if os.path.isdir(directory):
                shutil.rmtree(directory)


def read_file(path: str) -> bytes:
    """A small file that the user named. Raises CliError."""
    try:
        with open(os.path.expanduser(path), "rb") as file:
            content = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise errors.CliError(f"open {path}: {reason}") from None
    if len(content) > _FILE_LIMIT:
        raise errors.CliError(f"{path} is larger than {_FILE_LIMIT >> 20} MiB")
    return content


def _digest(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: str) -> Meta:
    with open(path, "rb") as file:
        value = jsontext.loads(file.read(_FILE_LIMIT))
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    return value


def _write(path: str, content: bytes, mode: int) -> None:
    temporary = f"{path}.tmp{os.getpid()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(handle, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
