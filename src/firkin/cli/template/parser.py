"""Makes the tree of a template out of its tokens.

::

    nodes   = text | action | if | with | range | break | continue | define | block | template
    action  = pipe
    if      = "if" pipe nodes { "else if" pipe nodes } [ "else" nodes ] "end"
    with    = the same with "with"
    range   = "range" pipe nodes [ "else" nodes ] "end"
    define  = "define" string nodes "end", not within anything else
    block   = "block" string pipe nodes "end"
    template = "template" string [ pipe ]
    pipe    = [ var { "," var } ( ":=" | "=" ) ] command { "|" command }
    command = operand { space operand }
    operand = ( "." | field | var | literal | function | "(" pipe ")" ) { field }

Variables are checked here: a name must be declared before it is used, and lives to the end of the
control structure that encloses its declaration (Go's rule).
"""

from __future__ import annotations

from collections.abc import Container

from firkin.cli.template import gofmt, lexer
from firkin.cli.template.errors import TemplateError

MAX_DEPTH = 100
"""How deep control structures and parentheses may nest: beyond any use, below Python's limit."""


class Operand:
    """One argument: a start (``kind`` and ``value``) and the fields that are read from it.

    Kinds: "dot", "nil", "const", "var", "func", "pipe".
    """

    __slots__ = ("fields", "kind", "text", "value")

    def __init__(self, kind: str, value: object, text: str) -> None:
        self.kind = kind
        self.value = value
        self.text = text
        self.fields: list[str] = []


class Pipe:
    """Commands whose results feed the next; ``names`` are the variables that get the last one."""

    __slots__ = ("assign", "commands", "line", "names")

    def __init__(self, line: int) -> None:
        self.line = line
        self.names: list[str] = []
        self.assign = False
        self.commands: list[list[Operand]] = []

    def __str__(self) -> str:
        sign = " = " if self.assign else " := "
        names = ", ".join(self.names) + sign if self.names else ""
        return names + " | ".join(shown(command) for command in self.commands)


def shown(command: list[Operand]) -> str:
    """A command as it was written, for messages."""
    return " ".join(operand.text for operand in command)


class Node:
    """A piece of a template: ``kind`` is "text", "action", "if", "with", "range", "break",
    "continue" or "template", whose name is the ``text``."""

    __slots__ = ("body", "kind", "other", "pipe", "text")

    def __init__(self, kind: str, text: str = "", pipe: Pipe | None = None) -> None:
        self.kind = kind
        self.text = text
        self.pipe = pipe
        self.body: list[Node] = []
        self.other: list[Node] = []


_NAMED = ("define", "block", "template")
_KEYWORDS = frozenset(("break", "continue", "else", "end", "if", "nil", "range", "with", *_NAMED))
_ENDS = (("right", "}}"), ("op", ")"), ("op", "|"))
"""What may follow an operand, beside a space."""
_CONSTANTS: dict[str, object] = {"true": True, "false": False}


def parse(text: str, functions: Container[str]) -> tuple[list[Node], dict[str, list[Node]]]:
    """The tree of ``text`` and those that it defines, by name.

    ``functions`` are the names that may be called.
    """
    parser = _Parser(lexer.tokens(text), functions)
    nodes, end = parser.nodes(0, in_range=False)
    if end:
        raise parser.error(f"unexpected {{{{{end}}}}}")
    return nodes, parser.defined


def _blank(nodes: list[Node]) -> bool:
    """Whether a definition has nothing to say; a later one of its name takes its place."""
    return all(node.kind == "text" and not node.text.strip() for node in nodes)


class _Parser:
    def __init__(self, tokens: list[lexer.Token], functions: Container[str]) -> None:
        self.tokens = tokens
        self.functions = functions
        self.at = 0
        self.variables = ["$"]
        self.defined: dict[str, list[Node]] = {}

    def error(self, message: str) -> TemplateError:
        if self.at < len(self.tokens):
            line = self.tokens[self.at][2]
        else:
            line = self.tokens[-1][2] if self.tokens else 1
        return TemplateError(f"template: :{line}: {message}")

    def unexpected(self, context: str) -> TemplateError:
        """The error that the next token does not belong there."""
        kind, value = self.peek()
        text = {"dot": ".", "field": f".{value}"}.get(kind, str(value))
        if kind == "eof":
            shown = "EOF"
        elif kind == "dot" or (kind == "word" and text in _KEYWORDS):
            shown = f"<{text}>"
        else:
            text = gofmt.quoted(text) if kind == "string" else text
            shown = gofmt.quoted(text[:10]) + ("..." if len(text) > 10 else "")
        return self.error(f"unexpected {shown} in {context}")

    def peek(self, ahead: int = 0) -> tuple[str, str | int | float]:
        if self.at + ahead < len(self.tokens):
            kind, value, _ = self.tokens[self.at + ahead]
            return kind, value
        return "eof", ""

    def skip_space(self) -> None:
        if self.peek()[0] == "space":
            self.at += 1

    def accept(self, kind: str, value: str) -> bool:
        """Take the next token if it is this one, spaces before it included."""
        ahead = 1 if self.peek()[0] == "space" else 0
        if self.peek(ahead) == (kind, value):
            self.at += ahead + 1
            return True
        return False

    # Nodes

    def nodes(self, depth: int, *, in_range: bool) -> tuple[list[Node], str]:
        """Nodes up to the end of the text (then ""), or to "end" or "else", which is returned."""
        if depth > MAX_DEPTH:
            raise self.error(f"control structures nest deeper than {MAX_DEPTH}")
        found: list[Node] = []
        while True:
            kind, value = self.peek()
            if kind == "eof":
                return found, ""
            self.at += 1
            if kind == "text":
                found.append(Node("text", str(value)))
                continue
            self.skip_space()
            kind, value = self.peek()
            if kind == "word" and value in ("end", "else"):
                self.at += 1
                return found, str(value)
            if kind == "word" and value in ("if", "with", "range"):
                self.at += 1
                found.append(self.control(str(value), depth, in_range))
            elif kind == "word" and value in ("break", "continue"):
                if not in_range:
                    raise self.error(f"{{{{{value}}}}} outside {{{{range}}}}")
                self.at += 1
                self.right(str(value))
                found.append(Node(str(value)))
            elif kind == "word" and value == "define":
                if depth:
                    raise self.unexpected("command")
                self.at += 1
                self.definition(self.name("define clause"), "define clause", depth)
            elif kind == "word" and value in _NAMED:
                self.at += 1
                found.append(self.call(str(value), depth))
            else:
                pipe = self.pipe(0)
                self.right("command")
                found.append(Node("action", pipe=pipe))

    def name(self, context: str) -> str:
        """The quoted name of a template."""
        self.skip_space()
        kind, value = self.peek()
        if kind != "string":
            raise self.unexpected(context)
        self.at += 1
        return str(value)

    def definition(self, name: str, context: str, depth: int) -> None:
        """The rest of a definition, whose variables are its own."""
        self.right(context)
        outer, self.variables = self.variables, ["$"]
        body, end = self.nodes(depth + 1, in_range=False)
        if end != "end":
            raise self.error("unexpected {{else}} in " + context if end else "unexpected EOF")
        self.right("end")
        self.variables = outer
        if _blank(body) and name in self.defined:
            return
        if not _blank(self.defined.get(name, [])):
            raise self.error(f"template: multiple definition of template {gofmt.quoted(name)}")
        self.defined[name] = body

    def call(self, kind: str, depth: int) -> Node:
        """``template``, or ``block``, which defines what it calls."""
        context = f"{kind} clause"
        name = self.name(context)
        self.skip_space()
        pipe = None if self.peek()[0] == "right" else self.pipe(0)
        if kind == "template":
            self.right(context)
        elif pipe is None:
            raise self.error(f"missing value for {context}")
        else:
            self.definition(name, context, depth)
        return Node("template", name, pipe)

    def right(self, context: str) -> None:
        self.skip_space()
        if self.peek()[0] != "right":
            raise self.unexpected(context)
        self.at += 1

    def control(self, kind: str, depth: int, in_range: bool) -> Node:
        mark = len(self.variables)
        inside = in_range or kind == "range"
        self.skip_space()
        if self.peek()[0] == "right":
            raise self.error(f"missing value for {kind}")
        node = Node(kind, pipe=self.pipe(0, in_range=kind == "range"))
        self.right(kind)
        node.body, end = self.nodes(depth + 1, in_range=inside)
        if end == "else":
            if kind != "range" and self.accept("word", kind):
                node.other = [self.control(kind, depth + 1, in_range)]
                del self.variables[mark:]
                return node
            self.right("else")
            node.other, end = self.nodes(depth + 1, in_range=in_range)
            if end == "else":
                raise self.error("expected end; found {{else}}")
        if not end:
            raise self.error(f"unexpected EOF ({{{{{kind}}}}} has no {{{{end}}}})")
        self.right("end")
        del self.variables[mark:]
        return node

    # Pipelines

    def pipe(self, depth: int, *, in_range: bool = False) -> Pipe:
        if depth > MAX_DEPTH:
            raise self.error(f"parentheses nest deeper than {MAX_DEPTH}")
        self.skip_space()
        pipe = Pipe(self.tokens[self.at][2] if self.at < len(self.tokens) else 0)
        self.declarations(pipe, in_range)
        while True:
            pipe.commands.append(self.command(depth))
            if not self.accept("op", "|"):
                break
        for stage, command in enumerate(pipe.commands[1:], 2):
            if command[0].kind in ("const", "nil", "dot") and not command[0].fields:
                raise self.error(f"non executable command in pipeline stage {stage}")
        if not pipe.assign:
            self.variables.extend(pipe.names)
        return pipe

    def declarations(self, pipe: Pipe, in_range: bool) -> None:
        """``$a :=``, ``$a =`` and, in a range, ``$a, $b :=``."""
        start = self.at
        names: list[str] = []
        while True:
            self.skip_space()
            kind, value = self.peek()
            if kind != "var":
                break
            names.append(str(value))
            self.at += 1
            for sign in (":=", "="):
                if self.accept("op", sign):
                    pipe.names, pipe.assign = names, sign == "="
                    if len(names) > (2 if in_range else 1):
                        where = "range" if in_range else "command"
                        raise self.error(f"too many declarations in {where}")
                    if pipe.assign:
                        self.check_declared(names)
                    return
            if not self.accept("op", ","):
                break
        if len(names) > 1:
            raise self.error("expected := after a list of variables")
        self.at = start

    def check_declared(self, names: list[str]) -> None:
        for name in names:
            if name not in self.variables:
                raise self.error(f'undefined variable "{name}"')

    def command(self, depth: int) -> list[Operand]:
        operands: list[Operand] = []
        while True:
            self.skip_space()
            operand = self.operand(depth)
            if operand is None:
                break
            operands.append(operand)
            if self.peek()[0] != "space":
                if self.peek() not in _ENDS:
                    raise self.unexpected("operand")
                break
        if not operands:
            if self.peek()[0] in ("right", "op"):
                raise self.error("missing value for command")
            raise self.unexpected("command")
        return operands

    def operand(self, depth: int) -> Operand | None:
        kind, value = self.peek()
        text = str(value)
        if kind == "op" and value == "(":
            self.at += 1
            pipe = self.pipe(depth + 1)
            if not self.accept("op", ")"):
                raise self.error("unclosed left paren")
            operand = Operand("pipe", pipe, f"({pipe})")
        elif kind in ("string", "int", "float"):
            shown = gofmt.quoted(text) if kind == "string" else repr(value)
            operand = Operand("const", value, shown)
            self.at += 1
        elif kind == "dot":
            operand = Operand("dot", None, ".")
            self.at += 1
        elif kind == "field":
            operand = Operand("dot", None, "")
        elif kind == "var":
            self.check_declared([text])
            operand = Operand("var", text, text)
            self.at += 1
        elif kind == "word":
            operand = self.word(text)
        else:
            return None
        while self.peek()[0] == "field":
            name = str(self.peek()[1])
            if operand.kind in ("const", "nil", "func") or operand.text == ".":
                raise self.error(f"unexpected . after term {gofmt.quoted(operand.text)}")
            operand.fields.append(name)
            operand.text += f".{name}"
            self.at += 1
        return operand

    def word(self, word: str) -> Operand:
        if word in _CONSTANTS:
            operand = Operand("const", _CONSTANTS[word], word)
        elif word == "nil":
            operand = Operand("nil", None, word)
        elif word in ("end", "else", "if", "with", "range", "break", "continue", *_NAMED):
            raise self.error(f"unexpected <{word}> in command")
        elif word not in self.functions:
            raise self.error(f'function "{word}" not defined')
        else:
            operand = Operand("func", word, word)
        self.at += 1
        return operand
