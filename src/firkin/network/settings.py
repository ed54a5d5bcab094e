"""NetworkCreate: from a request to the network that is to be remembered. Pure.

What only the host can tell (whether a subnet is free, whether the kernel has a kind of interface)
is the driver's to find out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Sequence

import msgspec

from firkin import errdefs
from firkin.network import ipam
from firkin.store import networks as store
from firkin.types import network as types

PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}
"""Names of the networks that always exist, and their drivers as the API calls them."""

_MAX_NAME = 255
_FLAGS = {
    "enable_ipv4": "com.docker.network.enable_ipv4",
    "enable_ipv6": "com.docker.network.enable_ipv6",
}


def predefined(name: str) -> store.StoredNetwork:
    """A network that always exists, as it is first remembered."""
    return store.StoredNetwork(
        id=secrets.token_hex(32), name=name, driver=PREDEFINED[name], created=time.time()
    )


def check(
    request: types.CreateRequest, *, drivers: Collection[str], config: store.StoredNetwork | None
) -> store.StoredNetwork:
    """What to remember of a new network. ``config`` is the one that ``ConfigFrom`` names.

    Raises ``InvalidParameter``, ``Forbidden``, ``NotFound`` for an unknown driver, and
    ``Unavailable`` for what needs a swarm.
    """
    _check_name(request.name)
    driver = request.driver or "bridge"
    if request.ingress or request.scope in ("swarm", "global") or driver == "overlay":
        raise errdefs.Unavailable(
            f"network {request.name}: this node is not a swarm manager: a network of the swarm "
            "needs one; leave out --ingress, --scope swarm and the driver overlay"
        )
    if request.scope not in ("", "local"):
        raise errdefs.InvalidParameter(f"invalid network scope {request.scope!r}: use local")
    if driver in ("host", "null", "none"):
        raise errdefs.Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver not in drivers:
        raise errdefs.NotFound(
            f'could not find plugin {driver} in v1 plugin registry: plugin "{driver}" not found: '
            f"this engine has the network drivers {', '.join(sorted(drivers))}"
        )
    if config is not None:
        return _from_config(request, config, driver)
    if request.ipam.driver not in ("", "default"):
        raise errdefs.NotFound(
            f"IPAM driver {request.ipam.driver} not found: this engine has only default"
        )
    ipv4, ipv6 = _families(request)
    pools = _pools(request.ipam.config, ipv4=ipv4, ipv6=ipv6)
    return store.StoredNetwork(
        id=secrets.token_hex(32),
        name=request.name,
        driver=driver,
        created=time.time(),
        pools=pools,
        enable_ipv4=ipv4,
        enable_ipv6=ipv6,
        internal=request.internal,
        attachable=request.attachable,
        ipam_options=request.ipam.options,
        config_only=request.config_only,
        options=request.options,
        labels=request.labels,
    )


def _check_name(name: str) -> None:
    if not name.strip():
        raise errdefs.InvalidParameter("a network needs a name")
    if name in PREDEFINED or name == "default":
        raise errdefs.Forbidden(f"operation is not permitted on predefined {name} network")
    if (
        len(name) > _MAX_NAME
        or name.startswith("container:")
        or name != name.strip()
        or any(ord(char) < 32 or char in '/"\\\x7f' for char in name)
    ):
        raise errdefs.InvalidParameter(
            f"invalid network name {name[:80]!r}: use letters, digits, '_', '.' and '-', at most "
            f"{_MAX_NAME}"
        )


def _from_config(
    request: types.CreateRequest, config: store.StoredNetwork, driver: str
) -> store.StoredNetwork:
    if not config.config_only:
        raise errdefs.Forbidden(
            f"network {config.name} is not a configuration network: create one with --config-only"
        )
    if request.config_only:
        raise errdefs.Forbidden("a configuration network cannot depend on another one")
    if request.options or request.ipam.config or request.ipam.options or request.enable_ipv6:
        raise errdefs.Forbidden(
            "user specified configurations are not supported if the network depends on a "
            f"configuration network: leave out what {config.name} says"
        )
    return msgspec.structs.replace(
        config,
        id=secrets.token_hex(32),
        name=request.name,
        driver=driver,
        created=time.time(),
        internal=request.internal,
        attachable=request.attachable,
        config_only=False,
        config_from=config.name,
        labels={**config.labels, **request.labels},
    )


def _families(request: types.CreateRequest) -> tuple[bool, bool]:
    """Whether a network has IPv4 and IPv6. A subnet of IPv6 without further words means yes."""
    wanted = {"enable_ipv4": request.enable_ipv4, "enable_ipv6": request.enable_ipv6}
    for field, option in _FLAGS.items():
        if (text := request.options.get(option)) is not None:
            if text.lower() not in ("true", "false", "1", "0"):
                raise errdefs.InvalidParameter(f"invalid value {text!r} of option {option}")
            value = text.lower() in ("true", "1")
            if wanted[field] is not None and wanted[field] != value:
                raise errdefs.InvalidParameter(f"option {option}={text} contradicts the request")
            wanted[field] = value
    has_ipv6 = any(":" in pool.subnet for pool in request.ipam.config)
    ipv4 = wanted["enable_ipv4"] is not False
    ipv6 = has_ipv6 if wanted["enable_ipv6"] is None else wanted["enable_ipv6"]
    if not ipv4 and not ipv6:
        raise errdefs.InvalidParameter("IPv4 or IPv6 must be enabled")
    return ipv4, ipv6


def _pools(pools: Sequence[types.IPAMPool], *, ipv4: bool, ipv6: bool) -> list[types.IPAMPool]:
    found: list[types.IPAMPool] = []
    subnets: list[ipam.Network] = []
    for pool in pools:
        if not pool.subnet:
            if pool.ip_range or pool.gateway or pool.auxiliary_addresses:
                raise errdefs.InvalidParameter(
                    "an IPAM configuration with a range, gateway or auxiliary addresses needs a "
                    "subnet"
                )
            continue
        subnet = ipam.parse_subnet(pool.subnet)
        if not (ipv4 if subnet.version == 4 else ipv6):
            raise errdefs.InvalidParameter(
                f"subnet {subnet}: IPv{subnet.version} is not enabled on this network"
            )
        if (other := ipam.overlapping(subnet, subnets)) is not None:
            raise errdefs.InvalidParameter(f"the subnets {other} and {subnet} overlap")
        subnets.append(subnet)
        found.append(_pool(pool, subnet))
    return found


def _pool(pool: types.IPAMPool, subnet: ipam.Network) -> types.IPAMPool:
    """One pool, its parts checked and written in their usual form."""
    ip_range = ""
    if pool.ip_range:
        inner = ipam.parse_subnet(pool.ip_range) if "/" in pool.ip_range else None
        if inner is None or inner.version != subnet.version or not ipam.within(inner, subnet):
            raise errdefs.InvalidParameter(
                f"invalid ip-range {pool.ip_range}: it must be a part of the subnet {subnet}"
            )
        ip_range = str(inner)
    gateway = _inside("gateway", pool.gateway.partition("/")[0], subnet) if pool.gateway else ""
    auxiliary = {
        name: _inside(f"auxiliary address {name}", address, subnet)
        for name, address in (pool.auxiliary_addresses or {}).items()
    }
    if gateway and gateway in auxiliary.values():
        raise errdefs.InvalidParameter(f"the gateway {gateway} is an auxiliary address too")
    return types.IPAMPool(
        subnet=str(subnet),
        ip_range=ip_range,
        gateway=gateway,
        auxiliary_addresses=auxiliary or None,
    )


def _inside(what: str, text: str, subnet: ipam.Network) -> str:
    address = ipam.parse_address(text)
    if address not in subnet:
        raise errdefs.InvalidParameter(f"{what} {text} is outside of the subnet {subnet}")
    if address == subnet.network_address or (
        subnet.version == 4 and address == subnet.broadcast_address
    ):
        raise errdefs.InvalidParameter(f"{what} {text} is no host address of the subnet {subnet}")
    return str(address)
