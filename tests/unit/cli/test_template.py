"""The template language, held against what Docker's own client printed for the same templates."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from firkin.cli import errors, inspector, template
from firkin.cli.template import gofmt

DATA = pathlib.Path(__file__).parent / "data"
RAW = (DATA / "template_container.json").read_bytes()
RECORDED: list[dict[str, Any]] = json.loads((DATA / "templates_recorded.json").read_text())


@pytest.mark.parametrize("case", RECORDED, ids=[case["template"] for case in RECORDED])
def test_same_output_as_docker(case: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    status = 0
    try:
        inspector.inspect(["web"], case["template"], lambda _: ("container", RAW))
    except errors.CliError as error:
        status = error.status
    assert (status, capsys.readouterr().out) == (case["status"], case["stdout"])


def _render(text: str, data: object) -> str:
    return template.compile(text).execute(data)


def test_untyped_values() -> None:
    data = {"b": [1, "x", None, {"k": 1.5}], "a": None}
    assert _render("{{.}}", data) == "map[a:<nil> b:[1 x <nil> map[k:1.5]]]"
    assert _render("{{.a}} {{.c}} {{.c.d}}", data) == "<no value> <no value> <no value>"
    assert _render("{{range $k, $v := .}}{{$k}};{{end}}", data) == "a;b;"
    assert _render("{{json .}}", {"b": "<\u2028>", "a": 1}) == '{"a":1,"b":"<\\u2028>"}'


def test_strict_names_the_missing_key() -> None:
    with pytest.raises(template.TemplateError, match='map has no entry for key "b"'):
        template.compile("{{.a.b}}").execute({"a": {}}, strict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb{{", r":2: unclosed action"),
        ("{{foo}}", 'function "foo" not defined'),
        ("{{$x}}", r'undefined variable "\$x"'),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", r'undefined variable "\$x"'),
        ("{{range .}}", "has no {{end}}"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{break}}", "outside"),
        ("{{template 5}}", 'unexpected "5" in template clause'),
        ('{{block "x"}}{{end}}', "missing value for block clause"),
        ('{{if 1}}{{define "x"}}{{end}}{{end}}', "unexpected <define> in command"),
        ('{{define "x"}}', "unexpected EOF"),
        ('{{define "x"}}{{$y}}{{end}}', r'undefined variable "\$y"'),
        ("{{/* x", "unclosed comment"),
        ("{{'ab'}}", "malformed character constant"),
        ('{{"\\q"}}', "invalid escape"),
        ("{{12a}}", "bad number syntax"),
        ("{{" + "9" * 5000 + "}}", "bad number syntax"),
        ("{{" + "(" * 500 + "1" + ")" * 500 + "}}", "parentheses nest deeper"),
        ("{{if 1}}" * 500 + "{{end}}" * 500, "control structures nest deeper"),
    ],
)
def test_malformed(text: str, message: str) -> None:
    with pytest.raises(template.TemplateError, match=message):
        template.compile(text)


@pytest.mark.parametrize(
    "text",
    [
        '{{printf "%99999999d" 1}}',
        '{{printf "%*d" 99999999 1}}',
        '{{pad "x" 99999999999 0}}',
        "{{range 99999999999}}{{end}}",
        "{{index . 1 2 3}}",
        "{{slice . 1}}",
        "{{join . 1}}",
        '{{truncate "abc" -1}}',
        "{{call .}}",
        "{{len}}",
        "{{lower 1}}",
    ],
)
def test_wrong_use_is_an_error_of_the_template(text: str) -> None:
    with pytest.raises(template.TemplateError, match=r"template: :1: executing at <"):
        _render(text, {"a": 1})


def test_floats_as_go_prints_them() -> None:
    shown = [gofmt.shortest(value) for value in (0.0, -0.0, 1e-5, 0.00012, 999999.0, 1e6, 1e300)]
    assert shown == ["0", "-0", "1e-05", "0.00012", "999999", "1e+06", "1e+300"]


def test_inspect_shows_the_engines_json_untouched(capsys: pytest.CaptureFixture[str]) -> None:
    raw = b'{"b":"\\u003c\\"x","a":[],"n":1.50,"o":{},"l":[1,{"k":null}]}'
    inspector.inspect(["x"], "", lambda _: ("image", raw))
    assert capsys.readouterr().out == (
        '[\n    {\n        "b": "\\u003c\\"x",\n        "a": [],\n        "n": 1.50,\n'
        '        "o": {},\n        "l": [\n            1,\n            {\n'
        '                "k": null\n            }\n        ]\n    }\n]\n'
    )
    inspector.inspect(["x"], "json", lambda _: ("image", raw))
    assert capsys.readouterr().out == f"[{raw.decode()}]\n"


def test_inspect_reports_what_is_missing_after_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    def fetch(name: str) -> tuple[str, bytes]:
        if name == "gone":
            raise errors.CliError("no such thing: gone")
        return "image", b'{"Id":"1"}'

    with pytest.raises(errors.CliError, match="no such thing: gone"):
        inspector.inspect(["gone", "x"], "{{.ID}}", fetch)
    assert capsys.readouterr().out == "1\n"
