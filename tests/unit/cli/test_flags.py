"""The grammar of flags."""

from __future__ import annotations

import pytest

from firkin.cli import errors, flags

FLAGS = (
    flags.boolean("tty", "t", ""),
    flags.boolean("interactive", "i", ""),
    flags.boolean("proxy", "", "", True),
    flags.string("name", "n", ""),
    flags.strings("env", "e", ""),
    flags.integer("last", "l", "", -1),
    flags.integer("weight", "", "", bits=16, signed=False),
)


def _parse(*argv: str, interspersed: bool = True) -> tuple[flags.Values, list[str]]:
    return flags.parse(FLAGS, argv, interspersed=interspersed)


def test_bundles_and_values_in_every_spelling() -> None:
    values, args = _parse("-it", "-nx", "-e=1", "-e", "2", "--env=3", "--env", "4", "a")
    assert values.flag("tty") and values.flag("interactive")
    assert values.text("name") == "x"
    assert values.items("env") == ["1", "2", "3", "4"]
    assert args == ["a"]


def test_a_bundle_may_end_with_a_value() -> None:
    values, args = _parse("-itn", "web", "rest")
    assert (values.text("name"), args) == ("web", ["rest"])


def test_defaults_are_known_from_given_values() -> None:
    values, _ = _parse("--last", "-1")
    assert values.changed("last") and values.number("last") == -1
    assert not values.changed("name")


def test_booleans_take_a_value_only_behind_an_equals_sign() -> None:
    values, args = _parse("--proxy=false", "--tty", "false")
    assert not values.flag("proxy")
    assert values.flag("tty") and args == ["false"]


def test_flags_end_at_a_double_dash() -> None:
    assert _parse("a", "--", "-t", "--")[1] == ["a", "-t", "--"]


def test_flags_of_the_program_within_are_not_ours() -> None:
    values, args = _parse("-t", "image", "-i", "--bogus", interspersed=False)
    assert args == ["image", "-i", "--bogus"] and not values.flag("interactive")


def test_a_lone_dash_is_an_argument() -> None:
    assert _parse("-")[1] == ["-"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["--foo=1"], "unknown flag: --foo"),
        (["-tx"], "unknown shorthand flag: 'x' in -x"),
        (["--name"], "flag needs an argument: --name"),
        (["-tn"], "flag needs an argument: 'n' in -tn"),
        (["---x"], "bad flag syntax: ---x"),
        (["--=x"], "bad flag syntax: --=x"),
        (
            ["-t=maybe"],
            'invalid argument "maybe" for "-t, --tty" flag: '
            'strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            ["--weight", "70000"],
            'invalid argument "70000" for "--weight" flag: '
            'strconv.ParseUint: parsing "70000": value out of range',
        ),
        (
            ["-lx"],
            'invalid argument "x" for "-l, --last" flag: '
            'strconv.ParseInt: parsing "x": invalid syntax',
        ),
    ],
)
def test_what_is_wrong_is_said_as_docker_does(argv: list[str], message: str) -> None:
    with pytest.raises(errors.FlagError) as refused:
        _parse(*argv)
    assert str(refused.value) == message
    assert refused.value.status == 125


def test_help() -> None:
    with pytest.raises(flags.HelpRequested):
        _parse("--help")


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("0x1f", 31), ("017", 15), ("-5", -5), ("+3", 3)]
)
def test_numbers_as_go_reads_them(text: str, number: int) -> None:
    assert flags.parse_integer(text) == number


@pytest.mark.parametrize("text", ["", "-", "1.5", "12a", "9" * 30, "--1", "²"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="ParseInt"):
        flags.parse_integer(text)


@pytest.mark.parametrize(
    ("arity", "count", "message"),
    [
        (flags.none(), 1, "accepts no arguments"),
        (flags.exactly(1), 0, "requires 1 argument"),
        (flags.exactly(2), 1, "requires 2 arguments"),
        (flags.at_least(1), 0, "requires at least 1 argument"),
        (flags.between(1, 2), 3, "requires at least 1 and at most 2 arguments"),
    ],
)
def test_counts(arity: flags.Arity, count: int, message: str) -> None:
    with pytest.raises(errors.ArgumentError, match=f"^{message}$"):
        arity.check(count)
    arity.check(arity.least)
