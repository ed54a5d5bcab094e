"""The template language of ``--format``: Go's text/template as the official client offers it.

::

    text --lexer--> tokens --parser--> nodes --exec + functions + values--> text

``compile`` checks a template once; the result may be executed on any number of values. What a
template says about a value depends on the value's kind, as in Go:

===================  ==============================================================================
Python               behaves as
===================  ==============================================================================
``None``             no value: prints ``<no value>``, or ``<nil>`` inside a map or a list
``bool int float``   the same; an int is never equal to a float
``str``              string
``values.Number``    the same, in JSON a number
``list`` ``tuple``   slice
``dict``             map: sorted by key wherever it is walked; a missing key is no value
``values.Map``       map whose missing keys have the zero value of its element type
``values.Struct``    struct: fields in their order, a missing field is an error
``values.NIL``       a nil pointer: prints ``<nil>``, is false, has no fields
an object with       struct whose fields are what ``field(name)`` returns; a callable result is a
``field(name)``      method, called with the arguments that follow it
===================  ==============================================================================

Limits. Complex numbers don't exist.

The language is that of https://pkg.go.dev/text/template, the additional functions those of
https://docs.docker.com/engine/cli/formatting/.
"""

from __future__ import annotations

from firkin.cli.template import exec as _exec
from firkin.cli.template import functions, parser
from firkin.cli.template.errors import TemplateError
from firkin.cli.template.values import NIL, Map, Number, Struct

__all__ = ["NIL", "Map", "Number", "Struct", "Template", "TemplateError", "compile"]


class Template:
    """A checked template. Executing it changes nothing in it."""

    __slots__ = ("_defined", "_nodes", "text")

    def __init__(
        self, text: str, nodes: list[parser.Node], defined: dict[str, list[parser.Node]]
    ) -> None:
        self.text = text
        self._nodes = nodes
        self._defined = defined

    def execute(self, data: object, *, strict: bool = False, header: bool = False) -> str:
        """The template's text for ``data``.

        ``strict`` makes a missing key of a map an error. ``header`` is for a table's first line,
        where the values are column titles: functions that would change a title leave it alone,
        and a failure ends the line, as a template that fits rows need not fit titles.
        """
        table = functions.header_table() if header else functions.TABLE
        return _exec.execute(self._nodes, self._defined, data, table, strict, partial=header)


def compile(text: str) -> Template:
    """Parse ``text``; TemplateError names the line and what is wrong there."""
    return Template(text, *parser.parse(text, functions.TABLE))
