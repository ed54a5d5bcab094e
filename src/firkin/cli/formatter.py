"""Lists for people and for scripts: what ``--format`` of the listing commands does.

A command makes one ``Row`` per object and calls ``render`` with a format:

* ``table TEMPLATE``: the template's lines as a table, below a line of column titles. A tab (or
  the two characters ``\\t``) ends a cell.
* ``json``: one JSON object a line, fields sorted by name.
* anything else: a template that is executed once per row, a line each.

Fields may be callables that are computed when first asked for, so a row costs what is shown of it.
Most formats are nothing but plain text and fields: they are rendered here, and the template
language is not even imported.

Cells are aligned as Go's text/tabwriter does with a least width of 10 and 3 blanks between: a
column's width is that of the widest cell in a run of lines that have this column, and the last
cell of a line belongs to no column.
"""

from __future__ import annotations

from firkin.cli import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Protocol

    class Output(Protocol):
        def write(self, text: str, /) -> object: ...


MIN_WIDTH = 10
PADDING = 3
_TABLE = "table"


class Row:
    """One object of a list, as templates see it.

    ``fields`` maps a name to its value or to a callable without arguments that computes it.
    ``methods`` take arguments and aren't part of the JSON form: ``{{.Label "name"}}``.
    ``whole`` makes the value that ``{{.}}`` prints, in place of the fields.
    """

    __slots__ = ("fields", "methods", "type_name", "whole")

    def __init__(
        self,
        fields: dict[str, object],
        methods: Mapping[str, Callable[..., object]] | None = None,
        type_name: str = "row",
        whole: Callable[[], object] | None = None,
    ) -> None:
        self.fields = fields
        self.methods = methods or {}
        self.type_name = type_name
        self.whole = whole

    def field(self, name: str) -> object:
        """The field's value, or a method; KeyError if there is neither."""
        if name in self.methods:
            return self.methods[name]
        value = self.fields[name]
        if callable(value):
            value = self.fields[name] = value()
        return value

    def as_json(self) -> dict[str, object]:
        """All fields, sorted by name."""
        from firkin.cli.template import values

        return {name: values.plain(self.field(name)) for name in sorted(self.fields)}

    def printed(self) -> object:
        """What ``{{.}}`` prints."""
        return self.whole() if self.whole else self.as_json()

    def to_json(self) -> str:
        """One line of JSON, escaped as Go's encoder does."""
        from firkin.cli.template import functions

        return functions.to_json(self.as_json(), html_safe=True)


class _Header:
    """Column titles in the place of a row."""

    __slots__ = ("columns",)

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = columns

    def field(self, name: str) -> object:
        if name == "Label" and name not in self.columns:
            return _label_title
        return self.columns.get(name)

    def printed(self) -> object:
        return dict(self.columns)


def label(labels: object, name: object) -> object:
    """The method ``Label`` of rows. Raises ``InvalidParameter`` unless the name is a string."""
    if not isinstance(name, str):
        from firkin.cli.template import TemplateError, gofmt

        raise TemplateError(f"expected string; found {gofmt.show(name)}")
    return labels.get(name, "") if isinstance(labels, dict) else ""


def _label_title(name: str) -> str:
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def is_table(fmt: str) -> bool:
    """Whether the format asks for a table."""
    return fmt.startswith(_TABLE)


def render(
    rows: Iterable[Row],
    fmt: str,
    out: Output,
    *,
    columns: Mapping[str, str],
) -> None:
    """Write ``rows`` to ``out``.

    ``columns`` maps field names to column titles. Raises CliError for a template that is
    malformed or asks for a field that rows don't have; nothing is written then.
    """
    table = is_table(fmt)
    text = fmt[len(_TABLE) :] if table else fmt
    if fmt == "json":
        out.write("".join(row.to_json() + "\n" for row in rows))
        return
    text = text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
    line, title = _compile(text)
    lines = [line(row) for row in rows]
    if table:
        lines.insert(0, title(_Header(columns)))
        out.write(align("\n".join(lines) + "\n"))
    elif lines:
        out.write("\n".join(lines) + "\n")


def _compile(text: str) -> tuple[Callable[[Row], str], Callable[[_Header], str]]:
    """The function that makes a row's line, and the one that makes the line of titles."""
    pieces = _pieces(text)
    if pieces is not None:
        return lambda row: _join(pieces, row), lambda header: _join(pieces, header)
    from firkin.cli import template

    try:
        compiled = template.compile(text)
    except template.TemplateError as error:
        raise _bad_format(error) from None

    def line(row: Row) -> str:
        try:
            return compiled.execute(row)
        except template.TemplateError as error:
            raise _bad_format(error) from None

    return line, lambda header: compiled.execute(header, header=True)


def _bad_format(error: Exception) -> errors.CliError:
    return errors.CliError(f"template parsing error: {error}")


def _pieces(text: str) -> list[tuple[str, str]] | None:
    """``text`` as pairs of literal text and the field that follows it; None if it has more."""
    pieces: list[tuple[str, str]] = []
    position = 0
    while True:
        start = text.find("{{", position)
        if start < 0:
            pieces.append((text[position:], ""))
            return pieces
        end = text.find("}}", start)
        name = text[start + 2 : end] if end > 0 else ""
        if name[:1] != "." or not (name[1:].isidentifier() and name.isascii()):
            return None
        pieces.append((text[position:start], name[1:]))
        position = end + 2


def _join(pieces: list[tuple[str, str]], row: Row | _Header) -> str:
    parts: list[str] = []
    for text, name in pieces:
        parts.append(text)
        if not name:
            continue
        try:
            value = row.field(name)
            if callable(value):
                value = value()
        except KeyError:
            kind = getattr(row, "type_name", "row")
            raise _bad_format(
                Exception(
                    f"template: executing at <.{name}>: can't evaluate field {name} in type {kind}"
                )
            ) from None
        except TypeError:
            raise _bad_format(
                Exception(f"template: executing at <.{name}>: wrong number of args for {name}")
            ) from None
        if isinstance(value, str):
            parts.append(value)
        elif value is None:
            parts.append("<no value>")
        else:
            from firkin.cli.template import gofmt

            parts.append(gofmt.to_text(value))
    return "".join(parts)


def align(text: str, min_width: int = MIN_WIDTH, padding: int = PADDING) -> str:
    """``text`` with the tabs of each line replaced by the blanks that make columns."""
    lines = [line.split("\t") for line in text.split("\n")]
    column = 0
    widest = max(len(line) for line in lines) - 1
    while column < widest:
        start = 0
        while start < len(lines):
            end = start
            while end < len(lines) and len(lines[end]) - 1 > column:
                end += 1
            _pad(lines[start:end], column, min_width, padding)
            start = end + 1
        column += 1
    return "\n".join("".join(line) for line in lines)


def _pad(lines: Sequence[list[str]], column: int, min_width: int, padding: int) -> None:
    width = max([min_width, *(len(line[column]) + padding for line in lines)])
    for line in lines:
        line[column] = line[column].ljust(width)
