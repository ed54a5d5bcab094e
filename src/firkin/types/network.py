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


class NetworkContainer(Wire):
    """A running container as NetworkInspect lists it; addresses carry their prefix length."""

    name: str = ""
    endpoint_id: str = field(default="", name="EndpointID")
    mac_address: str = ""
    ipv4_address: str = field(default="", name="IPv4Address")
    ipv6_address: str = field(default="", name="IPv6Address")


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
    config_from: dict[str, str] = field(default_factory=lambda: {"Network": ""})
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
    """What the engine asks the controller for when a container starts on a network.

    ``container_name`` is for messages only; ``network`` is a name or an id.
    """

    container_id: str
    network: str
    container_name: str = ""
    ports: tuple[PublishedPort, ...] = ()
    mac_address: str = ""
    ipv4_address: str = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller made: a container's interface on one network.

    ``netns`` is the path of the network namespace that holds it, "" for the host's own;
    ``host_interface`` is the host's end of its veth pair.
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
    ports: tuple[PublishedPort, ...] = ()
