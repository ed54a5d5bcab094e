"""Hostile sources of a build: Git URLs, compressed files, caches in directories, image files."""

from __future__ import annotations

import os
import pathlib
import subprocess
import tracemalloc

import pytest
import zstandard

from firkin import errdefs
from firkin.builder import blobs, copying, select, service, sources, steps, trees
from firkin.types import image


def _settings(home: pathlib.Path) -> list[str]:
    done = subprocess.run(
        ["git", "config", "--file", str(home), "--null", "--list"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.rstrip("\0").split("\0")


@pytest.mark.parametrize(
    "url",
    [
        "https://host/a.git",
        'https://host/"][core]sshCommand=id;[x "y.git',
        "https://host/\\.git",
        'https://host/\\"] [core] fsmonitor=id .git',
    ],
)
def test_a_git_url_sets_nothing_but_its_header(tmp_path: pathlib.Path, url: str) -> None:
    file = tmp_path / "config"
    file.write_text(sources.credentials(url, 'a"b;c#d\\e'))
    assert _settings(file) == [f'http.{url}.extraheader\nAuthorization: Bearer a"b;c#d\\e']


@pytest.mark.parametrize("url", ["https://h/\n[core]\nfsmonitor=id\n.git", "https://h/\0.git"])
def test_a_git_url_with_control_characters_is_refused(url: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="control characters"):
        sources.credentials(url, "token")


def test_looking_for_an_archive_decompresses_its_beginning_only(tmp_path: pathlib.Path) -> None:
    bomb = tmp_path / "bomb"
    with open(bomb, "wb") as file, zstandard.ZstdCompressor(level=1).stream_writer(file) as writer:
        for _ in range(256):
            writer.write(bytes(1 << 20))
    assert bomb.stat().st_size < 1 << 16
    tracemalloc.start()
    try:
        assert not steps.is_archive(str(bomb))
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_fifo_for_the_list_of_users_is_no_list(tmp_path: pathlib.Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc" / "passwd")
    assert copying.Target(str(tmp_path), str(tmp_path)).read("etc/passwd") == ""


def test_wildcards_do_not_look_through_links_at_the_host(tmp_path: pathlib.Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "below").mkdir(parents=True)
    inside = root / str(outside).lstrip("/")
    (inside / "other").mkdir(parents=True)
    (inside / "other" / "x").touch()
    (inside / "below").touch()
    (root / "link").symlink_to(outside)
    found = select.matches(trees.Tree(root=str(root)), "link/**/x")
    assert [one.shown for one in found] == ["link/other/x"]


DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize("kind", ["fifo", "link", "linked directory"])
async def test_a_cache_directory_has_files_only(tmp_path: pathlib.Path, kind: str) -> None:
    root, outside = tmp_path / "cache", tmp_path / "outside"
    outside.mkdir()
    (outside / ("a" * 64)).write_text("secret")
    (root / "blobs").mkdir(parents=True)
    if kind == "linked directory":
        (root / "blobs" / "sha256").symlink_to(outside)
    else:
        (root / "blobs" / "sha256").mkdir()
        place = root / "blobs" / "sha256" / ("a" * 64)
        if kind == "fifo":
            os.mkfifo(place)
        else:
            place.symlink_to(outside / ("a" * 64))
    places = blobs.Directory(str(root))
    with pytest.raises(OSError):
        async for _ in places.read(image.Descriptor(media_type="", digest=DIGEST, size=6)):
            pass


@pytest.mark.parametrize("name", ["Dockerfile", "link"])
def test_a_fifo_is_no_dockerfile(tmp_path: pathlib.Path, name: str) -> None:
    os.mkfifo(tmp_path / "Dockerfile")
    (tmp_path / "link").symlink_to("/Dockerfile")
    with pytest.raises(errdefs.InvalidParameter, match="is not a regular file"):
        service._read(str(tmp_path), name)


def test_a_dockerfile_is_found_through_links_inside(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").write_bytes(b"FROM scratch")
    (tmp_path / "Dockerfile").symlink_to("../../real")
    assert service._read(str(tmp_path), "Dockerfile") == b"FROM scratch"
