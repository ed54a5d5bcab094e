import pytest
from hypothesis import given
from hypothesis import strategies as st

from firkin import errdefs, reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("ghcr.io/a/b", "ghcr.io/a/b:latest", "ghcr.io/a/b:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        (f"a@{DIGEST}", f"docker.io/library/a@{DIGEST}", f"a@{DIGEST}"),
        (f"a:t@{DIGEST}", f"docker.io/library/a:t@{DIGEST}", f"a:t@{DIGEST}"),
        ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest", "a__b/c--d.e_f:latest"),
    ],
)
def test_normalises(text: str, canonical: str, familiar: str) -> None:
    parsed = reference.parse(text).tagged()
    assert (str(parsed), parsed.familiar) == (canonical, familiar)


@pytest.mark.parametrize(
    "text",
    ["", "A", "a b", "a:", "a:b:c", ":t", "a//b", "/a", "a/", "-a", "a-", "a..b", "a___b",
     "a@sha256:00", "a@" + DIGEST[:-1], "a:" + "t" * 129, "x/" * 130 + "y", "é", "a\n", "a:t\n",
     "host:port/a", "ghcr.io/", "a/../b"],
)  # fmt: skip
def test_refuses(text: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match=r"^invalid reference format"):
        reference.parse(text)


def test_refuses_a_bare_id() -> None:
    with pytest.raises(errdefs.InvalidParameter, match="cannot specify 64-byte hexadecimal"):
        reference.parse("ab" * 32)


def test_upper_case_is_named() -> None:
    with pytest.raises(errdefs.InvalidParameter, match=r"must be lowercase"):
        reference.parse("user/App")


def test_combine() -> None:
    assert reference.combine("a", "t").familiar == "a:t"
    assert reference.combine("a:x").familiar == "a:x"
    assert reference.combine("a").familiar == "a:latest"
    with pytest.raises(errdefs.InvalidParameter):
        reference.combine(f"a@{DIGEST}")
    with pytest.raises(errdefs.InvalidParameter, match="is not a tag"):
        reference.combine("a", "no/tag")


_component = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}", fullmatch=True).filter(
    lambda text: len(text) < 40
)
_tag = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}", fullmatch=True)


@given(st.lists(_component, min_size=1, max_size=4), st.none() | _tag)
def test_round_trip(parts: list[str], tag: str | None) -> None:
    text = "/".join(["docker.io", *parts]) + (f":{tag}" if tag else "")
    parsed = reference.parse(text)
    assert reference.parse(str(parsed)) == parsed
    if len(parsed.familiar) != 64 and parsed.path.split("/")[0].count(".") == 0:
        assert reference.parse(parsed.familiar) == parsed


@given(st.text(max_size=80))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except errdefs.InvalidParameter:
        return
    assert reference.parse(str(parsed)) == parsed
    assert ".." not in parsed.name and not parsed.name.startswith("/")
