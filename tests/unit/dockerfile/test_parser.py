"""The Dockerfile's grammar: lines, directives, flags, here-documents, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firkin.dockerfile import errors, instructions, parser


def nodes(text: str) -> list[tuple[str, str]]:
    return [(node.keyword, node.rest) for node in parser.parse(text).nodes]


def test_lines_go_on_over_comments_and_blanks() -> None:
    text = "FROM a\nRUN x && \\\n # a comment\n  y && \\\n\n  z\n"
    found = parser.parse(text)
    assert [node.rest for node in found.nodes] == ["a", "x &&   y &&   z"]
    assert [(one.rule, one.line) for one in found.warned] == [("NoEmptyContinuation", 6)]
    assert (found.nodes[1].first, found.nodes[1].last) == (2, 6)


def test_directives() -> None:
    found = parser.parse("# syntax=docker/dockerfile:1\n# escape=`\n# check=skip=all\nFROM a `\n\n")
    assert found.directives == {
        "syntax": "docker/dockerfile:1", "escape": "`", "check": "skip=all",
    }  # fmt: skip
    assert found.escape == "`"
    with pytest.raises(errors.DockerfileError, match="only one escape"):
        parser.parse("# escape=`\n# escape=`\nFROM a")
    with pytest.raises(errors.DockerfileError, match="invalid escape token"):
        parser.parse("# escape=x\nFROM a")
    assert parser.parse("# a comment\n# escape=`\nFROM a").escape == "\\"


def test_double_backslash_does_not_continue() -> None:
    assert nodes("FROM a\nRUN echo \\\\\nRUN b") == [
        ("FROM", "a"), ("RUN", "echo \\\\"), ("RUN", "b"),
    ]  # fmt: skip


def test_flags() -> None:
    node = parser.parse("FROM a\nCOPY --chown=1:2 --from=b --link x --y /z").nodes[1]
    assert node.flags == ("--chown=1:2", "--from=b", "--link")
    assert node.rest == "x --y /z"


def test_heredocs() -> None:
    text = "FROM a\nRUN <<A cat - <<-'B'\none\nA\n\ttwo $x\n\tB\nCOPY <<C /c\nthree\nC\n"
    run, copy = parser.parse(text).nodes[1:]
    assert [(d.name, d.content, d.expand, d.chomp) for d in run.heredocs] == [
        ("A", "one\n", True, False), ("B", "two $x\n", False, True),
    ]  # fmt: skip
    assert copy.heredocs[0].content == "three\n"
    assert (copy.first, copy.last) == (7, 9)
    with pytest.raises(errors.DockerfileError, match="unterminated heredoc"):
        parser.parse("FROM a\nRUN <<E\nfoo")


def test_no_heredoc_in_json_or_for_other_instructions() -> None:
    assert nodes('FROM a\nRUN ["x", "<<E"]\nLABEL a=<<E\n') == [
        ("FROM", "a"), ("RUN", '["x", "<<E"]'), ("LABEL", "a=<<E"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("FROM a\nRNU x", 2, r"unknown instruction: RNU \(did you mean RUN\?\)"),
        ("RUN x", 1, "no build stage in current context"),
        ("FROM a b", 1, "FROM requires either one argument, or three"),
        ("FROM a AS 1b", 1, "invalid name for build stage"),
        ("FROM a\nCOPY x", 2, "requires at least two arguments"),
        ("FROM a\nCOPY --form=b x y", 2, r"unknown flag: --form \(did you mean from\?\)"),
        ("FROM a\nCOPY --link=2 x y", 2, "expecting boolean value"),
        ("FROM a\nENV x", 2, "must have two arguments"),
        ("FROM a\nENV a=b c", 2, "can't find = in 'c'"),
        ("FROM a\nSHELL sh -c", 2, "SHELL requires the arguments to be in JSON form"),
        ("FROM a\nONBUILD FROM b", 2, "isn't allowed as an ONBUILD trigger"),
        ("FROM a\nONBUILD ONBUILD RUN x", 2, "Chaining ONBUILD"),
        ("FROM a\nHEALTHCHECK CMDX foo", 2, "unknown type"),
        ("FROM a\nHEALTHCHECK --interval=1x CMD foo", 2, "not a duration"),
        ("FROM a\nRUN --mount=type=bnd,target=/x y", 2, r"did you mean bind\?"),
        ("FROM a\nRUN --mount=type=cache y", 2, "needs a target"),
        ("FROM a\nRUN --mount=type=cache,target=/x,sharing=foo y", 2, "unsupported sharing"),
        ("FROM a\nRUN --mount=type=secret,from=x,id=y z", 2, "from is not allowed"),
        ("FROM a\nRUN --mount=from=$x,target=/y z", 2, "variables are not expanded"),
        ("FROM a\nRUN --network=foo z", 2, "invalid network mode"),
        ("FROM a\nRUN", 2, "requires at least one argument"),
    ],
)  # fmt: skip
def test_refused(text: str, line: int, message: str) -> None:
    with pytest.raises(errors.DockerfileError, match=message) as caught:
        instructions.load(text)
    assert caught.value.first == line
    shown = str(caught.value.shown("Dockerfile", text))
    assert f"Dockerfile:{line}" in shown
    assert ">>>" in shown


def test_empty() -> None:
    for text in ("", "\n# only\n"):
        with pytest.raises(errors.DockerfileError, match="no instructions"):
            instructions.load(text)


def test_instructions_have_their_forms() -> None:
    file = instructions.load(
        'ARG V=1\nFROM a AS B\nCMD ["x"]\nENTRYPOINT y z\nENV A=1 B="x y"\nENV K v w\n'
        'LABEL a=b\nEXPOSE 80 443/udp\nVOLUME /a /b\nVOLUME ["/c d"]\n'
        "HEALTHCHECK --interval=1m30s --retries=3 CMD curl x\nHEALTHCHECK NONE\n"
    )
    body = file.stages[0].body
    assert file.stages[0].head.name == "b"
    assert file.args[0].pairs == [("V", "1")]
    assert isinstance(body[0], instructions.Command)
    assert body[0].args == ["x"]
    assert isinstance(body[1], instructions.Command)
    assert (body[1].args, body[1].shell) == (None, "y z")
    assert isinstance(body[2], instructions.Pairs)
    assert body[2].pairs == [("A", "1"), ("B", '"x y"')]
    assert isinstance(body[3], instructions.Pairs)
    assert body[3].pairs == [("K", "v w")]
    assert isinstance(body[8], instructions.Healthcheck)
    assert body[8].check.interval == 90 * 10**9
    assert body[8].check.test == ["CMD-SHELL", "curl x"]
    assert isinstance(body[7], instructions.Words)
    assert body[7].words == ["/c d"]


_LINES = st.lists(
    st.one_of(
        st.sampled_from([
            "FROM a", "FROM a AS b", "RUN x \\", "RUN <<E", "E", "COPY <<E /x", "ENV a=\"b",
            "# c", "", "ARG x", "CMD [", 'CMD ["a"]', "LABEL a='b c'", "# escape=`", "ONBUILD RUN",
            "RUN --mount=type=cache,target=/x y", "COPY --chown=1 a b", "\\",
        ]),
        st.text(max_size=30),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_LINES)
def test_any_text_is_a_dockerfile_or_an_error_with_a_line(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        file = instructions.load(text)
    except errors.DockerfileError as error:
        assert 0 <= error.first <= text.count("\n") + 1
        assert str(error.shown("Dockerfile", text))
    else:
        assert file.stages
