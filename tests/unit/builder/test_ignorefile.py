"""What an ignore file keeps out."""

from __future__ import annotations

import pytest

from firkin.wire import ignorefile


@pytest.mark.parametrize(
    ("patterns", "out", "kept"),
    [
        ("*.md", ["a.md"], ["d/a.md", "a.mdx"]),
        ("**/*.md", ["a.md", "d/e/a.md"], ["a.txt"]),
        ("/docs", ["docs", "docs/a/b"], ["x/docs"]),
        ("docs/", ["docs", "docs/a"], ["docs2"]),
        ("*\n!keep", ["a", "b/c"], ["keep", "keep/x"]),
        ("*.md\n!README*.md\nREADME-secret.md", ["a.md", "README-secret.md"], ["README.md"]),
        ("a/*/c", ["a/b/c", "a/b/c/d"], ["a/c", "a/b/x/c"]),
        ("a/**/c", ["a/c", "a/b/x/c"], ["a/b"]),
        ("tmp?", ["tmp1"], ["tmp", "tmp12"]),
        ("[ab].txt", ["a.txt"], ["c.txt"]),
        ("[^ab].txt", ["c.txt"], ["a.txt"]),
        ("./x/../y", ["y"], ["x"]),
        ("# c\n\n #d", ["#d"], ["c"]),
        ("**", ["a", "a/b"], []),
        ("d\n!d/in", ["d", "d/out"], ["d/in"]),
        ("a\\*b", ["a*b"], ["axb"]),
    ],
)  # fmt: skip
def test_rules(patterns: str, out: list[str], kept: list[str]) -> None:
    ignored = ignorefile.read(patterns)
    assert [name for name in out + kept if ignored(name)] == out


def test_prunes_only_where_nothing_can_come_back() -> None:
    ignored = ignorefile.read("*\n!a/b/c\n!x*/y")
    assert not ignored.prunes("a")
    assert not ignored.prunes("a/b")
    assert not ignored.prunes("xa")
    assert ignored.prunes("q")
    assert not ignorefile.read("*\n!**/z").prunes("q")


@pytest.mark.parametrize("text", ["[a", "!", "a\\"])
def test_bad(text: str) -> None:
    with pytest.raises(ignorefile.BadPattern):
        ignorefile.read(text)
