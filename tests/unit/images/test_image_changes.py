import pytest

from firkin import errdefs
from firkin.images import changes
from firkin.types import image as types


def applied(*lines: str) -> types.RunConfig:
    config = types.RunConfig(env=["A=1", "B=2"])
    changes.apply(config, lines)
    return config


def test_each_instruction() -> None:
    config = applied(
        'CMD ["a", "b c"]',
        "entrypoint run it",
        'ENV B=3 C="x y"',
        "ENV D some  text",
        "EXPOSE 80 443/udp 8000-8001",
        'LABEL k="v w" e=',
        "USER 1000:1000",
        'VOLUME ["/a b"]\nVOLUME /c /d',
        "WORKDIR /srv",
        "WORKDIR sub/../dir",
        "STOPSIGNAL SIGQUIT",
        "HEALTHCHECK --interval=1m30s --retries=3 CMD wget -q localhost",
        "ONBUILD RUN make",
    )
    assert config.cmd == ["a", "b c"]
    assert config.entrypoint == ["/bin/sh", "-c", "run it"]
    assert config.env == ["A=1", "B=3", "C=x y", "D=some  text"]
    assert set(config.exposed_ports or {}) == {"80/tcp", "443/udp", "8000/tcp", "8001/tcp"}
    assert config.labels == {"k": "v w", "e": ""}
    assert config.user == "1000:1000"
    assert set(config.volumes or {}) == {"/a b", "/c", "/d"}
    assert config.working_dir == "/srv/dir"
    assert config.stop_signal == "SIGQUIT"
    assert config.healthcheck is not None
    assert config.healthcheck.test == ["CMD-SHELL", "wget -q localhost"]
    assert (config.healthcheck.interval, config.healthcheck.retries) == (90 * 10**9, 3)
    assert config.on_build == ["RUN make"]


@pytest.mark.parametrize(
    "line",
    ["RUN x", "ENV", "ENV A", "ENV A=1 B", "EXPOSE x", "EXPOSE 70000", "EXPOSE 9-8", "LABEL =v",
     "HEALTHCHECK x", "HEALTHCHECK --interval=5 CMD x", "HEALTHCHECK --foo=1 CMD x", "USER",
     'ENV A="x', "ONBUILD FROM x", 'VOLUME [""]'],
)  # fmt: skip
def test_refuses_and_quotes(line: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="cannot apply the change"):
        applied(line)


def test_an_entry_point_takes_the_command_away_unless_that_is_changed_too() -> None:
    config = types.RunConfig(cmd=["old"])
    changes.apply(config, ["USER root", ""])
    assert config.cmd == ["old"]
    changes.apply(config, ['ENTRYPOINT ["/app"]'])
    assert (config.entrypoint, config.cmd) == (["/app"], None)
    changes.apply(config, ['CMD ["a"]', 'ENTRYPOINT ["/app"]'])
    assert config.cmd == ["a"]


def test_words() -> None:
    found = applied(r"""VOLUME a "b \"c" 'd \e' f\ g '/$HOME' /$HOME""").volumes
    assert list(found or {}) == ["a", 'b "c', r"d \e", "f g", "/$HOME", "/"]


def test_variables() -> None:
    found = applied("ENV A=/bin\nENV B=/usr/bin:$A C='$A'\nUSER ${A#/}\nLABEL l=$B d=${D:-none}")
    assert found.env is not None and found.env[-3:] == ["A=/bin", "B=/usr/bin:/bin", "C=$A"]
    assert (found.user, found.labels) == ("bin", {"l": "/usr/bin:/bin", "d": "none"})
