"""``registry gc``."""

from __future__ import annotations

from firkin.cli.commands.registry import server

COMMAND = server.command("gc")
run = server.run("gc")
