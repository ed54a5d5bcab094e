"""Sizes of trees that change: who asks, and what it costs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path

import pytest

from firkin.linux import sampler, treesize


class Place:
    """A tree that counts how often it is measured; a measurement takes ``cost`` on its clock."""

    def __init__(self, cost: float = 0.001) -> None:
        self.now, self.cost, self.walks = 100.0, cost, 0
        self.sizes: sampler.Sampler[int] = sampler.Sampler(lambda: self.now)

    def measure(self) -> int:
        self.walks += 1
        self.now += self.cost
        return self.walks

    async def ask(self, *, live: bool, version: object = None) -> int:
        tree = sampler.Tree("tree", self.measure, live, version)
        return (await self.sizes.of(tree)).value


async def test_what_nobody_writes_to_is_measured_once() -> None:
    place = Place()
    assert [await place.ask(live=False) for _ in range(3)] == [1, 1, 1]
    place.now += 1e6
    assert await place.ask(live=False) == 1
    place.sizes.touch("tree")
    assert await place.ask(live=False) == 2
    assert await place.ask(live=False, version=(1, 2)) == 3  # it has run since
    assert await place.ask(live=False, version=(1, 2)) == 3
    place.sizes.forget("tree")
    assert await place.ask(live=False) == 4


async def test_what_is_in_use_takes_its_share_and_no_more() -> None:
    place = Place(cost=0.1)
    assert [await place.ask(live=True) for _ in range(3)] == [1, 1, 1]
    place.now += sampler.PATIENCE * 0.1 + 0.01
    assert [await place.ask(live=True) for _ in range(3)] == [2, 2, 2]


async def test_nobody_waits_for_a_large_tree_twice() -> None:
    place = Place(cost=sampler.SLOW * 2)
    assert await place.ask(live=True) == 1
    place.now += sampler.PATIENCE * place.cost + 1
    assert await place.ask(live=True) == 1
    for _ in range(1000):
        if place.walks == 2:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    assert await place.ask(live=True) == 2
    place.sizes.touch("tree")  # who changed something wants to see it
    assert await place.ask(live=True) == 3
    await place.sizes.close()


async def test_a_storm_costs_one_measurement() -> None:
    place, go = Place(), threading.Event()

    def measure() -> int:
        assert go.wait(30)
        return place.measure()

    tree = sampler.Tree("tree", measure, True)
    async with asyncio.TaskGroup() as clients:
        asked = [clients.create_task(place.sizes.of(tree)) for _ in range(50)]
        await asyncio.sleep(0)
        go.set()
    assert {one.result().value for one in asked} == {1}
    assert place.walks == 1


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    place, go = Place(), threading.Event()

    def measure() -> int:
        assert go.wait(30)
        return place.measure()

    tree = sampler.Tree("tree", measure, False)
    async with asyncio.TaskGroup() as clients:
        first, second = (clients.create_task(place.sizes.of(tree)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        go.set()
    assert first.cancelled() and second.result().value == 1


async def test_a_change_during_a_measurement_is_not_missed() -> None:
    place, begun, go = Place(), threading.Event(), threading.Event()

    def measure() -> int:
        size = place.measure()
        begun.set()
        assert go.wait(30)
        return size

    tree = sampler.Tree("tree", measure, False)
    async with asyncio.TaskGroup() as clients:
        clients.create_task(place.sizes.of(tree))
        await asyncio.sleep(0)
        await asyncio.to_thread(begun.wait, 30)
        place.sizes.touch("tree")
        clients.create_task(place.sizes.of(tree))
        await asyncio.sleep(0)
        go.set()
    assert place.walks == 2 and (await place.sizes.of(tree)).value == 2


async def test_a_failure_is_told_and_tried_again() -> None:
    place = Place()

    def fail() -> int:
        raise OSError("no")

    with pytest.raises(OSError):
        await place.sizes.of(sampler.Tree("tree", fail, False))
    assert await place.ask(live=False) == 1


def test_a_tree_is_measured_as_du_does(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10_000))
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "hole").touch()
    os.truncate(tmp_path / "d" / "hole", 1 << 30)
    os.symlink("/", tmp_path / "d" / "link")
    done = subprocess.run(["du", "-sB1", tmp_path], check=True, capture_output=True)
    found = treesize.measure(str(tmp_path))
    assert found.size == int(done.stdout.split()[0])
    assert (found.inodes, found.apparent) == (5, 10_000 + (1 << 30))
    assert treesize.measure(str(tmp_path / "none")) == treesize.NOTHING
