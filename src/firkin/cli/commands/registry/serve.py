"""``registry serve``."""

from __future__ import annotations

from firkin.cli.commands.registry import server

COMMAND = server.command("serve")
run = server.run("serve")
