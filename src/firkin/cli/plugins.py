"""Plugins of Docker's client: programs that add commands, such as ``docker-compose``.

A plugin is an executable ``docker-NAME`` in one of the known directories. Called with the single
argument ``docker-cli-plugin-metadata`` it prints a JSON object that says who made it; called as a
command it gets the client's own arguments, global flags included, and finds the engine by itself,
by the same flags, variables and contexts. What it cannot know is where this client looks without
any of them, so that is put into its DOCKER_HOST.

The protocol is that of Docker's "CLI plugins" documentation, schema 0.1.0. A plugin is only
started when it is asked for by name, or to be listed on a help page or in ``info``.
"""

from __future__ import annotations

import os
import sys

from firkin.cli import context, errors
from firkin.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = "docker-"
METADATA = "docker-cli-plugin-metadata"
SCHEMAS = ("0.1.0",)
ORIGINAL = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"
UNIX_DIRECTORIES = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_PATIENCE = 10
_LIMIT = 1 << 20


class Plugin:
    """One plugin. ``problem`` says why it cannot be used; "" if it can."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.vendor = ""
        self.version = ""
        self.short = ""
        self.hidden = False
        self.problem = self._ask()

    def _ask(self) -> str:
        import subprocess

        try:
            done = subprocess.run(
                [self.path, METADATA],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_PATIENCE,
                check=True,
            )
            found = jsontext.loads(done.stdout[:_LIMIT])
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return f"failed to fetch metadata: {error}"
        if not isinstance(found, dict):
            return "failed to fetch metadata: it is no JSON object"
        if found.get("SchemaVersion") not in SCHEMAS:
            return f"plugin SchemaVersion {found.get('SchemaVersion')!r} is not valid"
        if not found.get("Vendor"):
            return "plugin metadata does not define a vendor"
        self.vendor = _line(found["Vendor"])
        self.version = _line(found.get("Version"))
        self.short = _line(found.get("ShortDescription"))
        self.hidden = bool(found.get("Hidden"))
        return ""


def _line(value: object) -> str:
    """A text of a plugin as one line without control characters."""
    text = value if isinstance(value, str) else ""
    return "".join(char if char.isprintable() else " " for char in text)


def directories(cli: context.Cli) -> list[str]:
    """Where plugins are looked for, the first found wins."""
    extra = cli.config.get("cliPluginsExtraDirs")
    found = [str(path) for path in extra] if isinstance(extra, list) else []
    found.append(os.path.join(cli.config_dir, "cli-plugins"))
    if sys.platform == "win32":
        roots = (os.environ.get("PROGRAMDATA"), os.environ.get("PROGRAMFILES"))
        found += [os.path.join(root, "Docker", "cli-plugins") for root in roots if root]
    else:
        found += UNIX_DIRECTORIES
    return found


def _paths(cli: context.Cli) -> dict[str, str]:
    """Every plugin's path by its name."""
    suffix = ".exe" if sys.platform == "win32" else ""
    found: dict[str, str] = {}
    for directory in directories(cli):
        try:
            entries = sorted(os.listdir(directory))
        except OSError:
            continue
        for entry in entries:
            name = entry.removeprefix(PREFIX).removesuffix(suffix)
            if not (entry.startswith(PREFIX) and entry.endswith(suffix)) or not _is_name(name):
                continue
            path = os.path.join(directory, entry)
            if name not in found and os.path.isfile(path) and os.access(path, os.X_OK):
                found[name] = path
    return found


def _is_name(name: str) -> bool:
    return name.isascii() and name.isalnum() and name[0].isalpha() and name == name.lower()


def listing(cli: context.Cli) -> list[Plugin]:
    """All plugins by name, also those that cannot be used."""
    return [Plugin(name, path) for name, path in sorted(_paths(cli).items())]


def find(cli: context.Cli, name: str) -> Plugin | None:
    """The plugin of that name or alias, if there is one that can be used."""
    path = _paths(cli).get(name) if _is_name(name or "-") else None
    if path is None:
        return None
    plugin = Plugin(name, path)
    return None if plugin.problem else plugin


def alias(cli: context.Cli, name: str) -> str:
    """The plugin that the user's configuration calls ``name``, or "" (``"aliases"``)."""
    aliases = cli.config.get("aliases")
    return str(aliases.get(name) or "") if isinstance(aliases, dict) else ""


def run(cli: context.Cli, plugin: Plugin, argv: Sequence[str]) -> int:
    """Become the plugin, with ``argv`` as its arguments, or wait for it where that cannot be."""
    environment = {**os.environ, ORIGINAL: sys.argv[0]}
    if cli.context_name() == context.DEFAULT_CONTEXT and not cli.values.items("host"):
        environment["DOCKER_HOST"] = cli.default_address()
    words = [plugin.path, *argv]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if os.name == "posix":
            os.execve(words[0], words, environment)
        import subprocess

        return subprocess.run(words, env=environment).returncode
    except OSError as error:
        raise errors.CliError(f"cannot run the plugin {plugin.path}: {error.strerror}") from None
