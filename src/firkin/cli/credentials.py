"""Where registries' credentials are kept: in ``config.json``, or by a helper program that it names.

::

    credHelpers   {REGISTRY: HELPER}: the helper of one registry
    credsStore    the helper of all others
    auths         {REGISTRY: {"auth": base64 of "name:password", "identitytoken": ...}}: without one

A helper is the program ``docker-credential-HELPER``; it is called with get, store, erase or list
and speaks JSON. Those of docker.io are kept under the address of its old index.
"""

from __future__ import annotations

import os

from firkin.cli import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

INDEX = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"
_NOT_FOUND = "credentials not found"
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


class NoHelper(errors.CliError):
    """The helper that the configuration names is not installed."""


def key_of(registry: str) -> str:
    """The name under which a registry's credentials are kept."""
    text = registry.strip()
    if not text:
        return INDEX
    host = text.partition("://")[2] if "://" in text else text
    host = host.split("/", 1)[0]
    return INDEX if host in _HUB else host


def registry_of(name: str) -> str:
    """The key for the registry of an image's name."""
    from firkin import errdefs, reference  # which take long to import

    try:
        return key_of(reference.parse(name).domain)
    except errdefs.InvalidParameter:
        return INDEX


def _helper(cli: context.Cli, key: str) -> str:
    helpers = cli.config.get("credHelpers")
    if isinstance(helpers, dict) and isinstance(helpers.get(key), str):
        return str(helpers[key])
    store = cli.config.get("credsStore")
    return store if isinstance(store, str) else ""


def _call(helper: str, verb: str, text: str) -> str:
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb], input=text.encode(), capture_output=True, check=False
        )
    except FileNotFoundError:
        raise NoHelper(
            f"error getting credentials: there is no program {program} on the PATH: install it, or "
            "take credsStore and credHelpers out of the client's config.json"
        ) from None
    out = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        if _NOT_FOUND in out:
            return ""
        said = out or done.stderr.decode("utf-8", "replace").strip()
        raise errors.CliError(f"error {verb} credentials: {program}: {said[:500]}")
    return out


def get(cli: context.Cli, key: str) -> dict[str, str]:
    """The credentials for a registry as the API takes them; empty when there are none."""
    if helper := _helper(cli, key):
        from firkin.client import jsontext

        out = _call(helper, "get", key)
        if not out:
            return {}
        try:
            found = jsontext.loads(out.encode())
            username, secret = str(found["Username"]), str(found["Secret"])
        except (ValueError, KeyError, TypeError):
            raise errors.CliError(
                f"error getting credentials: docker-credential-{helper} gave no valid answer"
            ) from None
        if username == _TOKEN_USER:
            return {"identitytoken": secret, "serveraddress": key}
        return {"username": username, "password": secret, "serveraddress": key}
    auths = cli.config.get("auths")
    if not isinstance(auths, dict):
        return {}
    entry = auths.get(key)
    if entry is None:  # older clients wrote URLs
        entry = next((value for name, value in auths.items() if key_of(name) == key), None)
    return _entry(entry, key) if isinstance(entry, dict) else {}


def _entry(entry: dict[str, Any], key: str) -> dict[str, str]:
    import base64

    found = {"serveraddress": key}
    for name in ("username", "password", "identitytoken", "registrytoken"):
        if isinstance(entry.get(name), str) and entry[name]:
            found[name] = entry[name]
    if isinstance(entry.get("auth"), str) and entry["auth"]:
        try:
            username, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except ValueError:
            colon = ""
        if not colon:
            raise errors.CliError(
                f"the credentials of {key} in config.json are damaged: log in again"
            )
        found.update(username=username, password=password.strip("\0"))
    return found if len(found) > 1 else {}


def every(cli: context.Cli) -> dict[str, dict[str, str]]:
    """The credentials of all registries, for a build: by the key that each is kept under."""
    keys: list[str] = []
    if isinstance(auths := cli.config.get("auths"), dict):
        keys += [str(key) for key in auths]
    if isinstance(helpers := cli.config.get("credHelpers"), dict):
        keys += [str(key) for key in helpers]
    store = cli.config.get("credsStore")
    if isinstance(store, str) and store:
        from firkin.client import jsontext

        listed = jsontext.loads((_call(store, "list", "") or "{}").encode())
        keys += [str(key) for key in listed] if isinstance(listed, dict) else []
    return {key: found for key in dict.fromkeys(keys) if (found := get(cli, key))}


def store(cli: context.Cli, key: str, found: dict[str, str]) -> str:
    """Keep credentials; returns where."""
    if helper := _helper(cli, key):
        import json

        token = found.get("identitytoken", "")
        _call(helper, "store", json.dumps({
            "ServerURL": key,
            "Username": _TOKEN_USER if token else found.get("username", ""),
            "Secret": token or found.get("password", ""),
        }))  # fmt: skip
        _change(cli, key, {})
        return f"docker-credential-{helper}"
    import base64

    entry: dict[str, str] = {}
    token = found.get("identitytoken", "")
    pair = f"{found.get('username', '')}:{'' if token else found.get('password', '')}"
    entry["auth"] = base64.b64encode(pair.encode()).decode()
    if token:
        entry["identitytoken"] = token
    _change(cli, key, entry)
    return os.path.join(cli.config_dir, "config.json")


def erase(cli: context.Cli, key: str) -> bool:
    """Forget credentials; tells whether there were any."""
    there = bool(get(cli, key))
    if helper := _helper(cli, key):
        _call(helper, "erase", key)
    auths = cli.config.get("auths")
    names = [name for name in auths if key_of(name) == key] if isinstance(auths, dict) else []
    if names:
        from firkin.cli import configfile

        assert isinstance(auths, dict)
        left = {name: value for name, value in auths.items() if name not in names}
        configfile.update(cli.config_dir, "auths", left)
    return there or bool(names)


def _change(cli: context.Cli, key: str, entry: dict[str, str]) -> None:
    from firkin.cli import configfile

    auths = cli.config.get("auths")
    changed = {**auths, key: entry} if isinstance(auths, dict) else {key: entry}
    configfile.update(cli.config_dir, "auths", changed)


def header(found: dict[str, str]) -> str:
    """X-Registry-Auth."""
    import base64

    from firkin.client import jsontext

    return base64.urlsafe_b64encode(jsontext.dumps(found).encode()).decode()


def headers(cli: context.Cli, name: str) -> dict[str, str]:
    """The header that a request about the image ``name`` needs; none without credentials."""
    if not any(cli.config.get(key) for key in ("auths", "credsStore", "credHelpers")):
        return {}
    try:
        found = get(cli, registry_of(name))
    except NoHelper as missing:
        cli.warn(f"WARNING: going on without credentials: {missing}")
        return {}
    return {"X-Registry-Auth": header(found)} if found else {}
