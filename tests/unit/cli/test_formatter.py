"""Tables, JSON lines and templates of lists."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from firkin.cli import errors, formatter

COLUMNS = {"ID": "CONTAINER ID", "Name": "NAMES", "Size": "SIZE"}


def _rows() -> list[formatter.Row]:
    labels = {"a": "1"}
    return [
        formatter.Row({"ID": "1", "Name": "<a>", "Size": lambda: "5B"}, {"Label": labels.get}),
        formatter.Row({"ID": "123456789012", "Name": "b", "Size": ""}, {"Label": labels.get}),
    ]


def _render(fmt: str, rows: list[formatter.Row] | None = None) -> str:
    out = io.StringIO()
    formatter.render(_rows() if rows is None else rows, fmt, out, columns=COLUMNS)
    return out.getvalue()


def test_table_is_aligned_and_the_last_cell_is_not_padded() -> None:
    assert _render(r"table {{.ID}}\t{{.Name}}\t{{.Size}}") == (
        "CONTAINER ID   NAMES     SIZE\n1              <a>       5B\n123456789012   b         \n"
    )


def test_table_without_rows_is_its_header() -> None:
    assert _render("table {{.ID}}\t{{.Name}}", []) == "CONTAINER ID   NAMES\n"
    assert _render("{{.ID}}", []) == ""


def test_a_line_without_the_column_starts_a_new_block() -> None:
    assert formatter.align("a\tb\nlonger than ten\nlonger than ten\tc\n") == (
        "a         b\nlonger than ten\nlonger than ten   c\n"
    )


def test_header_keeps_titles_through_functions() -> None:
    assert _render("table {{.ID}}\t{{lower .Name}}|{{truncate .ID 2}}").splitlines()[0] == (
        "CONTAINER ID   NAMES|CONTAINER ID"
    )


def test_header_of_a_label_is_its_last_part() -> None:
    assert (
        _render('table {{.Label "x.y-z_a"}}\t{{.ID}}').splitlines()[0]
        == "y z a        CONTAINER ID"
    )


def test_json_is_sorted_and_escaped_as_go_does() -> None:
    assert _render("json").splitlines()[0] == '{"ID":"1","Name":"\\u003ca\\u003e","Size":"5B"}'
    assert _render("{{json .}}") == _render("json")
    assert _render("{{json .Name}}").splitlines()[0] == '"<a>"'


def test_plain_and_rich_templates_agree() -> None:
    assert (
        _render("{{.ID}}:{{.Name}}")
        == _render("{{ .ID }}:{{ .Name }}")
        == "1:<a>\n123456789012:b\n"
    )


def test_methods_take_arguments() -> None:
    assert _render('{{.Label "a"}}') == "1\n1\n"
    with pytest.raises(errors.CliError, match="wrong number of args for Label"):
        _render("{{.Label}}")


@pytest.mark.parametrize("fmt", ["{{.Nope}}", "{{ .Nope }}", "table {{.Nope}}"])
def test_unknown_field_writes_nothing(fmt: str) -> None:
    out = io.StringIO()
    with pytest.raises(
        errors.CliError, match=r"template parsing error: .*can't evaluate field Nope"
    ):
        formatter.render(_rows(), fmt, out, columns=COLUMNS)
    assert out.getvalue() == ""


def test_malformed_template() -> None:
    with pytest.raises(errors.CliError, match=r"template parsing error: .*unclosed action"):
        _render("{{.ID")


def test_only_what_is_shown_is_computed() -> None:
    def fail() -> str:
        raise AssertionError("computed")

    assert _render("{{.ID}}", [formatter.Row({"ID": "1", "Size": fail})]) == "1\n"


def test_a_simple_table_does_not_load_the_template_language() -> None:
    script = (
        "import io, sys; from firkin.cli import formatter as f;"
        "f.render([f.Row({'A': 'x'})], 'table {{.A}}', io.StringIO(), columns={'A': 'A'});"
        "print([m for m in sys.modules if m.startswith('firkin.cli.template') or m == 're'])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
