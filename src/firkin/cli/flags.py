"""Command line flags, with the grammar that users of Docker's client have in their fingers.

* ``--name value``, ``--name=value``; ``-n value``, ``-nvalue``, ``-n=value``; ``-it`` is ``-i -t``.
* A boolean takes a value only behind ``=``: ``--rm=false``.
* ``--`` ends the flags. Commands that run something (``interspersed=False``) also end them at the
  first argument, so that what follows belongs to the program in the container.

A command declares a tuple of ``Flag``; ``parse`` returns ``Values`` and the arguments. Values know
which flags were given (``changed``), for often an explicit default means something else than none.
Help is not made here: see ``help``, which only runs when asked for.
"""

from __future__ import annotations

from firkin.cli import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Parse = Callable[[str, Any], Any]

TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class HelpRequested(Exception):
    """``--help`` was among the flags."""


class Flag:
    """One flag.

    ``parse(text, previous)`` returns the new value, where ``previous`` is the value so far (for
    lists), and raises ``ValueError`` with the reason when the text will not do. ``implied`` is the
    text assumed when the flag is given without ``=value``; only booleans have one.
    """

    __slots__ = (
        "default",
        "default_text",
        "hidden",
        "implied",
        "name",
        "parse",
        "short",
        "type_name",
        "usage",
    )

    def __init__(
        self,
        name: str,
        short: str,
        usage: str,
        type_name: str,
        default: Any,
        parse: Parse,
        *,
        default_text: str = "",
        implied: str | None = None,
        hidden: bool = False,
    ) -> None:
        self.name = name
        self.short = short
        self.usage = usage
        self.type_name = type_name
        self.default = default
        self.parse = parse
        self.default_text = default_text
        self.implied = implied
        self.hidden = hidden

    def spelled(self) -> str:
        """The flag as messages show it."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Values:
    """The value of every flag of a command, given or default."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self._values: dict[str, Any] = {flag.name: flag.default for flag in flags}
        self._changed: set[str] = set()

    def set(self, flag: Flag, text: str) -> None:
        previous = self._values[flag.name] if flag.name in self._changed else flag.default
        try:
            self._values[flag.name] = flag.parse(text, previous)
        except ValueError as error:
            raise errors.FlagError(
                f"invalid argument {quoted(text)} for {quoted(flag.spelled())} flag: {error}"
            ) from None
        self._changed.add(flag.name)

    def changed(self, name: str) -> bool:
        """True if the flag was given."""
        return name in self._changed

    def get(self, name: str) -> Any:
        return self._values[name]

    def flag(self, name: str) -> bool:
        return bool(self._values[name])

    def text(self, name: str) -> str:
        return str(self._values[name])

    def number(self, name: str) -> int:
        return int(self._values[name])

    def items(self, name: str) -> list[str]:
        """The values of a list flag, in the order given."""
        return list(self._values[name])


class Arity:
    """How many arguments a command takes."""

    def __init__(self, least: int, most: int | None) -> None:
        self.least = least
        self.most = most

    def check(self, count: int) -> None:
        """Raise ``ArgumentError`` unless ``count`` will do."""
        least, most = self.least, self.most
        if count >= least and (most is None or count <= most):
            return
        if most == 0:
            message = "accepts no arguments"
        elif most is None:
            message = f"requires at least {_arguments(least)}"
        elif least == most:
            message = f"requires {_arguments(least)}"
        elif least == 0:
            message = f"requires at most {_arguments(most)}"
        else:
            message = f"requires at least {least} and at most {_arguments(most)}"
        raise errors.ArgumentError(message)


def none() -> Arity:
    return Arity(0, 0)


def exactly(count: int) -> Arity:
    return Arity(count, count)


def at_least(count: int) -> Arity:
    return Arity(count, None)


def between(least: int, most: int) -> Arity:
    return Arity(least, most)


class Command:
    """What a command module declares: its flags, its arguments and a line on what it does.

    ``note`` is more for its help page, before the flags.
    """

    def __init__(
        self,
        arguments: str,
        short: str,
        flags: tuple[Flag, ...] = (),
        arity: Arity | None = None,
        *,
        interspersed: bool = True,
        engine_status: int = 1,
        note: str = "",
    ) -> None:
        self.arguments = arguments
        self.short = short
        self.flags = flags
        self.arity = arity
        self.interspersed = interspersed
        self.engine_status = engine_status
        self.note = note


def boolean(
    name: str, short: str, usage: str, default: bool = False, *, hidden: bool = False
) -> Flag:
    shown = "true" if default else ""
    return Flag(
        name, short, usage, "", default, parse_bool, default_text=shown, implied="true",
        hidden=hidden,
    )  # fmt: skip


def string(
    name: str,
    short: str,
    usage: str,
    default: str = "",
    *,
    type_name: str = "string",
    hidden: bool = False,
) -> Flag:
    shown = quoted(default) if default else ""
    return Flag(
        name, short, usage, type_name, default, _parse_text, default_text=shown, hidden=hidden
    )


def integer(
    name: str,
    short: str,
    usage: str,
    default: int = 0,
    *,
    bits: int = 64,
    signed: bool = True,
    type_name: str = "",
    hidden: bool = False,
) -> Flag:
    def parse(text: str, _: Any) -> int:
        return parse_integer(text, bits, signed)

    type_name = type_name or ("int" if signed else "uint")
    shown = str(default) if default else ""
    return Flag(name, short, usage, type_name, default, parse, default_text=shown, hidden=hidden)


def strings(
    name: str,
    short: str,
    usage: str,
    check: Callable[[str], str] | None = None,
    *,
    type_name: str = "list",
    default_text: str = "",
    hidden: bool = False,
) -> Flag:
    """A flag that may be given many times. ``check`` normalises one value, or raises ValueError."""

    def parse(text: str, previous: Any) -> list[str]:
        return [*previous, check(text) if check else text]

    return Flag(name, short, usage, type_name, [], parse, default_text=default_text, hidden=hidden)


def many(
    name: str,
    short: str,
    usage: str,
    convert: Callable[[str], Any],
    *,
    type_name: str = "list",
    default_text: str = "",
) -> Flag:
    """A flag that may be given many times, each value converted to something else."""

    def parse(text: str, previous: Any) -> list[Any]:
        return [*previous, convert(text)]

    return Flag(name, short, usage, type_name, [], parse, default_text=default_text)


def converted(
    name: str,
    short: str,
    usage: str,
    convert: Callable[[str], Any],
    default: Any,
    type_name: str,
    default_text: str = "",
    *,
    hidden: bool = False,
) -> Flag:
    """A flag whose text ``convert`` makes into a value; the last one given counts."""

    def parse(text: str, _: Any) -> Any:
        return convert(text)

    return Flag(
        name, short, usage, type_name, default, parse, default_text=default_text, hidden=hidden
    )


def quoted(text: str) -> str:
    """``text`` in double quotes, with what would break the line escaped."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in escaped) + '"'


def parse_bool(text: str, _: object = None) -> bool:
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quoted(text)}: invalid syntax")


def parse_integer(text: str, bits: int = 64, signed: bool = True) -> int:
    """A whole number as Go's ``strconv`` reads it with base 0: ``12``, ``0x1f``, ``017``."""
    function = "ParseInt" if signed else "ParseUint"
    problem = f"strconv.{function}: parsing {quoted(text)}: "
    digits = text.lower()
    if digits[:1] in ("+", "-") and signed:
        digits = digits[1:]
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
    if not digits.isascii() or not digits[:1].isdigit() or len(digits) > 100:
        raise ValueError(problem + "invalid syntax")
    try:
        value = int(digits, 8 if octal else 0)
    except ValueError:
        raise ValueError(problem + "invalid syntax") from None
    if signed and text.startswith("-"):
        value = -value
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= value <= high:
        raise ValueError(problem + "value out of range")
    return value


def parse(
    flags: Sequence[Flag], argv: Sequence[str], *, interspersed: bool = True
) -> tuple[Values, list[str]]:
    """Split ``argv`` into flag values and arguments. Raises ``FlagError`` or ``HelpRequested``."""
    values = Values(flags)
    long = {flag.name: flag for flag in flags}
    short = {flag.short: flag for flag in flags if flag.short}
    arguments: list[str] = []
    rest = list(argv)
    rest.reverse()
    while rest:
        word = rest.pop()
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            if not interspersed:
                break
        elif word.startswith("--"):
            _parse_long(word, rest, long, values)
        else:
            _parse_short(word, rest, short, values)
    rest.reverse()
    return values, arguments + rest


def _parse_long(word: str, rest: list[str], flags: dict[str, Flag], values: Values) -> None:
    name, equals, text = word[2:].partition("=")
    if not name or name[0] == "-":
        raise errors.FlagError(f"bad flag syntax: {word}")
    flag = flags.get(name)
    if flag is None:
        if name == "help" and (not equals or text in TRUE):
            raise HelpRequested
        raise errors.FlagError(f"unknown flag: --{name}")
    if not equals:
        if flag.implied is not None:
            text = flag.implied
        elif rest:
            text = rest.pop()
        else:
            raise errors.FlagError(f"flag needs an argument: --{name}")
    values.set(flag, text)


def _parse_short(word: str, rest: list[str], flags: dict[str, Flag], values: Values) -> None:
    bundle = word[1:]
    while bundle:
        letter, bundle = bundle[0], bundle[1:]
        flag = flags.get(letter)
        if flag is None:
            if letter == "h":
                raise HelpRequested
            shown = letter if letter.isprintable() else ascii(letter)[1:-1]
            raise errors.FlagError(f"unknown shorthand flag: '{shown}' in -{letter}{bundle}")
        if len(bundle) > 1 and bundle[0] == "=":
            values.set(flag, bundle[1:])
            return
        if flag.implied is not None:
            values.set(flag, flag.implied)
            continue
        if bundle:
            values.set(flag, bundle)
            return
        if not rest:
            raise errors.FlagError(f"flag needs an argument: '{letter}' in {word}")
        values.set(flag, rest.pop())
        return


def _parse_text(text: str, _: Any) -> str:
    return text


def _arguments(count: int) -> str:
    return f"{count} argument" if count == 1 else f"{count} arguments"
