"""What all ``inspect`` commands share: objects by name, printed as JSON or through a template.

Without a format the engine's answer is shown as it came, only indented: its numbers, escapes and
order of fields are not touched. With a template the answer is first given its types (see
``shapes``), so that fields may be named as the Go client has them (``.ID``); if that fails the
template is tried on the plain JSON (``.Id``), where a missing key is an error. Both work for
scripts written for the official client.

An object that is not found is reported after the others are shown, and the status is 1.
"""

from __future__ import annotations

import sys

from firkin.cli import errors
from firkin.client import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Fetch = Callable[[str], tuple[str, bytes]]

BAD_TEMPLATE_STATUS = 64


def inspect(references: Iterable[str], fmt: str, fetch: Fetch) -> int:
    """Show every one of ``references``; return the exit status.

    ``fetch`` gets one and returns the kind of object (see ``shapes.kinds``) and the engine's JSON;
    it raises APIError or CliError for one that is not there.
    """
    show = _template(fmt) if fmt and fmt != "json" else None
    failures: list[str] = []
    texts: list[str] = []
    for reference in references:
        try:
            kind, raw = fetch(reference)
            text = raw.decode("utf-8", "replace").strip()
            texts.append(show(text, kind) if show else text)
        except api.APIError as error:
            failures.append(f"Error response from daemon: {error}")
        except errors.NoEndpoint:
            raise
        except (errors.CliError, api.ConnectionFailed) as error:
            failures.append(str(error))
    if show:
        sys.stdout.write("".join(f"{text}\n" for text in texts) or "\n")
    elif fmt == "json":
        sys.stdout.write(compact(f"[{','.join(texts)}]") + "\n")
    else:
        sys.stdout.write(indent(f"[{','.join(texts)}]") + "\n")
    if failures:
        raise errors.CliError("\n".join(failures))
    return 0


def _template(fmt: str) -> Callable[[str, str], str]:
    import json

    from firkin.cli import shapes, template

    try:
        compiled = template.compile(fmt)
    except template.TemplateError as error:
        raise errors.CliError(f"template parsing error: {error}", BAD_TEMPLATE_STATUS) from None

    def show(raw: str, kind: str) -> str:
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise errors.CliError(f"unable to read inspect data: {error}") from None
        try:
            return compiled.execute(shapes.shape(value, kind))
        except template.TemplateError:
            pass
        try:
            untyped = json.loads(raw, parse_int=template.Number, parse_float=template.Number)
            return compiled.execute(untyped, strict=True)
        except template.TemplateError as error:
            raise errors.CliError(f"template parsing error: {error}") from None

    return show


_BLANK = " \t\r\n"


def _tokens(text: str) -> Iterable[str]:
    """The tokens of a JSON text: brackets, commas, colons, and everything else in one piece."""
    at = 0
    while at < len(text):
        char = text[at]
        if char == '"':
            end = at + 1
            while True:
                end = text.find('"', end)
                if end < 0:
                    yield text[at:]
                    return
                slashes = 0
                while text[end - 1 - slashes] == "\\":
                    slashes += 1
                end += 1
                if slashes % 2 == 0:
                    break
            yield text[at:end]
            at = end
        elif char in "{}[],:":
            yield char
            at += 1
        elif char in _BLANK:
            at += 1
        else:
            end = at
            while end < len(text) and text[end] not in "{}[],: \t\r\n":
                end += 1
            yield text[at:end]
            at = end


def compact(text: str) -> str:
    """JSON without blanks between tokens."""
    return "".join(_tokens(text))


def indent(text: str, step: str = "    ") -> str:
    """JSON indented in the way of Go's ``json.Indent``; the tokens themselves don't change."""
    parts: list[str] = []
    depth = 0
    opened = False
    for token in _tokens(text):
        if token in ("}", "]"):
            depth -= 1
            parts.append(token if opened else f"\n{step * depth}{token}")
            opened = False
            continue
        if opened:
            parts.append(f"\n{step * depth}")
            opened = False
        if token in ("{", "["):
            depth += 1
            opened = True
            parts.append(token)
        elif token == ",":
            parts.append(f",\n{step * depth}")
        else:
            parts.append(": " if token == ":" else token)
    return "".join(parts)
