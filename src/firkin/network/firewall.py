"""The engine's firewall table in the kernel: what should be in it, and keeping it so.

The wanted state lives here; a change is first tried as a change of elements. When the kernel
refuses it, somebody has meanwhile removed or flushed the table (a reload of the host's firewall
does): then the whole table is put back, with the change in it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from firkin import errdefs
from firkin.linux import nftables
from firkin.network import ruleset

log = logging.getLogger(__name__)


class Firewall:
    """One table of nftables. The calls are ordered: they take effect as they were made."""

    def __init__(self, table: str) -> None:
        ruleset.check_table(table)
        self.table = table
        self._nft = nftables.Nftables()
        self._networks: dict[str, ruleset.Network] = {}
        self._redirects: set[ruleset.Redirect] = set()

    async def install(
        self, networks: Iterable[ruleset.Network], redirects: Iterable[ruleset.Redirect]
    ) -> None:
        """Put the whole table in place. Raises ``System`` when the kernel has no nftables NAT."""
        self._networks = {network.bridge: network for network in networks}
        self._redirects = set(redirects)
        await self._nft.run(self._whole())

    def _whole(self) -> str:
        return ruleset.whole(self.table, self._networks.values(), self._redirects)

    async def put_network(self, network: ruleset.Network) -> None:
        """Let a network work as it says, in place of what its bridge was before."""
        before = self._networks.get(network.bridge)
        self._networks[network.bridge] = network
        try:
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

    async def foreign_drops(self) -> list[str]:
        """Chains of other tables that drop forwarded packets by policy, such as ip/filter/FORWARD.

        Rules made by the legacy iptables are not visible here.
        """
        chains = [item["chain"] for item in await self._nft.query("list chains") if "chain" in item]
        return [
            f"{chain['family']}/{chain['table']}/{chain['name']}"
            for chain in chains
            if chain.get("hook") == "forward"
            and chain.get("policy") == "drop"
            and chain.get("table") != self.table
            and chain.get("family") in ("ip", "inet")
        ]

    def close(self) -> None:
        """Finish what is queued. The rules stay, and so do the containers' connections."""
        self._nft.close()
