"""Variables in a Dockerfile's words."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firkin.types import shell

KNOWN = {"v": "value", "empty": "", "path": "/a/b/c.tar.gz", "two": "x y", "star": "a*b"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$v", "value"), ("${v}", "value"), ("a${v}b", "avalueb"), ("$none", ""), ("${none}", ""),
        ("\\$v", "$v"), ("'$v'", "$v"), ('"$v"', "value"), ('"\\$v"', "$v"), ("$", "$"),
        ("${none:-w}", "w"), ("${none-w}", "w"), ("${empty:-w}", "w"), ("${empty-w}", ""),
        ("${v:+w}", "w"), ("${v+w}", "w"), ("${empty:+w}", ""), ("${empty+w}", "w"),
        ("${none:+w}", ""), ("${none:-$v}", "value"), ("${none:-${v}x}", "valuex"),
        ("${none:-a'b c'}", "ab c"),
        ("${path#*/}", "a/b/c.tar.gz"), ("${path##*/}", "c.tar.gz"),
        ("${path%.*}", "/a/b/c.tar"), ("${path%%.*}", "/a/b/c"), ("${path#x}", "/a/b/c.tar.gz"),
        ("${path/\\//-}", "-a/b/c.tar.gz"), ("${path//\\//-}", "-a-b-c.tar.gz"),
        ("${v/a?u/X}", "vXe"), ("${v/a/}", "vlue"), ("${v//[/x}", "value"),
        ("${star%\\*b}", "a"), ("a\\ b", "a b"), ("$v$v", "valuevalue"),
        ("${v}_$v.x", "value_value.x"),
        ("a\\", "a\\"), ("$v-x", "value-x"), ("${1}", ""), ("$1x", "x"),
    ],
)  # fmt: skip
def test_word(text: str, wanted: str) -> None:
    assert shell.Expander(KNOWN).word(text) == wanted


@pytest.mark.parametrize(
    "text", ["${v", "${v:", "${v;x}", "'a", '"a', "${}", "${none:?no}", "${none?}", "${v:-${v}"]
)
def test_bad(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        shell.Expander(KNOWN).word(text)


def test_required_says_its_reason() -> None:
    with pytest.raises(ValueError, match="none: say it"):
        shell.Expander(KNOWN).word("${none:?say it}")


def test_words_are_split_at_blanks_of_values_too() -> None:
    expander = shell.Expander(KNOWN)
    assert expander.words("a $two 'b c' \"$two\" $empty d\\ e") == [
        "a", "x", "y", "b c", "x y", "d e",
    ]  # fmt: skip


def test_what_was_missing_is_known() -> None:
    expander = shell.Expander(KNOWN)
    expander.word("$a ${b:-x} ${c} $v")
    assert list(expander.missing) == ["a", "c"]


def test_escape_of_windows() -> None:
    assert shell.Expander(KNOWN, "`").word("`$v \\$v") == "$v \\value"


def test_heredoc_keeps_quotes() -> None:
    assert shell.Expander(KNOWN).raw("'$v' \"${v}\" \\$v \\n") == "'value' \"value\" $v \\n"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="${}v:-+#%/'\"\\ *?ab", max_size=24))
def test_anything_ends(text: str) -> None:
    for call in (shell.Expander(KNOWN).word, shell.Expander(KNOWN).words):
        try:
            call(text)
        except ValueError as error:
            assert str(error)
