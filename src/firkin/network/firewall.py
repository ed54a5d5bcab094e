"""The engine's firewall table in the kernel: what should be in it, and keeping it so.

The wanted state lives here; a change is first tried as a change of elements. When the kernel
refuses it, somebody has meanwhile removed or flushed the table (a reload of the host's firewall
does): then the whole table is put back, with the change in it. It is also put back by itself, soon
after somebody else has taken anything out of it.

The administrator's own rules are lines of a file, in nft's language, that are the first rules for
all packets that are forwarded into or out of a network: they come back with the table.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable

from firkin import errdefs
from firkin.linux import nftables, nftevents, sysctl, tasks
from firkin.network import ruleset

log = logging.getLogger(__name__)

_HEAL_DELAY = 0.5


class Firewall:
    """One table of nftables. The calls are ordered: they take effect as they were made."""

    def __init__(self, table: str, rules_file: str = "") -> None:
        ruleset.check_table(table)
        self.table = table
        self._rules_file = rules_file
        self._admin = ""
        self._monitor: nftevents.Monitor | None = None
        self._healing = False
        self._tasks = tasks.Tasks("firewall")
        self._nft = nftables.Nftables()
        self._networks: dict[str, ruleset.Network] = {}
        self._redirects: set[ruleset.Redirect] = set()

    async def install(
        self, networks: Iterable[ruleset.Network], redirects: Iterable[ruleset.Redirect]
    ) -> None:
        """Put the whole table in place, and keep it there.

        Raises ``System`` when the kernel has no nftables NAT, or for the administrator's rules.
        """
        self._networks = {network.bridge: network for network in networks}
        self._redirects = set(redirects)
        await self.reload()

    async def reload(self) -> None:
        """Read the administrator's rules again and put the whole table back.

        Raises ``System`` for rules that nft does not take: those before stay.
        """
        before, self._admin = self._admin, self._read_rules()
        try:
            if self._networks:
                await self._nft.run(self._whole())
        except errdefs.System as error:
            admin, self._admin = self._admin, before
            if not admin:
                raise
            raise errdefs.System(
                f"the firewall cannot be set up with the rules of {self._rules_file}: {error}"
            ) from error
        self._watch()

    def _read_rules(self) -> str:
        if not self._rules_file:
            return ""
        try:
            with open(self._rules_file, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise errdefs.System(
                f"cannot read the firewall rules of {self._rules_file}: {error}"
            ) from error

    def _watch(self) -> None:
        if self._monitor is None:
            try:
                self._monitor = nftevents.Monitor(lambda: self._nft.thread_id, self._changed)
            except OSError as error:
                log.warning("the firewall cannot be watched: %s", error)

    def _changed(self, table: str) -> None:
        if table in ("", self.table) and self._networks and not self._healing:
            self._healing = True
            self._tasks.spawn(self._heal(), "putting the rules back")

    async def _heal(self) -> None:
        try:
            await asyncio.sleep(_HEAL_DELAY)
        finally:
            self._healing = False
        log.warning("somebody took rules out of the firewall table %s: putting it back", self.table)
        await self._nft.run(self._whole())

    def _whole(self) -> str:
        return ruleset.whole(
            self.table, self._networks.values(), self._redirects, admin=self._admin
        )

    async def put_network(self, network: ruleset.Network) -> None:
        """Let a network work as it says, in place of what its bridge was before."""
        before = self._networks.get(network.bridge)
        self._networks[network.bridge] = network
        try:
            if before is None and len(self._networks) == 1:
                await self.reload()
            else:
                await self._nft.run(self._whole())
        except errdefs.FirkinError:
            self._networks.pop(network.bridge)
            if before is not None:
                self._networks[network.bridge] = before
            raise

    async def drop_network(self, bridge: str) -> None:
        """Forget the network of a bridge; the table goes with the last one."""
        if self._networks.pop(bridge, None) is not None:
            empty = not self._networks
            await self._nft.run(ruleset.remove(self.table) if empty else self._whole())

    async def publish(self, redirects: Collection[ruleset.Redirect]) -> None:
        """Let the redirects work, all or none."""
        if not redirects:
            return
        self._redirects.update(redirects)
        try:
            await self._change(ruleset.publish(self.table, redirects))
        except errdefs.FirkinError:
            self._redirects.difference_update(redirects)
            raise

    async def withdraw(self, redirects: Collection[ruleset.Redirect]) -> None:
        """End the redirects; those that are not there are ignored."""
        known = self._redirects.intersection(redirects)
        if known:
            self._redirects.difference_update(known)
            await self._change(ruleset.withdraw(self.table, known))

    async def _change(self, text: str) -> None:
        try:
            await self._nft.run(text)
        except errdefs.System as error:
            log.warning("putting the firewall table %s back whole: %s", self.table, error)
            await self._nft.run(self._whole())

    async def warnings(self, bridges: Collection[str]) -> list[str]:
        """What keeps packets of these bridges from passing, in words."""
        if not bridges:
            return []
        found = []
        if sysctl.read("net.ipv4.ip_forward") != "1":
            found.append("WARNING: IPv4 forwarding is disabled")
        try:
            for chain in await self.foreign_drops():
                found.append(
                    f"WARNING: the firewall chain {chain} drops forwarded packets by policy: "
                    f"allow those from and to {', '.join(bridges)}, or published ports and "
                    "outgoing connections of containers do not work"
                )
        except errdefs.System as error:
            found.append(f"WARNING: cannot read the host's firewall: {error}")
        return found

    async def foreign_drops(self) -> list[str]:
        """Chains of other tables that drop forwarded packets by policy, such as ip/filter/FORWARD.

        Rules made by the legacy iptables are not visible here.
        """
        families = {"ip", "inet"}
        if any(net.version == 6 for one in self._networks.values() for net in one.subnets):
            families.add("ip6")
        chains = [item["chain"] for item in await self._nft.query("list chains") if "chain" in item]
        return [
            f"{chain['family']}/{chain['table']}/{chain['name']}"
            for chain in chains
            if chain.get("hook") == "forward"
            and chain.get("policy") == "drop"
            and chain.get("table") != self.table
            and chain.get("family") in families
        ]

    async def close(self) -> None:
        """Finish what is queued. The rules stay, and so do the containers' connections."""
        await self._tasks.close()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        await asyncio.to_thread(self._nft.close)
