"""Changes to an image's config written as Dockerfile instructions (``--change``).

Understood are those that only touch the config; variables are those of the image's environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from firkin import errdefs
from firkin.dockerfile import errors, instructions, parser, runconfig
from firkin.types import image as types
from firkin.types import shell

ALLOWED = frozenset(
    {
        "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL",
        "USER", "VOLUME", "WORKDIR",
    }
)  # fmt: skip


def apply(config: types.RunConfig, changes: Iterable[str]) -> None:
    """Apply ``changes``, each one or more lines, to ``config`` in place.

    Raises ``InvalidParameter`` that quotes the instruction.
    """
    text = "\n".join(changes)
    if not text.strip():
        return
    command_set = False
    for node in parser.parse(text).nodes:
        try:
            if node.keyword not in ALLOWED:
                raise ValueError(f"{node.keyword} is not a valid change command")
            _apply(config, instructions.read(node, "\\"), command_set)
        except (ValueError, errors.DockerfileError) as error:
            raise errdefs.InvalidParameter(
                f"cannot apply the change {node.original[:200]!r}: {error}"
            ) from error
        command_set = command_set or node.keyword == "CMD"


def _apply(config: types.RunConfig, one: instructions.Instruction, command_set: bool) -> None:
    keyword = one.node.keyword
    expander = shell.Expander(shell.as_dict(config.env or []))
    word: Callable[[str], str] = expander.word
    if isinstance(one, instructions.Pairs):
        runconfig.set_pairs(config, keyword, [(word(key), word(value)) for key, value in one.pairs])
    elif isinstance(one, instructions.Command):
        runconfig.set_command(config, one, keep_cmd=command_set)
    elif isinstance(one, instructions.Words):
        given = [
            part for text in one.words for part in ([word(text)] if one.exact else
                                                    expander.words(text))
        ]  # fmt: skip
        runconfig.add_words(config, keyword, given)
    elif isinstance(one, instructions.Text):
        runconfig.set_text(config, keyword, word(one.value))
    elif isinstance(one, instructions.Healthcheck):
        config.healthcheck = one.check
    elif isinstance(one, instructions.OnBuild):
        config.on_build = [*(config.on_build or []), one.trigger]
