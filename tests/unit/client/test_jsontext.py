"""JSON by the C half alone agrees with the standard module."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firkin.client import jsontext

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(VALUES)
def test_agrees_with_json(value: object) -> None:
    text = json.dumps(value)
    assert jsontext.loads(text) == jsontext.loads(f" {text}\n") == value
    assert jsontext.dumps(value) == json.dumps(value, separators=(",", ":"))


@given(st.text(alphabet='[]{}",:0123456789.eE+-ntrufalsl \\'))
def test_refuses_what_json_refuses(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            jsontext.loads(text)
    else:
        assert jsontext.loads(text) == expected


@pytest.mark.parametrize("text", ["", "NaN", "[1,]", "1 2", "[" * 100000, '{"a":1', b"\xff"])
def test_refuses(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        jsontext.loads(text)


def test_refuses_what_has_no_json_form() -> None:
    with pytest.raises(TypeError):
        jsontext.dumps({"a": b"bytes"})
    with pytest.raises(ValueError):
        jsontext.dumps(float("nan"))


def test_refuses_also_when_json_is_not_loaded() -> None:
    code = (
        "import sys; from firkin.client import jsontext\n"
        "for text in ('{', '[1', '\"a', '1 2'):\n"
        "    assert 'json' not in sys.modules or text != '{'\n"
        "    try: jsontext.loads(text)\n"
        "    except ValueError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n" * 4
