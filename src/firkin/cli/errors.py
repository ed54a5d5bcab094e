"""Errors that end a command, with the status that the shell gets."""

from __future__ import annotations

FLAG_STATUS = 125
"""What the shell gets when the command line itself is wrong."""


class CliError(Exception):
    """The command failed; print ``str(error)`` and exit with ``status``.

    With ``named`` the program's name is put before the message, and ``hint`` is a closing line
    such as where to find help: the form that users of ``run`` know.
    """

    def __init__(
        self, message: str, status: int = 1, *, named: bool = False, hint: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.named = named
        self.hint = hint


class NoEndpoint(CliError):
    """The configuration does not say where the engine is."""


class FlagError(CliError):
    """A flag is unknown or its value is not acceptable."""

    def __init__(self, message: str) -> None:
        super().__init__(message, FLAG_STATUS)


class ArgumentError(CliError):
    """The number of arguments is wrong. The message lacks its subject, the command's name."""


class Quiet(CliError):
    """Everything was said already; only the status is left to give."""

    def __init__(self, status: int) -> None:
        super().__init__("", status)
