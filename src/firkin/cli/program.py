"""What belongs to the program and to no command: its name and its global flags."""

from __future__ import annotations

from firkin.cli import flags

PROGRAM = "firkin"

LOG_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")
GLOBAL_FLAGS = (
    flags.string("config", "", "Directory of the client's configuration files"),
    flags.string("context", "c", "Context that says where the engine is; instead of --host"),
    flags.boolean("debug", "D", "Show more when something fails"),
    flags.strings("host", "H", "Address of the engine"),
    flags.string("log-level", "l", 'Log level ("debug", "info", "warn", "error", "fatal")', "info"),
    flags.boolean("tls", "", "Use TLS; implied by --tlsverify"),
    flags.string("tlscacert", "", "Trust only certificates signed by this authority"),
    flags.string("tlscert", "", "This client's TLS certificate"),
    flags.string("tlskey", "", "The key of that certificate"),
    flags.boolean("tlsverify", "", "Use TLS and check the engine's certificate"),
    flags.boolean("version", "v", "Print the client's version and quit"),
)
