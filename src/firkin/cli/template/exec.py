"""Executes the tree of a template on a value.

The state is the value of the dot, a stack of variables and the list of text pieces so far. Loops
are left by two private exceptions. All failures are TemplateErrors that name the line and the part
of the template that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from firkin.cli.template import functions, gofmt, parser
from firkin.cli.template.errors import TemplateError
from firkin.cli.template.values import Map, Nil, Struct

MAX_COUNT = 10_000_000
"""The longest ``range`` over a number: a typing error must not fill the memory."""
MAX_DEPTH = 50
"""How deep templates may call templates: far from what Python's stack can bear."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def execute(
    nodes: list[parser.Node],
    defined: Mapping[str, list[parser.Node]],
    data: object,
    table: Mapping[str, Callable[..., object]],
    strict: bool,
    partial: bool = False,
) -> str:
    """The text of ``nodes`` for ``data``; with ``partial``, what there is before a failure."""
    state = _State(data, defined, table, strict)
    try:
        state.walk(nodes, data)
    except TemplateError:
        if not partial:
            raise
    return "".join(state.out)


class _State:
    def __init__(
        self,
        data: object,
        defined: Mapping[str, list[parser.Node]],
        table: Mapping[str, Callable[..., object]],
        strict: bool,
    ) -> None:
        self.defined = defined
        self.depth = 0
        self.out: list[str] = []
        self.variables: list[tuple[str, object]] = [("$", data)]
        self.table = table
        self.strict = strict
        self.line = 1

    def error(self, where: str, message: str) -> TemplateError:
        return TemplateError(f"template: :{self.line}: executing at <{where}>: {message}")

    def walk(self, nodes: list[parser.Node], dot: object) -> None:
        for node in nodes:
            kind = node.kind
            if kind == "text":
                self.out.append(node.text)
            elif kind == "break":
                raise _Break
            elif kind == "continue":
                raise _Continue
            elif kind == "template":
                self.template(node, dot)
            elif node.pipe is not None:
                mark = len(self.variables)
                if kind == "action":
                    value = self.pipe(node.pipe, dot)
                    if not node.pipe.names:
                        self.out.append(gofmt.to_text(value))
                    continue
                if kind == "range":
                    self.range(node, node.pipe, dot)
                else:
                    value = self.pipe(node.pipe, dot)
                    if functions.truth(value):
                        self.walk(node.body, value if kind == "with" else dot)
                    else:
                        self.walk(node.other, dot)
                del self.variables[mark:]

    def template(self, node: parser.Node, dot: object) -> None:
        """Execute a template that was defined, with the pipe's value for its dot."""
        body = self.defined.get(node.text)
        argument = "" if node.pipe is None else f" {node.pipe}"
        where = f"{{{{template {gofmt.quoted(node.text)}{argument}}}}}"
        if body is None:
            raise self.error(where, f"template {gofmt.quoted(node.text)} not defined")
        value = None if node.pipe is None else self.pipe(node.pipe, dot)
        if self.depth >= MAX_DEPTH:
            raise self.error(where, f"exceeded maximum template depth ({MAX_DEPTH})")
        self.depth += 1
        outer, self.variables = self.variables, [("$", value)]
        try:
            self.walk(body, value)
        finally:
            self.variables = outer
            self.depth -= 1

    def range(self, node: parser.Node, pipe: parser.Pipe, dot: object) -> None:
        value = self.pipe(pipe, dot, declare=False)
        pairs = self.pairs(value, pipe)
        mark = len(self.variables)
        if pairs is None:
            self.walk(node.other, dot)
            return
        for key, item in pairs:
            names = pipe.names
            found = (item,) if len(names) == 1 else (key, item)
            for name, bound in zip(names, found, strict=False):
                self.bind(name, bound, pipe.assign)
            try:
                self.walk(node.body, item)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                del self.variables[mark:]

    def pairs(self, value: object, pipe: parser.Pipe) -> list[tuple[object, object]] | None:
        """Key and item of everything in ``value``, None if there is nothing."""
        if isinstance(value, Nil) or value is None:
            return None
        if isinstance(value, list | tuple):
            return list(enumerate(value)) or None
        if isinstance(value, dict) and not isinstance(value, Struct):
            return [(key, value[key]) for key in sorted(value)] or None
        if isinstance(value, int) and not isinstance(value, bool):
            if value > MAX_COUNT:
                raise self.error("range", f"can't count to {value}; the limit is {MAX_COUNT}")
            if len(pipe.names) > 1:
                message = f"can't use {value} to iterate over more than one variable"
                raise self.error(str(pipe.commands[0][0].text), message)
            return [(number, number) for number in range(value)] or None
        raise self.error(str(pipe), f"range can't iterate over {gofmt.to_text(value)}")

    def bind(self, name: str, value: object, assign: bool) -> None:
        if not assign:
            self.variables.append((name, value))
            return
        for index in range(len(self.variables) - 1, -1, -1):
            if self.variables[index][0] == name:
                self.variables[index] = (name, value)
                return

    def pipe(self, pipe: parser.Pipe, dot: object, *, declare: bool = True) -> object:
        self.line = pipe.line or self.line
        piped: tuple[object, ...] = ()
        for command in pipe.commands:
            piped = (self.command(command, dot, piped),)
        if declare and pipe.names:
            self.bind(pipe.names[0], piped[0], pipe.assign)
        return piped[0]

    def command(
        self, command: list[parser.Operand], dot: object, piped: tuple[object, ...]
    ) -> object:
        first, rest = command[0], command[1:]
        if first.kind == "nil":
            raise self.error("nil", "nil is not a command")
        if first.kind == "func":
            return self.function(first, rest, dot, piped)
        if rest or piped:
            if not first.fields:
                raise self.error(first.text, f"can't give argument to non-function {first.text}")
            arguments = [self.operand(operand, dot) for operand in rest]
            return self.operand(first, dot, (*arguments, *piped))
        return self.operand(first, dot)

    def function(
        self,
        name: parser.Operand,
        rest: list[parser.Operand],
        dot: object,
        piped: tuple[object, ...],
    ) -> object:
        if name.text in ("and", "or"):
            return self.shortcut(name, rest, dot, piped)
        arguments = [self.operand(operand, dot) for operand in rest]
        self.check(name.text, rest, (*arguments, *piped))
        where = parser.shown([name, *rest])
        if name.text == "call" and rest and not (callable(arguments[0]) or arguments[0] is None):
            what = f"non-function {rest[0].text} of type {gofmt.type_name(arguments[0])}"
            raise self.error(where, f"error calling call: {what}")
        try:
            return self.table[name.text](*arguments, *piped)
        except TemplateError as error:
            raise self.error(where, f"error calling {name.text}: {error}") from None
        except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            shown = " ".join(gofmt.type_name(value) for value in (*arguments, *piped))
            message = f"{name.text} can't be called with arguments of type: {shown or 'none'}"
            raise self.error(name.text, message) from None

    def check(self, name: str, rest: list[parser.Operand], values: tuple[object, ...]) -> None:
        """Refuse arguments of a wrong number or type for a function."""
        least, most, kinds = functions.SIGNATURES[name]
        if not least <= len(values) <= most:
            want = f"at least {least}" if most > least else str(least)
            message = f"wrong number of args for {name}: want {want} got {len(values)}"
            raise self.error(name, message)
        for index, (value, kind) in enumerate(zip(values, kinds, strict=False)):
            if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
                continue
            expected = "string" if kind is str else "[]string" if kind is list else "int"
            if index < len(rest) and rest[index].kind == "const":
                text = rest[index].text
                found = f"expected {'integer' if kind is int else expected}; found {text}"
                raise self.error(text, found)
            where = rest[index].text if index < len(rest) else name
            got = gofmt.type_name(value)
            raise self.error(where, f"wrong type for value; expected {expected}; got {got}")

    def shortcut(
        self,
        name: parser.Operand,
        rest: list[parser.Operand],
        dot: object,
        piped: tuple[object, ...],
    ) -> object:
        """``and`` and ``or`` evaluate arguments only until one decides."""
        if not rest and not piped:
            message = f"wrong number of args for {name.text}: want at least 1 got 0"
            raise self.error(name.text, message)
        value: object = None
        for operand in rest:
            value = self.operand(operand, dot)
            if functions.truth(value) == (name.text == "or"):
                return value
        return piped[0] if piped else value

    def operand(
        self, operand: parser.Operand, dot: object, arguments: tuple[object, ...] = ()
    ) -> object:
        kind = operand.kind
        if kind == "dot":
            value = dot
        elif kind == "var":
            name = operand.value
            value = next(bound for found, bound in reversed(self.variables) if found == name)
        elif kind == "pipe":
            assert isinstance(operand.value, parser.Pipe)
            value = self.pipe(operand.value, dot)
        elif kind == "func":
            return self.function(operand, [], dot, ())
        else:
            return operand.value
        last = len(operand.fields) - 1
        for index, name in enumerate(operand.fields):
            value = self.field(value, name, operand.text, arguments if index == last else ())
        return value

    def field(self, value: object, name: str, where: str, arguments: tuple[object, ...]) -> object:
        """``value.name``: a map's item, a struct's field or a method's result."""
        if isinstance(value, dict):
            if name in value:
                found: object = value[name]
                if arguments:
                    kind = (
                        "has arguments but cannot be invoked as function"
                        if isinstance(value, Struct)
                        else "is not a method but has arguments"
                    )
                    raise self.error(where, f"{name} {kind}")
                return found
            if isinstance(value, Struct):
                raise self.error(where, f"can't evaluate field {name} in type {value.type_name}")
            if self.strict and not isinstance(value, Map):
                raise self.error(where, f'map has no entry for key "{name}"')
            return None
        getter = getattr(value, "field", None)
        if getter is not None:
            try:
                found = getter(name)
            except KeyError:
                type_name = gofmt.type_name(value)
                message = f"can't evaluate field {name} in type {type_name}"
                raise self.error(where, message) from None
            if callable(found):
                try:
                    return found(*arguments)
                except TemplateError as error:
                    where = " ".join(map(gofmt.show, arguments))
                    raise self.error(where, str(error)) from None
                except TypeError:
                    message = f"wrong number of args for {name}: want 1 got {len(arguments)}"
                    raise self.error(where, message) from None
            if arguments:
                message = f"wrong number of args for {name}: want 0 got {len(arguments)}"
                raise self.error(where, message)
            return found
        if isinstance(value, Nil):
            raise self.error(where, f"nil pointer evaluating field {name}")
        if value is None:
            if self.strict:
                raise self.error(where, f'nil data; no entry for key "{name}"')
            return None
        raise self.error(where, f"can't evaluate field {name} in type {gofmt.type_name(value)}")
