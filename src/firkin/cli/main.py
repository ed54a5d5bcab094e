"""The entry point of ``firkin``: global flags, the choice of the command, errors to exit status."""

from __future__ import annotations

import codecs
import os
import sys

from firkin.cli import context, errors, flags, program, registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn, TextIO

PIPE_STATUS = 141
INTERRUPT_STATUS = 130


def main() -> NoReturn:
    """Run the client on ``sys.argv`` and end the process with its status.

    The interpreter is left at once: taking it down in order costs several milliseconds and does
    nothing for a process whose output is flushed and whose sockets the system closes.
    """
    status = _main()
    try:
        sys.stderr.flush()
    finally:
        os._exit(status)


def _main() -> int:
    _fill_standard_streams()
    codecs.register_error("firkin", _unencodable)
    for stream in (sys.stdout, sys.stderr):
        # The same bytes everywhere, whatever the locale and the system's line ends are.
        stream.reconfigure(  # type: ignore[union-attr]
            encoding="utf-8", errors="firkin", newline="\n"
        )
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
        return PIPE_STATUS
    except KeyboardInterrupt:
        _abandon_output()
        return INTERRUPT_STATUS
    except OSError as error:
        _abandon_output()
        sys.stderr.write(f"{program.PROGRAM}: cannot write the output: {error.strerror or error}\n")
        return 1
    return status


def _unencodable(error: UnicodeError) -> tuple[bytes, int]:
    """What is written for characters that have no UTF-8.

    Bytes of the command line that are none pass through; names come from strangers, and one that
    cannot be shown must not end the command.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    made = bytearray()
    for char in error.object[error.start : error.end]:
        byte = ord(char) - 0xDC00
        made += bytes((byte,)) if 0x80 <= byte <= 0xFF else b"\xef\xbf\xbd"
    return bytes(made), error.end


def _fill_standard_streams() -> None:
    """Put the null device where a standard stream is closed.

    Otherwise the next socket would get that number, and be taken for the stream.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if fd == 0 else os.O_WRONLY)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def run(argv: Sequence[str]) -> int:
    """Run one command line; everything that may go wrong ends as a message and a status."""
    try:
        values, words = flags.parse(program.GLOBAL_FLAGS, argv, interspersed=False)
    except flags.HelpRequested:
        return _help([], values=flags.Values(program.GLOBAL_FLAGS))
    except errors.FlagError as error:
        usage = f"{program.PROGRAM} [OPTIONS] COMMAND [ARG...]"
        more = f"Run '{program.PROGRAM} --help' for more information"
        return _fail(f"{error}\n\nUsage:  {usage}\n\n{more}", error.status)
    if values.flag("version") and not words:
        import firkin

        print(f"Firkin version {firkin.__version__}")
        return 0
    if values.text("log-level") not in program.LOG_LEVELS:
        return _fail(
            f"Unable to parse logging level: {values.text('log-level')} (want one of "
            + ", ".join(program.LOG_LEVELS)
            + ")",
            1,
        )
    if not words:
        return _help([], sys.stderr, values)
    if words[0] == "help":
        return _help(words[1:], values=values)
    if words[0] in ("__complete", "__completeNoDesc"):
        from firkin.cli import completion

        given = list(argv[: len(argv) - len(words)])
        print(completion.answer(given + words[1:], words[0] == "__complete"))
        return 0
    try:
        found, rest = registry.find(words)
    except registry.Unknown as unknown:
        status = None if unknown.path else _run_plugin(context.Cli(values), argv, words)
        return _unknown(unknown) if status is None else status
    if isinstance(found, str):
        return _run_group(found, rest)
    return run_command(context.Cli(values), found, rest)


def run_command(cli: context.Cli, found: registry.Found, argv: list[str]) -> int:
    """Parse a command's own words and run it."""
    module = found.load()
    command = module.COMMAND
    path = f"{program.PROGRAM} {found.path}"
    usage = f"Usage:  {path} {command.arguments}".rstrip()
    more = f"Run '{path} --help' for more information"
    try:
        values, args = flags.parse(command.flags, argv, interspersed=command.interspersed)
        if command.arity:
            command.arity.check(len(args))
    except flags.HelpRequested:
        return _help(found.path.split())
    except errors.ArgumentError as error:
        return _fail(f"{program.PROGRAM}: '{path}' {error}\n\n{usage}\n\n{more}", error.status)
    except errors.FlagError as error:
        return _fail(f"{error}\n\n{usage}\n\n{more}", error.status)
    try:
        return module.run(cli, values, args)
    except errors.Quiet as quiet:
        return quiet.status
    except errors.CliError as error:
        return _report(str(error), error.status, more, error.named, error.hint)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except OSError as error:
        if cli.debug:
            raise
        return _report(_describe(error), command.engine_status, more)
    except Exception as error:
        message = describe_engine_error(error)
        if message is None:
            raise
        return _report(message, command.engine_status, more)


def describe_engine_error(error: BaseException) -> str | None:
    """The message of an error that the user can act on; ``None`` for a fault of ours."""
    from firkin import errdefs
    from firkin.client import api, http

    if isinstance(error, errdefs.FirkinError):
        return str(error)
    if isinstance(error, api.APIError):
        if str(error).startswith("invalid reference format"):
            return str(error)  # the official client says so itself
        return f"Error response from daemon: {error}"
    if isinstance(error, api.ConnectionFailed | http.ProtocolError):
        return str(error)
    return None


def _report(message: str, status: int, more: str, named: bool = False, hint: bool = False) -> int:
    if named or status == errors.FLAG_STATUS:
        message = f"{program.PROGRAM}: {message}"
        hint = hint or status == errors.FLAG_STATUS
    return _fail(f"{message}\n\n{more}" if hint else message, status)


def _describe(error: OSError) -> str:
    if error.filename is not None and error.strerror:
        return f"open {error.filename}: {error.strerror.lower()}"
    return f"cannot write the output: {error.strerror.lower()}" if error.strerror else str(error)


def _fail(message: str, status: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    return status


def _run_group(group: str, rest: list[str]) -> int:
    try:
        flags.parse((), rest)
    except flags.HelpRequested:
        return _help([group])
    except errors.FlagError as error:
        path = f"{program.PROGRAM} {group}"
        return _fail(
            f"{error}\n\nUsage:  {path} COMMAND\n\nRun '{path} --help' for more information",
            error.status,
        )
    return _help([group], sys.stderr)


def _unknown(unknown: registry.Unknown) -> int:
    path = f"{program.PROGRAM} {unknown.path}".rstrip()
    lines = [f"{program.PROGRAM}: unknown command: {path} {unknown.word}"]
    if close := registry.similar(unknown.path, unknown.word):
        lines += ["", "Did you mean this?", *(f"    {program.PROGRAM} {name}" for name in close)]
    if unknown.path:
        lines += ["", f"Usage:  {path}"]
    lines += ["", f"Run '{path} --help' for more information"]
    return _fail("\n".join(lines), 1)


def _run_plugin(cli: context.Cli, argv: Sequence[str], words: list[str]) -> int | None:
    """Run the plugin that a command line names; ``None`` if there is none of that name."""
    from firkin.cli import plugins

    other = plugins.alias(cli, words[0])
    plugin = plugins.find(cli, other or words[0])
    if plugin is None:
        return None
    given = list(argv)
    if other:
        given[len(argv) - len(words)] = other
    try:
        return plugins.run(cli, plugin, given)
    except errors.CliError as error:
        return _fail(str(error), error.status)


def _help(words: list[str], out: TextIO | None = None, values: flags.Values | None = None) -> int:
    """Show a help page; one that nobody asked for goes to standard error."""
    from firkin.cli import help, plugins

    cli = context.Cli(values) if values is not None else None
    try:
        extra = plugins.listing(cli) if cli and not words else ()
        print(help.page(words, extra=extra), file=out or sys.stdout)
    except registry.Unknown as unknown:
        if cli and not unknown.path:
            status = _run_plugin(cli, ["help", *words], words)
            if status is not None:
                return status
        return _unknown(unknown)
    return 0


def _abandon_output() -> None:
    """Let nothing more be written: the interpreter flushes at exit, into a pipe nobody reads."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    except OSError:
        pass


if __name__ == "__main__":
    main()
