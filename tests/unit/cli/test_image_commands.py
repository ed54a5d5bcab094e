"""Image commands against a fake engine: what is asked, what is shown, how it ends."""

from __future__ import annotations

import io
import json
import pathlib
import re
from typing import Any

import fake_engine
import hypothesis
import pytest
from hypothesis import strategies

from firkin import errdefs, reference
from firkin.cli import errors, progress
from firkin.cli.opts import building

ID = "sha256:458fcf6db8ffba7c06017440835ef9d31c232a6ffc3932d7187c30f6de8aa0f5"
DIGEST = "sha256:558fcf6db8ffba7c06017440835ef9d31c232a6ffc3932d7187c30f6de8aa0f5"
IMAGES = [
    {
        "Id": ID,
        "RepoTags": ["localhost:5000/foo/x:1", "z:2"],
        "RepoDigests": [f"localhost:5000/foo/x@{DIGEST}", f"w@{DIGEST}"],
        "Created": 1700000000,
        "Size": 123456789,
        "SharedSize": -1,
        "Containers": -1,
    },
    {
        "Id": ID.replace("4", "7"),
        "RepoTags": ["<none>:<none>"],
        "RepoDigests": ["<none>@<none>"],
        "Created": 1700000000,
        "Size": 1234,
        "SharedSize": 500,
        "Containers": 2,
    },
]


@pytest.fixture
def config(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("DOCKER_API_VERSION", raising=False)
    return tmp_path


def _engine(directory: pathlib.Path, answers: dict[str, Any]) -> fake_engine.FakeEngine:
    return fake_engine.FakeEngine(directory, answers)


def test_images_table(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _engine(config, {"GET /images/json": IMAGES}) as engine:
        assert (
            engine.run("images", "--format", "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Size}}")
            == 0
        )
    assert capsys.readouterr().out == (
        "REPOSITORY             TAG       IMAGE ID       SIZE\n"
        "localhost:5000/foo/x   1         458fcf6db8ff   123MB\n"
        "z                      2         458fcf6db8ff   123MB\n"
        "w                      <none>    458fcf6db8ff   123MB\n"
        "<none>                 <none>    758fcf6db8ff   1.23kB\n"
    )


def test_images_with_digests(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _engine(config, {"GET /images/json": IMAGES}) as engine:
        engine.run("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}")
        with_digests = capsys.readouterr().out
        engine.run("images", "--format", "{{.Repository}} {{.Digest}}")
        without = capsys.readouterr().out
    assert with_digests == (
        f"localhost:5000/foo/x 1 {DIGEST}\nz 2 <none>\nw <none> {DIGEST}\n<none> <none> <none>\n"
    )
    assert without == f"localhost:5000/foo/x {DIGEST}\nz <none>\nw \n<none> <none>\n"


def test_images_as_json(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _engine(config, {"GET /images/json": IMAGES[1:]}) as engine:
        engine.run("images", "--format", "{{json .}}")
    line = json.loads(capsys.readouterr().out)
    assert line.pop("CreatedSince").endswith(" ago")
    assert line == {
        "Containers": "2",
        "CreatedAt": "2023-11-14 22:13:20 +0000 UTC",
        "Digest": "<none>",
        "ID": "758fcf6db8ff",
        "Repository": "<none>",
        "SharedSize": "500B",
        "Size": "1.23kB",
        "Tag": "<none>",
        "UniqueSize": "734B",
        "VirtualSize": "1.234kB",
    }


def test_images_quiet_ignores_the_configured_format(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config / "config.json").write_text('{"imagesFormat": "{{.Tag}}"}')
    with _engine(config, {"GET /images/json": IMAGES[:1]}) as engine:
        engine.run("images")
        assert capsys.readouterr().out == "1\n2\n<none>\n"
        engine.run("images", "-q", "--no-trunc")
        assert capsys.readouterr().out == f"{ID}\n" * 3


def test_images_filters(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _engine(config, {"GET /images/json": []}) as engine:
        engine.run("images", "-a", "-f", "label=a=b", "-f", "label=c", "-f", "dangling=true", "x")
        assert engine.run("images", "-f", "bad") == 125
        assert engine.run("images", "--tree", "-q") == 1
    ((_, _, query, _),) = engine.requests
    assert query["all"] == ["1"]
    assert json.loads(query["filters"][0]) == {
        "label": ["a=b", "c"],
        "dangling": ["true"],
        "reference": ["x"],
    }
    assert "bad format of filter (expected name=value)" in capsys.readouterr().err


def test_history(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = '/bin/sh -c #(nop)  CMD ["/bin/sh"] and a very long\tcommand'
    steps = [
        {"Id": ID, "Created": 1700000000, "CreatedBy": long, "Size": 0, "Comment": "kit"},
        {"Id": "<missing>", "Created": 0, "CreatedBy": "x", "Size": 1234567, "Comment": ""},
    ]
    with _engine(config, {"GET /images/a/b:1/history": steps}) as engine:
        engine.run("history", "-H=false", "a/b:1")
        assert capsys.readouterr().out == (
            "IMAGE          CREATED AT             CREATED BY"
            "                                      SIZE      COMMENT\n"
            '458fcf6db8ff   2023-11-14T22:13:20Z   /bin/sh -c #(nop)  CMD ["/bin/sh"] and a ver…'
            "   0         kit\n"
            "<missing>      1970-01-01T00:00:00Z   x"
            "                                               1234567   \n"
        )
        engine.run("history", "--no-trunc", "--format", "{{.ID}} {{.CreatedBy}} {{.Size}}", "a/b:1")
        assert capsys.readouterr().out == (
            f"{ID} {long} 0B\n<missing> x 1.23MB\n".replace("\t", " ")
        )
        engine.run("history", "--format", "{{.CreatedSince}}", "a/b:1")
        assert capsys.readouterr().out.splitlines()[1] == "N/A"


def test_remove_goes_on_after_a_failure(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {
        "DELETE /images/a:1": [{"Untagged": "a:1"}, {"Deleted": ID}],
        "DELETE /images/used": (409, {"message": "in use"}),
    }
    with _engine(config, answers) as engine:
        assert engine.run("rmi", "gone", "a:1") == 1
        out, err = capsys.readouterr()
        assert out == f"Untagged: a:1\nDeleted: {ID}\n"
        assert "Error response from daemon: nothing at /images/gone" in err
        assert engine.run("rmi", "-f", "--no-prune", "gone") == 0
        assert engine.requests[-1][2] == {"force": ["1"], "noprune": ["1"]}
        assert engine.run("rmi", "-f", "used") == 1


def test_tag_and_commit(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = {"POST /images/a/tag": b"", "POST /commit": {"Id": ID}}
    with _engine(config, answers) as engine:
        assert engine.run("tag", "a", "localhost:5000/b") == 0
        assert engine.run("tag", "a", "b:c") == 0
        words = ("-a", "me", "-m", "msg", "-c", "CMD x", "-c", "USER y", "-p=false", "box", "x/y:1")
        assert engine.run("commit", *words) == 0
    queries = [query for _, _, query, _ in engine.requests]
    assert queries[0] == {"repo": ["localhost:5000/b"]}
    assert queries[1] == {"repo": ["b"], "tag": ["c"]}
    assert queries[2] == {
        "container": ["box"],
        "repo": ["x/y"],
        "tag": ["1"],
        "comment": ["msg"],
        "author": ["me"],
        "changes": ["CMD x", "USER y"],
        "pause": ["0"],
    }
    assert capsys.readouterr().out == f"{ID}\n"


def test_save_writes_all_or_nothing(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = config / "a.tar"
    target.write_bytes(b"old")
    with _engine(config, {}) as engine:
        assert engine.run("save", "-o", str(target), "a") == 1
        assert target.read_bytes() == b"old"
        engine.answers["GET /images/get"] = b"archive"
        assert engine.run("save", "-o", str(target), "a", "b") == 0
        assert engine.requests[-1][2] == {"names": ["a", "b"]}
        assert engine.run("save", "-o", str(config / "no" / "x"), "a") == 1
        assert engine.run("save", "-o", str(config), "a") == 1
        assert len(engine.requests) == 2
    assert target.read_bytes() == b"archive"
    assert sorted(path.name for path in config.iterdir() if path.name != "s") == ["a.tar"]
    assert "does not exist" in capsys.readouterr().err


def test_load_and_import_stream_the_archive(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = config / "a.tar"
    archive.write_bytes(b"x" * 3_000_000)
    answers = {
        "POST /images/load": b'{"stream":"Loaded image: x:1\\n"}\n',
        "POST /images/create": b'{"status":"sha256:1"}\n',
    }
    with _engine(config, answers) as engine:
        assert engine.run("load", "-i", str(archive)) == 0
        words = ("-c", "CMD x", "-m", "msg", "--platform", "linux/arm64", str(archive), "foo:bar")
        assert engine.run("import", *words) == 0
        assert engine.run("import", "https://x/y.tar") == 0
        assert engine.run("load", "-i", str(config / "none")) == 1
    out, err = capsys.readouterr()
    assert out == "Loaded image: x:1\nsha256:1\nsha256:1\n"
    assert "none: no such file or directory" in err
    load, first, second = engine.requests
    assert load[2] == {"quiet": ["1"], "size": ["3000000"]}
    assert load[3] == first[3] == archive.read_bytes()
    assert first[2] == {
        "fromSrc": ["-"],
        "repo": ["foo"],
        "tag": ["bar"],
        "message": ["msg"],
        "changes": ["CMD x"],
        "platform": ["linux/arm64"],
        "size": ["3000000"],
    }
    assert (second[2], second[3]) == ({"fromSrc": ["https://x/y.tar"]}, b"")


def test_a_failure_in_the_stream_ends_the_command(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = b'{"status":"begin"}\n{"errorDetail":{"message":"no space"},"error":"no space"}\n'
    archive = config / "a.tar"
    archive.write_bytes(b"x")
    with _engine(config, {"POST /images/load": body}) as engine:
        assert engine.run("load", "-i", str(archive)) == 1
    assert capsys.readouterr() == ("begin\n", "no space\n")


def test_prune_asks_first(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = {"ImagesDeleted": [{"Untagged": "x:1"}, {"Deleted": ID}], "SpaceReclaimed": 2000}
    with _engine(config, {"POST /images/prune": report}) as engine:
        monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
        assert engine.run("image", "prune") == 0
        assert engine.requests == []
        assert capsys.readouterr().out == (
            "WARNING! This will remove all dangling images.\n"
            "Are you sure you want to continue? [y/N] "
        )
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        assert engine.run("image", "prune", "-a", "--filter", "until=24h") == 0
    assert json.loads(engine.requests[0][2]["filters"][0]) == {
        "until": ["24h"],
        "dangling": ["false"],
    }
    assert capsys.readouterr().out.endswith(
        f"Deleted Images:\nuntagged: x:1\ndeleted: {ID}\n\nTotal reclaimed space: 2kB\n"
    )


def test_inspect(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _engine(config, {"GET /images/a:1/json": {"Id": ID, "RepoTags": None}}) as engine:
        assert engine.run("image", "inspect", "-f", "{{.ID}} {{.RepoTags}}", "a:1", "b") == 1
    out, err = capsys.readouterr()
    assert out == f"{ID} []\n"
    assert err == "Error response from daemon: nothing at /images/b/json\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


MESSAGES = [
    {"status": "Pulling from x", "id": "latest"},
    {"status": "Waiting", "id": "a", "progressDetail": {}},
    {"status": "Waiting", "id": "b", "progressDetail": {}},
    {"status": "Loading", "id": "a", "progressDetail": {"current": 500, "total": 1000}},
    {"status": "Done\x1b[2J", "id": "a", "progressDetail": {}},
    {"status": "Digest: sha256:1"},
]


def test_progress_off_a_terminal_has_no_bars() -> None:
    out = io.StringIO()
    progress.show(MESSAGES, out)
    assert out.getvalue() == (
        "latest: Pulling from x\na: Waiting\nb: Waiting\na: Done[2J\nDigest: sha256:1\n"
    )


def test_progress_on_a_terminal_draws_in_place() -> None:
    out = _Terminal()
    progress.show(MESSAGES, out)
    text = out.getvalue()
    half = "=" * 25 + ">" + " " * 25
    assert f"\x1b[2A\x1b[2K\ra: Loading [{half}]     500B/1kB\r\x1b[2B" in text
    assert "\x1b[2J" not in text


@pytest.mark.parametrize(
    ("detail", "width", "text"),
    [
        ({}, 200, ""),
        ({"current": 1500}, 200, "   1.5kB"),
        ({"current": 3, "units": "files"}, 200, "3 files"),
        ({"current": 1, "total": 2, "units": "files"}, 80, "1/2 files"),
        ({"current": 2000, "total": 1000}, 80, "     2kB"),
        ({"current": 1, "total": 1, "hidecounts": True}, 200, f"[{'=' * 50}>] "),
    ],
)
def test_bar(detail: dict[str, Any], width: int, text: str) -> None:
    assert progress.bar(detail, width) == text


def test_progress_rejects_what_is_no_message() -> None:
    with pytest.raises(errors.CliError, match="is no object"):
        progress.show([3], io.StringIO())  # type: ignore[list-item]


@hypothesis.given(strategies.text("ab0A._-/:@é", max_size=12))
def test_names_of_builds(name: str) -> None:
    """What is right at first sight is right by the grammar."""
    try:
        reference.parse(name)
    except errdefs.InvalidParameter as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            building.image_name(name)
    else:
        assert building.image_name(name) == name
