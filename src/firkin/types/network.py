"""Networks: the Engine API's view and the values that pass between engine and controller."""

from __future__ import annotations

import msgspec
from msgspec import field

from firkin.types.base import Wire


class IPAMPool(Wire, omit_defaults=True):
    """A subnet in CIDR form and its gateway."""

    subnet: str = ""
    ip_range: str = field(default="", name="IPRange")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] | None = None


class IPAM(Wire):
    driver: str = "default"
    options: dict[str, str] | None = None
    config: list[IPAMPool] = []


class SubnetStatus(Wire):
    """How many addresses of a subnet are taken, and how many can still be given."""

    ips_in_use: int = field(default=0, name="IPsInUse")
    dynamic_ips_available: int = field(default=0, name="DynamicIPsAvailable")


class NetworkContainer(Wire):
    """A running container as NetworkInspect lists it; addresses carry their prefix length."""

    name: str = ""
    endpoint_id: str = field(default="", name="EndpointID")
    mac_address: str = ""
    ipv4_address: str = field(default="", name="IPv4Address")
    ipv6_address: str = field(default="", name="IPv6Address")


class ConfigReference(Wire):
    """The config-only network that a network takes its settings from."""

    network: str = ""


class CreateRequest(Wire):
    """The body of NetworkCreate. ``enable_ipv4`` None means the default, true."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    ipam: IPAM = field(default_factory=lambda: IPAM(driver=""), name="IPAM")
    enable_ipv4: bool | None = field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = field(default=None, name="EnableIPv6")
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class DisconnectRequest(Wire):
    """The body of NetworkDisconnect."""

    container: str = ""
    force: bool = False


class Network(Wire):
    """API schema Network."""

    name: str
    id: str
    created: str = ""
    scope: str = "local"
    driver: str = "bridge"
    enable_ipv4: bool = field(default=True, name="EnableIPv4")
    enable_ipv6: bool = field(default=False, name="EnableIPv6")
    ipam: IPAM = field(default_factory=IPAM, name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_from: ConfigReference = field(default_factory=ConfigReference)
    config_only: bool = False
    containers: dict[str, NetworkContainer] = {}
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class PublishedPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port to publish, or published.

    ``host_ip`` "" means every address of the host. ``host_port`` 0 asks for a free one from the
    ephemeral range; ``host_port_end`` > ``host_port`` asks for the first free one of that range.
    In a result ``host_port`` is the real one and ``host_port_end`` is 0.
    """

    proto: str
    container_port: int
    host_ip: str = ""
    host_port: int = 0
    host_port_end: int = 0


class EndpointRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A place that is asked for on one network, given by name or id.

    ``aliases`` are names beside the container's own; ``links`` maps names that only this container
    sees to other containers' names. ``options`` are the endpoint's driver options. ``ipv6`` False:
    the container's kernel parameters switch IPv6 off, so it gets no such address.
    """

    network: str
    mac_address: str = ""
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    links: dict[str, str] = {}
    gw_priority: int = 0
    options: dict[str, str] = {}
    ipv6: bool = True


class Nameserver(msgspec.Struct, frozen=True, kw_only=True):
    """Where names are asked that no container has.

    ``from_host``: reached from the host's network namespace, else from the container's.
    """

    address: str
    from_host: bool = True


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine asks for when a container starts: all of its networks at once.

    ``names`` are those by which other containers find it on user-defined networks; the first is
    the container's name, which messages use. ``nameservers`` serve its other questions.
    """

    container_id: str
    endpoints: tuple[EndpointRequest, ...]
    names: tuple[str, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    nameservers: tuple[Nameserver, ...] = ()

    @property
    def name(self) -> str:
        """The container's name for messages."""
        return self.names[0] if self.names else self.container_id[:12]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller made: a container's interface on one network.

    ``netns`` is the path of the network namespace that holds it, "" for the host's own;
    ``host_interface`` is the host's end of its veth pair. ``gateway`` and ``ipv6_gateway`` are
    empty where the network has no way out. ``ports`` are those that lead to this endpoint, which
    for one container are those of one endpoint per address family. ``names``, ``links`` and
    ``nameservers`` are what the resolver must know.
    """

    id: str
    network_id: str
    network_name: str
    container_id: str
    netns: str
    interface: str = ""
    host_interface: str = ""
    mac_address: str = ""
    ipv4_address: str = ""
    prefix_len: int = 0
    gateway: str = ""
    ipv6_address: str = ""
    ipv6_prefix_len: int = 0
    ipv6_gateway: str = ""
    gw_priority: int = 0
    ports: tuple[PublishedPort, ...] = ()
    names: tuple[str, ...] = ()
    links: dict[str, str] = {}
    nameservers: tuple[Nameserver, ...] = ()
