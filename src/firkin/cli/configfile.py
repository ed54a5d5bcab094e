"""``config.json``, the file that Docker's client has: read leniently, changed without loss.

Other programs keep their own settings in it (credentials, plugins). A change therefore keeps every
key that it isn't about, and the file is replaced in one step, so that nobody reads half of it.
"""

from __future__ import annotations

import os
import sys

from firkin.cli import errors
from firkin.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "config.json"
_KINDS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (
        str,
        (
            "psFormat", "imagesFormat", "networksFormat", "volumesFormat", "statsFormat",
            "secretFormat", "credsStore", "detachKeys", "currentContext",
        ),
    ),
    (dict, ("auths", "HttpHeaders", "credHelpers", "proxies", "plugins", "aliases")),
)  # fmt: skip
"""What the settings are that this client reads."""


def read(directory: str) -> dict[str, Any]:
    """The settings; empty when there is no file, and with a warning when it is no such file."""
    path = os.path.join(directory, NAME)
    try:
        with open(path, "rb") as file:
            text = file.read()
        value = jsontext.loads(text) if text.strip() else {}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        sys.stderr.write(f"WARNING: Error loading config file: open {path}: {why}\n")
        return {}
    except ValueError as error:
        sys.stderr.write(f"WARNING: Error parsing config file ({path}): {error}\n")
        return {}
    if not isinstance(value, dict):
        sys.stderr.write(f"WARNING: Error parsing config file ({path}): it holds no JSON object\n")
        return {}
    for name, kind in ((name, kind) for kind, names in _KINDS for name in names):
        if name in value and not isinstance(value[name], kind | None):
            what = "text" if kind is str else "an object"
            why = f"{name} is not {what}; it is ignored"
            sys.stderr.write(f"WARNING: Error parsing config file ({path}): {why}\n")
            del value[name]
    return value


def update(directory: str, name: str, value: object) -> None:
    """Set one setting, or remove it with the value ``None``.

    Raises CliError when the file that is there cannot be understood: what is in it must not be
    lost.
    """
    import json
    import tempfile

    path = os.path.realpath(os.path.join(directory, NAME))
    settings: dict[str, Any] = {}
    try:
        with open(path, "rb") as file:
            settings = json.loads(file.read())
        if not isinstance(settings, dict):
            raise ValueError("it holds no JSON object")
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise errors.CliError(f"{path} is not changed, for it is damaged: {error}") from None
    settings.setdefault("auths", {})
    if value is None:
        settings.pop(name, None)
    else:
        settings[name] = value
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=NAME, dir=os.path.dirname(path))
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(settings, file, indent="\t", ensure_ascii=False)
        _keep_owner(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _keep_owner(path: str, temporary: str) -> None:
    """Give the new file the mode and owner of the old one."""
    try:
        old = os.stat(path)
        os.chmod(temporary, old.st_mode & 0o777)
        if hasattr(os, "chown"):
            os.chown(temporary, old.st_uid, old.st_gid)
    except OSError:
        pass  # There is none, or it is someone else's: the new one is private to this user.
