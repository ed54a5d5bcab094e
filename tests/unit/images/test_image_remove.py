"""The rules of removing and resolving, on a catalogue without any files."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from firkin import errdefs
from firkin.content import local
from firkin.images import catalog, filters, remove, variants
from firkin.store import db

RUNNING = remove.User("c" * 64, True)
STOPPED = remove.User("d" * 64, False)


@pytest.fixture
def known(tmp_path: Path) -> Iterator[catalog.Catalog]:
    database = db.Database.open(str(tmp_path / "db"))
    yield catalog.Catalog(database, local.LocalStore(str(tmp_path / "content")))
    database.close()


async def add(known: catalog.Catalog, number: int, *names: str, parent: str = "") -> str:
    day = f"2024-01-0{number}T00:00:00Z"
    config = {"created": day, "config": {"Labels": {"n": str(number)}}, "rootfs": {"diff_ids": []}}
    row = catalog.make_row(json.dumps(config).encode(), "", "", 0, parent)
    return (await known.add(row, names)).id


NAME, OTHER = "docker.io/library/a:1", "docker.io/library/b:1"


async def rm(
    known: catalog.Catalog, name: str, *users: remove.User, force: bool = False
) -> list[str]:
    events: list[str] = []
    others = variants.Variants(known, known._store)
    remover = remove.Remover(known, others, lambda action, image, attributes: events.append(action))
    items = await remover.remove(name, force, False, lambda image: users)
    shown = [item.untagged or item.deleted for item in items]
    assert events == ["untag" if item.untagged else "delete" for item in items]
    return shown


async def test_by_name(known: catalog.Catalog) -> None:
    image = await add(known, 1, NAME, OTHER)
    assert await rm(known, "b:1", RUNNING) == ["b:1"]
    assert await rm(known, "a:1") == ["a:1", image]
    assert known.images == {} and known.names == {}


async def test_last_name_of_a_used_image(known: catalog.Catalog) -> None:
    image = await add(known, 1, NAME)
    text = (
        r'^conflict: unable to remove repository reference "a:1" \(must force\) - container '
        rf"d{{12}} is using its referenced image {image[7:19]}$"
    )
    with pytest.raises(errdefs.Conflict, match=text):
        await rm(known, "a:1", STOPPED)
    assert await rm(known, "a:1", RUNNING, force=True) == ["a:1"]
    assert image in known.images


async def test_by_id(known: catalog.Catalog) -> None:
    image = await add(known, 1, NAME, OTHER)
    short = image[7:19]
    with pytest.raises(errdefs.Conflict, match=r"multiple repositories"):
        await rm(known, short)
    with pytest.raises(
        errdefs.Conflict,
        match=rf"^conflict: unable to delete {short} \(cannot be forced\) - image is being used "
        r"by running container c{12}$",
    ):
        await rm(known, short, RUNNING, force=True)
    assert await rm(known, short, STOPPED, force=True) == ["a:1", "b:1", image]


async def test_stopped_container_blocks_an_id(known: catalog.Catalog) -> None:
    image = await add(known, 1)
    with pytest.raises(errdefs.Conflict, match=r"\(must be forced\) - .* stopped container d"):
        await rm(known, image, STOPPED)


async def test_children_and_their_parents(known: catalog.Catalog) -> None:
    parent = await add(known, 1)
    child = await add(known, 2, NAME, parent=parent)
    with pytest.raises(errdefs.Conflict, match="image has dependent child images"):
        await rm(known, parent, force=True)
    assert await rm(known, "a:1") == ["a:1", child, parent]


async def test_resolve(known: catalog.Catalog) -> None:
    image = await add(known, 1, NAME, "docker.io/library/a:latest")
    for name in ("a:1", "a", "docker.io/a:1", image, image[7:], image[7:11], image[:20]):
        assert known.resolve(name).id == image
    for name, shown in (("x", "x:latest"), ("q/y:2", "q/y:2"), ("sha256:00", "sha256:00")):
        with pytest.raises(errdefs.NotFound, match=f"^No such image: {shown}$"):
            known.resolve(name)
    with pytest.raises(errdefs.InvalidParameter, match="invalid reference format"):
        known.resolve("No Name")


async def test_ambiguous_id(known: catalog.Catalog) -> None:
    seen: set[str] = set()
    for number in range(1, 10):
        image = await add(known, number)
        if image[7] in seen:
            with pytest.raises(errdefs.InvalidParameter, match="ambiguous"):
                known.resolve(image[:8])
            return
        seen.add(image[7])
    pytest.skip("nine ids without a common first digit")


async def test_read_again(known: catalog.Catalog, tmp_path: Path) -> None:
    first = await add(known, 1, NAME)
    second = await add(known, 2, NAME, OTHER)
    again = catalog.Catalog(known._db, known._store)
    await again.open()
    assert again.images == known.images and again.names == known.names
    assert known.images[first].refs == ()
    assert known.images[second].refs == (NAME, OTHER)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "123"),
        ({"dangling": ["true"]}, "3"),
        ({"dangling": ["0"]}, "12"),
        ({"label": ["n=2"]}, "2"),
        ({"label": ["n"]}, "123"),
        ({"label!": ["n=2"]}, "13"),
        ({"before": ["b:1"]}, "1"),
        ({"since": ["a:1"]}, "23"),
        ({"until": ["2024-01-02T12:00:00Z"]}, "12"),
        ({"until": ["1h"]}, "123"),
        ({"reference": ["a"]}, "1"),
        ({"reference": ["*:1"]}, "12"),
        ({"reference": ["c", "b:*"]}, "2"),
    ],
)
async def test_filters(known: catalog.Catalog, wanted: dict[str, list[str]], expected: str) -> None:
    await add(known, 1, NAME)
    await add(known, 2, OTHER)
    await add(known, 3)
    passes = filters.predicate(wanted, known.resolve)
    found = [i.config.config.labels for i in known.images.values() if passes(i)]
    assert "".join(sorted(labels["n"] for labels in found if labels)) == expected


def test_bad_filters(known: catalog.Catalog) -> None:
    for bad in ({"dangling": ["maybe"]}, {"until": ["soon"]}):
        with pytest.raises(errdefs.InvalidParameter):
            filters.predicate(bad, known.resolve)
    with pytest.raises(errdefs.InvalidParameter, match="invalid filter 'x'"):
        filters.check({"x": []}, filters.LIST)
