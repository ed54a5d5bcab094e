"""The conformance suite of ``firkin.network.driver.Driver``. Needs root."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from firkin import errdefs
from firkin.linux import netlink, netns
from firkin.network import driver as drivers
from firkin.network import sandbox as sandboxes
from firkin.store import networks as store
from firkin.types import network as types

SUBNET = "10.215.33.0/29"


class DriverSuite:
    """Derive ``Test...`` from this and override :meth:`make`, and what else differs."""

    driver = ""
    """The driver's name."""
    options: dict[str, str] = {}
    """Driver options that a network needs."""

    def make(
        self, stored: store.StoredNetwork, directory: Path
    ) -> contextlib.AbstractAsyncContextManager[Any]:
        """A function that makes driver objects of this network, as engines do one after another.

        Called without arguments, or with the network as the driver before left it. When the
        context ends nothing of the test's own is left.
        """
        raise NotImplementedError

    def stored(self) -> store.StoredNetwork:
        """The network that the tests make."""
        return store.StoredNetwork(
            id="c0ffee" * 10 + "c0ff",
            name="conformance",
            driver=self.driver,
            created=time.time(),
            pools=[types.IPAMPool(subnet=SUBNET)],
            options=self.options,
        )

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a test."""
        asyncio.run(work)

    @contextlib.asynccontextmanager
    async def started(self, directory: Path) -> AsyncIterator[tuple[drivers.Driver, Any]]:
        """A started network and the function that makes its next driver object."""
        async with self.make(self.stored(), directory) as make:
            driver = make()
            await driver.start(())
            try:
                yield driver, make
            finally:
                await driver.remove()
                await driver.close()

    @contextlib.contextmanager
    def sandbox(self, directory: Path) -> Any:
        """A container's namespace."""
        made = sandboxes.Sandbox.create(str(directory / "netns"))
        try:
            yield made
        finally:
            made.discard()

    @staticmethod
    def inside(place: sandboxes.Sandbox) -> dict[str, list[str]]:
        """The addresses of each interface in a namespace, but lo."""

        def look() -> dict[str, list[str]]:
            socket = netlink.Socket()
            try:
                addresses = socket.addresses()
                return {
                    link.name: [one.address for one in addresses if one.index == link.index]
                    for link in socket.links()
                    if link.name != "lo"
                }
            finally:
                socket.close()

        return netns.within(place.path, look)

    def test_an_endpoint_is_an_interface_with_its_address(self, tmp_path: Path) -> None:
        async def work() -> None:
            async with self.started(tmp_path) as (driver, _):
                with self.sandbox(tmp_path) as place:
                    made = await driver.connect(place, _request(), "one")
                    assert made.network_id == driver.stored.id
                    assert (made.container_id, made.netns) == ("one", place.path)
                    assert self.inside(place) == {made.interface: [made.ipv4_address]}
                    await driver.release(made, place)
                    assert self.inside(place) == {}
                    await driver.release(made, place)

        self.run(work())

    def test_addresses_differ_and_are_free_again(self, tmp_path: Path) -> None:
        async def work() -> None:
            async with self.started(tmp_path) as (driver, _):
                with self.sandbox(tmp_path) as one, self.sandbox(tmp_path) as two:
                    first = await driver.connect(one, _request(), "one")
                    second = await driver.connect(two, _request(), "two")
                    assert first.ipv4_address != second.ipv4_address
                    await driver.release(first, None)
                    one.delete(first.interface)
                    again = await driver.connect(one, _request(first.ipv4_address), "one")
                    assert again.ipv4_address == first.ipv4_address
                    await driver.release(again, one)
                    await driver.release(second, two)

        self.run(work())

    def test_what_fails_leaves_nothing(self, tmp_path: Path) -> None:
        async def work() -> None:
            async with self.started(tmp_path) as (driver, _):
                with self.sandbox(tmp_path) as one, self.sandbox(tmp_path) as two:
                    first = await driver.connect(one, _request(), "one")
                    for wrong in (first.ipv4_address, "10.1.1.1", "nonsense"):
                        try:
                            await driver.connect(two, _request(wrong), "two")
                        except errdefs.FirkinError as error:
                            assert wrong in str(error)
                        else:
                            raise AssertionError(f"{wrong} was given")
                        assert self.inside(two) == {}
                    await driver.release(first, one)

        self.run(work())

    def test_the_next_engine_adopts_what_runs(self, tmp_path: Path) -> None:
        async def work() -> None:
            async with self.started(tmp_path) as (driver, make):
                with self.sandbox(tmp_path) as one, self.sandbox(tmp_path) as two:
                    first = await driver.connect(one, _request(), "one")
                    after = make(driver.stored)
                    await after.start([first])
                    assert self.inside(one) == {first.interface: [first.ipv4_address]}
                    try:
                        await after.connect(two, _request(first.ipv4_address), "two")
                    except errdefs.Conflict:
                        pass
                    else:
                        raise AssertionError("an address was given twice")
                    second = await after.connect(two, _request(), "two")
                    assert second.ipv4_address != first.ipv4_address
                    await after.release(first, one)
                    await after.release(second, two)
                    await after.close()

        self.run(work())

    def test_it_tells_of_its_subnets(self, tmp_path: Path) -> None:
        async def work() -> None:
            async with self.started(tmp_path) as (driver, _):
                assert [pool.subnet for pool in driver.ipam().config] == [SUBNET]
                assert list(driver.subnets()) == [SUBNET]
                assert driver.namespaced

        self.run(work())


def _request(address: str = "") -> types.EndpointRequest:
    return types.EndpointRequest(network="conformance", ipv4_address=address)
