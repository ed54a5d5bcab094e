"""What may follow on a command line: the answers to the shells' ``__complete``.

The protocol is the one that shells use with Docker's client: the words so far are arguments of
``__complete``, the last one being completed (perhaps empty); the answer is one candidate a line,
with a tab before its description, and then ``:N``, where N says whether files fit too. So scripts
written for one client work with the other.

An engine that cannot be reached has no names to offer; that is no error here.
"""

from __future__ import annotations

from firkin.cli import context, errors, flags, program, registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Names = Callable[[context.Cli], Iterable[str]]

FILES, NO_FILES = 0, 4
"""``FILES`` lets the shell offer files when there is no candidate."""


def answer(argv: list[str], describe: bool = True) -> str:
    """The text for a shell."""
    candidates, directive = complete(argv)
    lines = [
        f"{name}\t{about}" if about and describe else name
        for name, about in candidates
        if name.isprintable()
    ]
    return "\n".join([*lines, f":{directive}"])


def complete(argv: list[str]) -> tuple[list[tuple[str, str]], int]:
    """Candidates for the last of ``argv``, each with its description, and the directive."""
    *before, current = argv or [""]
    words, waiting, table = _walk(before)
    cli = context.Cli(flags.parse(program.GLOBAL_FLAGS, words, interspersed=False)[0])
    if waiting is not None:
        return _values_of(cli, waiting, current)
    name, equals, value = current.partition("=")
    if equals and (flag := next((f for f in table.flags if f"--{f.name}" == name), None)):
        found, directive = _values_of(cli, flag, value)
        return [(f"{name}={candidate}", about) for candidate, about in found], directive
    if current.startswith("-") and (table.interspersed or not table.arguments):
        return _fitting(_flags(table.flags), current), NO_FILES
    if table.place is None:
        return _fitting(_commands(table.group), current), NO_FILES
    return _arguments(cli, table, current)


class _Table:
    """What the words so far lead to: a group, or a command with its flags and arguments."""

    def __init__(self) -> None:
        self.group = ""
        self.place: tuple[str, str] | None = None
        self.flags: tuple[flags.Flag, ...] = program.GLOBAL_FLAGS
        self.interspersed = False
        self.arguments: list[str] = []


def _walk(before: list[str]) -> tuple[list[str], flags.Flag | None, _Table]:
    """The global flags, the flag whose value comes next, and where the words lead."""
    table = _Table()
    leading: list[str] = []
    waiting: flags.Flag | None = None
    for word in before:
        at_top = table.place is None and not table.group
        if waiting is not None:
            waiting = None
        elif word.startswith("-") and word != "-" and (table.interspersed or not table.arguments):
            waiting = _needs_value(table.flags, word)
        elif table.place is None:
            _enter(table, word)
            continue
        else:
            table.arguments.append(word)
        if at_top:
            leading.append(word)
    if waiting is not None and table.place is None and not table.group:
        leading.pop()
    return leading, waiting, table


def _enter(table: _Table, word: str) -> None:
    """Follow a word that names a group or a command; an unknown one leads nowhere."""
    words = [table.group, word] if table.group else [word]
    try:
        found, _ = registry.find(words)
    except registry.Unknown:
        table.place, table.flags = ("", ""), ()
        return
    if isinstance(found, str):
        table.group, table.flags = found, ()
        return
    command = found.load().COMMAND
    table.place = (found.group, found.verb)
    table.flags, table.interspersed = command.flags, command.interspersed


def _needs_value(table: tuple[flags.Flag, ...], word: str) -> flags.Flag | None:
    """The flag that takes the next word, if ``word`` ends with one."""
    if word.startswith("--"):
        name, equals, _ = word[2:].partition("=")
        found = next((flag for flag in table if flag.name == name), None)
        return found if found and found.implied is None and not equals else None
    short = {flag.short: flag for flag in table if flag.short}
    for at, letter in enumerate(word[1:], 2):
        flag = short.get(letter)
        if flag is None:
            return None
        if flag.implied is None:
            return flag if at == len(word) else None
    return None


def _fitting(found: Iterable[tuple[str, str]], current: str) -> list[tuple[str, str]]:
    return [item for item in found if item[0].startswith(current)]


def _flags(table: tuple[flags.Flag, ...]) -> list[tuple[str, str]]:
    visible = [flag for flag in table if not flag.hidden]
    rows = [(f"--{flag.name}", flag.usage.split("\n")[0]) for flag in visible]
    return sorted([*rows, ("--help", "Show this command's help")])


def _commands(group: str) -> list[tuple[str, str]]:
    if group:
        return [
            (verb, registry.load(group, verb).COMMAND.short)
            for verb in registry.GROUPS[group][1]
            if (group, verb) not in registry.HIDDEN
        ]
    rows = [(name, registry.load(*place).COMMAND.short) for name, place in registry.TOP.items()]
    return sorted(rows + [(name, about) for name, (about, _) in registry.GROUPS.items()])


def _values_of(
    cli: context.Cli, flag: flags.Flag, current: str
) -> tuple[list[tuple[str, str]], int]:
    if (names := FLAG_VALUES.get(flag.name)) is not None:
        return _fitting([(name, "") for name in _ask(cli, names)], current), NO_FILES
    return [], FILES if flag.name in FILE_FLAGS else NO_FILES


def _arguments(cli: context.Cli, table: _Table, current: str) -> tuple[list[tuple[str, str]], int]:
    assert table.place is not None
    kinds, repeats = ARGUMENTS.get(table.place, ((), False))
    count = len(table.arguments)
    if count >= len(kinds) and not (repeats and kinds):
        return [], FILES if table.place in FILE_COMMANDS else NO_FILES
    names = _ask(cli, kinds[min(count, len(kinds) - 1)])
    found = [(name, "") for name in names if name not in table.arguments]
    return _fitting(found, current), NO_FILES


def _ask(cli: context.Cli, names: Names) -> list[str]:
    from firkin.client import api, http

    try:
        return sorted(set(names(cli)))
    except (api.APIError, api.ConnectionFailed, http.ProtocolError, errors.CliError, OSError):
        return []


def _containers(*states: str) -> Names:
    """Names of containers in one of these states, or of all."""

    def names(cli: context.Cli) -> Iterable[str]:
        from firkin.client import containers

        filters = {"status": list(states)} if states else None
        for item in containers.listing(cli.client, all=True, filters=filters):
            for name in item.get("Names") or ():
                if "/" not in (name := str(name).removeprefix("/")):
                    yield name

    return names


def _images(cli: context.Cli) -> Iterable[str]:
    from firkin.client import images

    for image in images.list_images(cli.client):
        for name in image.get("RepoTags") or ():
            yield str(name)


def _networks(cli: context.Cli) -> Iterable[str]:
    from firkin.client import networks

    return [str(item.get("Name")) for item in networks.list_networks(cli.client, {})]


def _volumes(cli: context.Cli) -> Iterable[str]:
    from firkin.client import volumes

    return [str(item.get("Name")) for item in volumes.list_volumes(cli.client, {})]


def _contexts(cli: context.Cli) -> Iterable[str]:
    from firkin.cli import contextstore

    return [*cli.contexts.names(), contextstore.DEFAULT]


def _objects(cli: context.Cli) -> Iterable[str]:
    for names in (_containers(), _images, _networks, _volumes):
        yield from names(cli)


def _words(*words: str) -> Names:
    return lambda cli: words


ALL, RUNNING = _containers(), _containers("running")
STOPPED = _containers("created", "exited")

ARGUMENTS: dict[tuple[str, str], tuple[tuple[Names, ...], bool]] = {
    ("", "completion"): ((_words("bash", "fish", "zsh"),), False),
    ("", "inspect"): ((_objects,), True),
    ("container", "attach"): ((RUNNING,), False),
    ("container", "commit"): ((ALL,), False),
    ("container", "create"): ((_images,), False),
    ("container", "exec"): ((RUNNING,), False),
    ("container", "inspect"): ((ALL,), True),
    ("container", "kill"): ((RUNNING,), True),
    ("container", "logs"): ((ALL,), False),
    ("container", "pause"): ((RUNNING,), True),
    ("container", "port"): ((ALL,), False),
    ("container", "rename"): ((ALL,), False),
    ("container", "restart"): ((ALL,), True),
    ("container", "rm"): ((ALL,), True),
    ("container", "run"): ((_images,), False),
    ("container", "start"): ((STOPPED,), True),
    ("container", "stop"): ((RUNNING,), True),
    ("container", "top"): ((RUNNING,), False),
    ("container", "unpause"): ((_containers("paused"),), True),
    ("container", "wait"): ((ALL,), True),
    ("context", "export"): ((_contexts,), False),
    ("context", "inspect"): ((_contexts,), True),
    ("context", "rm"): ((_contexts,), True),
    ("context", "update"): ((_contexts,), False),
    ("context", "use"): ((_contexts,), False),
    ("image", "history"): ((_images,), False),
    ("image", "inspect"): ((_images,), True),
    ("image", "ls"): ((_images,), False),
    ("image", "rm"): ((_images,), True),
    ("image", "save"): ((_images,), True),
    ("image", "tag"): ((_images,), False),
    ("network", "connect"): ((_networks, ALL), False),
    ("network", "disconnect"): ((_networks, ALL), False),
    ("network", "inspect"): ((_networks,), True),
    ("network", "rm"): ((_networks,), True),
    ("volume", "inspect"): ((_volumes,), True),
    ("volume", "rm"): ((_volumes,), True),
}
"""What the arguments of a command name, one kind after the other; true: the last one repeats."""

FILE_COMMANDS = {("context", "export"), ("context", "import"), ("image", "import")}
FILE_FLAGS = {
    "cidfile", "config", "env-file", "iidfile", "input", "label-file", "output", "tlscacert",
    "tlscert", "tlskey", "volume",
}  # fmt: skip
FLAG_VALUES: dict[str, Names] = {
    "context": _contexts,
    "from": _contexts,
    "link": ALL,
    "log-level": _words("debug", "error", "fatal", "info", "warn"),
    "network": _networks,
    "pull": _words("always", "missing", "never"),
    "restart": _words("always", "no", "on-failure", "unless-stopped"),
    "signal": _words("HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"),
    "type": _words("container", "image", "network", "volume"),
    "volumes-from": ALL,
}
