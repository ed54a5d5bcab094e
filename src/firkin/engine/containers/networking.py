"""A container's networks: from the words of its record to what the controller is asked for."""

from __future__ import annotations

import ipaddress

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import etcfiles, model, netmode
from firkin.network import ipam
from firkin.types import container, network

EXCLUSIVE = ("host", "none")


def plan(
    core: engine.Core,
    config: container.Config,
    host: container.HostConfig,
    asked: dict[str, container.EndpointSettings],
) -> dict[str, container.EndpointSettings]:
    """The networks of a new container by name, that of its network mode first.

    Raises ``InvalidParameter``.
    """
    mode = host.network_mode
    if netmode.shared_with(mode):
        if any(name != mode for name in asked):
            raise errdefs.InvalidParameter(
                "conflicting options: container type network can't be used with other networks: "
                "leave out the networks, or the network mode"
            )
        return {}
    first = name_of(core, mode)
    settings = {first: container.EndpointSettings()}
    for reference, endpoint in asked.items():
        key = first if reference in ("default", mode) else name_of(core, reference)
        settings[key] = endpoint
    if len(settings) > 1:
        for name in settings:
            if name in EXCLUSIVE:
                raise errdefs.InvalidParameter(
                    "container cannot be connected to multiple networks with one of the networks "
                    f"in {name if name == 'host' else 'private (none)'} mode"
                )
    if config.mac_address and not settings[first].mac_address and first not in EXCLUSIVE:
        settings[first].mac_address = config.mac_address
    for name, endpoint in settings.items():
        check(name, endpoint)
    return settings


def name_of(core: engine.Core, reference: str) -> str:
    """The name of a network; what names none is taken for the name of one that is yet to be."""
    try:
        return core.network.driver(reference).stored.name
    except errdefs.FirkinError:
        return reference


def check(name: str, endpoint: container.EndpointSettings) -> None:
    """Raises ``InvalidParameter`` for settings that cannot be on a network of that name."""
    own = name not in ("bridge", *EXCLUSIVE)
    addresses = endpoint.ipam_config or container.IPAMConfig()
    wrong = f"invalid config for network {name}: invalid endpoint settings: "
    for text, version in ((addresses.ipv4_address, 4), (addresses.ipv6_address, 6)):
        if text and _version(text) != version:
            raise errdefs.InvalidParameter(f"{wrong}invalid IPv{version} address: {text}")
    for text in addresses.link_local_ips or []:
        if not _version(text):
            raise errdefs.InvalidParameter(f"{wrong}invalid link-local IP address: {text}")
    if name in EXCLUSIVE and (addresses.ipv4_address or addresses.ipv6_address):
        raise errdefs.InvalidParameter(
            f"{wrong}user-specified IP address is supported on user-defined networks only"
        )
    if endpoint.aliases and not own:
        raise errdefs.InvalidParameter(
            f"{wrong}network-scoped aliases are only supported for user-defined networks"
        )
    if endpoint.mac_address:
        ipam.parse_mac(endpoint.mac_address)
    for link in endpoint.links or []:
        split_link(link)


def _version(text: str) -> int:
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return 0


def split_link(link: str) -> tuple[str, str]:
    """``NAME[:ALIAS]`` as name and alias. Raises ``InvalidParameter``."""
    name, colon, alias = link.partition(":")
    name, alias = name.strip("/"), alias.rpartition("/")[2] if colon else ""
    if not name or (colon and not alias) or ":" in alias:
        raise errdefs.InvalidParameter(f"bad format for links: {link!r}: use NAME[:ALIAS]")
    return name, alias or name


def names(subject: model.Container, aliases: list[str] | None = None) -> list[str]:
    """By which other containers on a user-defined network find this one."""
    own = (subject.name, *(aliases or ()), subject.short, subject.record.config.hostname)
    return [name for name in dict.fromkeys(own) if name]


def resolved(core: engine.Core, subject: model.Container) -> bool:
    """Whether a container's name server is the engine's own, at 127.0.0.11.

    So it is on user-defined networks; and on the default one when the host's only name servers
    are on its loopback, where the container cannot reach them.
    """
    record = subject.record
    networks = set(record.networks)
    if not networks or networks & set(EXCLUSIVE) or record.config.network_disabled:
        return False
    return networks != {"bridge"} or etcfiles.unreachable(record.host, core.config.dns)


def resolv_conf(core: engine.Core, subject: model.Container) -> str:
    """A container's /etc/resolv.conf, as its networks are now."""
    host = subject.record.host
    return etcfiles.resolv_conf(
        host, dns=core.config.dns, search=core.config.dns_search, options=core.config.dns_opts,
        host_network=host.network_mode == "host", resolver=resolved(core, subject),
    )  # fmt: skip


def request(
    core: engine.Core, subject: model.Container, chosen: str | None = None
) -> network.JoinRequest:
    """What to ask the controller for: all of a container's networks, or the chosen one."""
    record = subject.record
    wanted = dict(record.networks) if chosen is None else {chosen: record.networks[chosen]}
    if record.config.network_disabled or not wanted:
        wanted = {"none": _NOTHING}
    first, *others = wanted
    return network.JoinRequest(
        container_id=subject.id,
        names=tuple(names(subject)),
        endpoints=tuple(
            _endpoint(core, subject, name, wanted[name]) for name in (first, *sorted(others))
        ),
        ports=tuple(netmode.published(record.config, record.host)),
        nameservers=tuple(etcfiles.nameservers(record.host, core.config.dns))
        if resolved(core, subject)
        else (),
    )


_NO_IPV6 = ("net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6")
_NOTHING = container.EndpointSettings()


def _endpoint(
    core: engine.Core,
    subject: model.Container,
    name: str,
    settings: container.EndpointSettings,
) -> network.EndpointRequest:
    addresses = settings.ipam_config or container.IPAMConfig()
    links = {}
    given = list(settings.links or [])
    if name == next(iter(subject.record.networks), ""):
        given += subject.record.host.links or []
    for link in given:
        target, alias = split_link(link)
        found = core.containers.find(target)
        # One that does not exist yet is found by its name when it does.
        links[alias] = target if found is None else found.short
        if found is not None:
            links.setdefault(target, found.short)
    return network.EndpointRequest(
        network=name,
        mac_address=settings.mac_address,
        ipv4_address=addresses.ipv4_address,
        ipv6_address=addresses.ipv6_address,
        link_local=tuple(addresses.link_local_ips or ()),
        aliases=tuple(settings.aliases or ()),
        links=links,
        gw_priority=settings.gw_priority,
        options=settings.driver_opts or {},
        ipv6=has_ipv6(subject.record.host),
    )


def has_ipv6(host: container.HostConfig) -> bool:
    """Whether a container's kernel parameters leave it IPv6."""
    return all((host.sysctls or {}).get(name) != "1" for name in _NO_IPV6)
