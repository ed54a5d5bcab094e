"""What a bridge may be called and how it may be set up."""

from __future__ import annotations

import pytest

from firkin import errdefs
from firkin.network import ipam
from firkin.network.drivers.default_bridge import BridgeConfig


@pytest.mark.parametrize(
    "config",
    [
        BridgeConfig(name="a-name-of-16-chrs"),
        BridgeConfig(name='x"; drop'),
        BridgeConfig(name="../x"),
        BridgeConfig(name=".."),
        BridgeConfig(name=""),
        BridgeConfig(mtu=0),
        BridgeConfig(bip="10.0.0.0/8"),
        BridgeConfig(pools=(ipam.Pool("10.0.0.0/24", 8),)),
    ],
)
def test_refused(config: BridgeConfig) -> None:
    with pytest.raises(errdefs.InvalidParameter):
        config.check()


def test_accepted() -> None:
    BridgeConfig().check()
    BridgeConfig(name="br-0.1_x", bip="10.9.0.1/24", mtu=9000).check()
