"""Help pages, made from what the commands declare. Only imported when help is asked for."""

from __future__ import annotations

import os

from firkin.cli import flags, program, registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from firkin.cli import plugins

DEFAULT_WIDTH = 80
MINIMAL_COLUMN = 24


def _terminal_width() -> int:
    """As ``shutil`` has it, which takes long to import: COLUMNS, then the terminal."""
    chosen = os.environ.get("COLUMNS", "")
    if chosen.isascii() and chosen.isdigit() and int(chosen):
        return int(chosen)
    try:
        return os.get_terminal_size(1).columns or DEFAULT_WIDTH
    except OSError:
        return DEFAULT_WIDTH


def page(words: list[str], width: int | None = None, extra: Sequence[plugins.Plugin] = ()) -> str:
    """The help for a command (its words), for a group (one word), or for the program (none).

    The program's page also lists the plugins in ``extra``, those marked that can be used.
    """
    width = width or _terminal_width()
    if not words:
        return _program(width, extra)
    found, _ = registry.find(words)
    if isinstance(found, str):
        return _group(found)
    return _command(found, width)


def _command(found: registry.Found, width: int) -> str:
    command = found.load().COMMAND
    path = f"{program.PROGRAM} {found.path}"
    parts = [f"Usage:  {path} {command.arguments}".rstrip(), command.short]
    names = registry.names(found.group, found.verb)
    if len(names) > 1:
        spelled = ", ".join(f"{program.PROGRAM} {name}" for name in names)
        parts.append(f"Aliases:\n  {spelled}")
    if command.note:
        parts.append(command.note)
    if table := flag_table(command.flags, width):
        parts.append(f"Options:\n{table}")
    return "\n\n".join(parts)


def _group(group: str) -> str:
    about, verbs = registry.GROUPS[group]
    path = f"{program.PROGRAM} {group}"
    table = _commands(
        (verb, registry.load(group, verb).COMMAND.short)
        for verb in verbs
        if (group, verb) not in registry.HIDDEN
    )
    return (
        f"Usage:  {path} COMMAND\n\n{about}\n\nCommands:\n{table}\n\n"
        f"Run '{path} COMMAND --help' for more information on a command."
    )


def _program(width: int, extra: Sequence[plugins.Plugin]) -> str:
    name = program.PROGRAM
    shorts = {top: registry.load(*place).COMMAND.short for top, place in registry.TOP.items()}
    nouns = [(group, about) for group, (about, _) in registry.GROUPS.items()]
    nouns += [(f"{found.name}*", found.short) for found in extra if _is_shown(found)]
    groups = _commands(sorted(nouns))
    broken = _commands((found.name, found.problem) for found in extra if found.problem)
    common = _commands((top, shorts[top]) for top in registry.COMMON)
    others = _commands((top, short) for top, short in shorts.items() if top not in registry.COMMON)
    return (
        f"Usage:  {name} [OPTIONS] COMMAND\n\n"
        "Run and manage containers\n\n"
        f"Common Commands:\n{common}\n\n"
        f"Management Commands:\n{groups}\n\n"
        f"Commands:\n{others}\n\n"
        + (f"Invalid Plugins:\n{broken}\n\n" if broken else "")
        + f"Global Options:\n{flag_table(program.GLOBAL_FLAGS, width)}\n\n"
        f"Run '{name} COMMAND --help' for more information on a command."
    )


def _is_shown(plugin: plugins.Plugin) -> bool:
    return not (plugin.problem or plugin.hidden)


def _commands(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"  {name:<11} {short}" for name, short in rows)


def _wrapped(text: str, room: int) -> list[str]:
    if len(text) <= room:
        return [text] if text else []
    import textwrap

    return textwrap.wrap(text, room, break_long_words=False)


def flag_table(table: Sequence[flags.Flag], width: int) -> str:
    """Flags in alphabetical order, their descriptions wrapped in a column of their own."""
    rows: list[tuple[str, str]] = []
    for flag in sorted(table, key=lambda flag: flag.name):
        if flag.hidden:
            continue
        left = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
        if flag.type_name:
            left += f" {flag.type_name}"
        usage = flag.usage
        if flag.default_text:
            usage += f" (default {flag.default_text})"
        rows.append((left, usage))
    if not rows:
        return ""
    column = max(len(left) for left, _ in rows) + 3
    room = max(width - column - 1, MINIMAL_COLUMN)
    lines: list[str] = []
    for left, usage in rows:
        wrapped = [line for text in usage.split("\n") for line in _wrapped(text, room)]
        lines.append(f"{left:<{column}}{wrapped[0] if wrapped else ''}".rstrip())
        lines += [" " * column + line for line in wrapped[1:]]
    return "\n".join(lines)
