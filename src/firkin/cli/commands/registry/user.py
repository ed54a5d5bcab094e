"""``registry user``."""

from __future__ import annotations

from firkin.cli.commands.registry import server

COMMAND = server.command("user")
run = server.run("user")
