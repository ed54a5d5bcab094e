"""``registry scrub``."""

from __future__ import annotations

from firkin.cli.commands.registry import server

COMMAND = server.command("scrub")
run = server.run("scrub")
