"""The options of a bridge network, from the words of the Engine API to values. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

import msgspec

from firkin import errdefs

INTERFACE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
PREFIX = "com.docker.network."
_BRIDGE = PREFIX + "bridge."
_MODES = ("nat", "nat-unprotected", "routed", "isolated")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_KNOWN = frozenset(
    {
        "name", "enable_icc", "enable_ip_masquerade", "host_binding_ipv4", "inhibit_ipv4",
        "default_bridge", "gateway_mode_ipv4", "gateway_mode_ipv6",
    }
)  # fmt: skip


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a bridge network may be told.

    ``name`` "" means one made of the network's id, ``mtu`` 0 the engine's. ``host_binding``: where
    ports are published that name no address, "" for the engine's own default. ``inhibit_ipv4``:
    the bridge itself gets no IPv4 address. The modes: ``nat``; ``nat-unprotected``: containers'
    addresses can be reached from outside; ``routed``: the same for published ports, and nothing is
    translated; ``isolated``: the bridge has no address of that family. ``host4`` and ``host6``: the
    host's addresses that packets leave with.
    """

    name: str = ""
    icc: bool = True
    masquerade: bool = True
    host_binding: str = ""
    mtu: int = 0
    inhibit_ipv4: bool = False
    mode4: str = "nat"
    mode6: str = "nat"
    interface_prefix: str = "eth"
    host4: str = ""
    host6: str = ""


def check_interface(name: str, what: str) -> str:
    """The name. Raises ``InvalidParameter`` unless an interface can have it."""
    if not INTERFACE_NAME.fullmatch(name) or name in (".", ".."):
        raise errdefs.InvalidParameter(
            f"{name!r} cannot be the name of {what}: write at most 15 letters, digits, dots, "
            "dashes and underscores"
        )
    return name


def check_mtu(mtu: int) -> int:
    """The MTU. Raises ``InvalidParameter`` for what no interface can have."""
    if not 68 <= mtu <= 65535:
        raise errdefs.InvalidParameter(f"the MTU {mtu} is not between 68 and 65535")
    return mtu


def parse(given: Mapping[str, str], *, internal: bool) -> Options:
    """The options of a network. Those of other engines and drivers are ignored.

    Raises ``InvalidParameter`` for a value that cannot be, and for an option of bridges that there
    is not.
    """
    for key in given:
        if key.startswith(_BRIDGE) and key.removeprefix(_BRIDGE) not in _KNOWN:
            raise errdefs.InvalidParameter(
                f"unknown option {key} of a bridge network: known are "
                f"{', '.join(_BRIDGE + name for name in sorted(_KNOWN))}"
            )
    name = given.get(_BRIDGE + "name", "")
    prefix = given.get(PREFIX + "container_iface_prefix", "eth")
    check_interface(prefix + "0000", "a container's interface")
    options = Options(
        name=check_interface(name, "a bridge") if name else "",
        icc=_boolean(given, _BRIDGE + "enable_icc", default=True),
        masquerade=_boolean(given, _BRIDGE + "enable_ip_masquerade", default=True),
        host_binding=_binding(given.get(_BRIDGE + "host_binding_ipv4", "")),
        mtu=_mtu(given.get(PREFIX + "driver.mtu", given.get("mtu", ""))),
        inhibit_ipv4=_boolean(given, _BRIDGE + "inhibit_ipv4", default=False),
        mode4=_mode(given, _BRIDGE + "gateway_mode_ipv4"),
        mode6=_mode(given, _BRIDGE + "gateway_mode_ipv6"),
        interface_prefix=prefix,
        host4=_address(given, PREFIX + "host_ipv4", 4),
        host6=_address(given, PREFIX + "host_ipv6", 6),
    )
    for family, mode in (("4", options.mode4), ("6", options.mode6)):
        if mode == "isolated" and not internal:
            raise errdefs.InvalidParameter(
                f"gateway mode 'isolated' ({_BRIDGE}gateway_mode_ipv{family}) can only be used for "
                "an internal network: add --internal"
            )
    return options


def _address(given: Mapping[str, str], key: str, version: int) -> str:
    text = given.get(key, "")
    try:
        if text and ipaddress.ip_address(text).version != version:
            raise ValueError
    except ValueError:
        raise errdefs.InvalidParameter(
            f"invalid value {text!r} of option {key}: not an IPv{version} address"
        ) from None
    return text


def _boolean(given: Mapping[str, str], key: str, *, default: bool) -> bool:
    value = given.get(key)
    if value is None:
        return default
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise errdefs.InvalidParameter(f"invalid value {value!r} of option {key}: use true or false")


def _binding(text: str) -> str:
    if not text:
        return ""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise errdefs.InvalidParameter(
            f"invalid value {text!r} of option {_BRIDGE}host_binding_ipv4: not an IPv4 address"
        ) from None


def _mtu(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise errdefs.InvalidParameter(f"invalid value {text!r} of option {PREFIX}driver.mtu")
    return check_mtu(int(text)) if int(text) else 0


def _mode(given: Mapping[str, str], key: str) -> str:
    mode = given.get(key) or "nat"
    if mode not in _MODES:
        raise errdefs.InvalidParameter(
            f"invalid value {mode!r} of option {key}: use one of {', '.join(_MODES)}"
        )
    return mode
