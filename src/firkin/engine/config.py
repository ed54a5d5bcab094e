"""The engine's configuration: daemon.json and the command line, which must not contradict."""

from __future__ import annotations

import ipaddress
import os

import msgspec

from firkin import errdefs
from firkin.engine import buildgc, defaults, doors, quantities, refused
from firkin.network import ipam
from firkin.network.drivers import default_bridge
from firkin.oci import cdi

_CGROUP_DRIVER = "native.cgroupdriver"


class AddressPool(msgspec.Struct, frozen=True, kw_only=True):
    """Subnets of ``size`` bits are cut from ``base`` (CIDR)."""

    base: str
    size: int


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An OCI runtime by path."""

    path: str
    runtime_args: list[str] = []


class Proxies(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Proxies between the engine and registries."""

    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""


class Config(defaults.Defaults, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Keys are those of Docker's daemon.json."""

    hosts: list[str] = []
    data_root: str = "/var/lib/firkin"
    exec_root: str = "/run/firkin"
    pidfile: str = ""
    bridge: str = ""
    bip: str = ""
    bip6: str = ""
    fixed_cidr: str = ""
    fixed_cidr_v6: str = ""
    default_gateway: str = ""
    default_gateway_v6: str = ""
    ipv6: bool = False
    icc: bool = True
    ip_masq: bool = True
    ip_forward: bool = True
    userland_proxy: bool = True
    host_gateway_ip: str = ""
    host_gateway_ips: list[str] = []
    default_network_opts: dict[str, dict[str, str]] = {}
    ip: str = ""
    firewall_rules: str = "/etc/firkin/firewall.nft"
    default_address_pools: list[AddressPool] = []
    runtimes: dict[str, RuntimeConfig] = {}
    default_runtime: str = ""
    log_level: str = "info"
    debug: bool = False
    dns: list[str] = []
    dns_opts: list[str] = []
    dns_search: list[str] = []
    labels: list[str] = []
    mtu: int = 1500
    storage_driver: str = ""
    group: str = "docker"
    live_restore: bool = True
    log_driver: str = "local"
    log_opts: dict[str, str] = {}
    insecure_registries: list[str] = []
    registry_mirrors: list[str] = []
    mirrors: dict[str, list[str]] = {}
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    proxies: Proxies = msgspec.field(default_factory=Proxies)
    exec_opts: list[str] = []
    cgroup_parent: str = ""
    tls: bool | None = None
    tlsverify: bool | None = None
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    authorization_plugins: list[str] = []
    metrics_addr: str = ""
    log_format: str = "text"
    features: dict[str, bool] = {}
    builder: buildgc.Builder = msgspec.field(default_factory=buildgc.Builder)
    data_root_quota: str = ""
    data_root_reserve: str = ""
    data_root_collect: str = "dangling"
    shutdown_timeout: int = 15
    experimental: bool = False

    def bridges(self, identity: str = "") -> default_bridge.BridgeConfig:
        """What is said of bridges, for the engine of this id."""
        return default_bridge.BridgeConfig(
            name=self.bridge or "firkin0",
            bip=self.bip,
            bip6=self.bip6,
            ipv6=self.ipv6,
            range4=self.fixed_cidr,
            range6=self.fixed_cidr_v6,
            gateway4=self.default_gateway,
            gateway6=self.default_gateway_v6,
            icc=self.icc,
            masquerade=self.ip_masq,
            forward=self.ip_forward,
            pools=ipam.with_defaults(
                [ipam.Pool(pool.base, pool.size) for pool in self.default_address_pools], identity
            ),
            mtu=self.mtu,
            binding=self.ip,
        )

    @property
    def host_gateways(self) -> tuple[str, ...]:
        """What ``host-gateway`` stands for; nothing for each container's own gateway."""
        return tuple(one for one in (self.host_gateway_ip, *self.host_gateway_ips) if one)

    @property
    def cdi_directories(self) -> tuple[str, ...]:
        """Where CDI specifications are; nowhere when the only directory given is "", or without
        the feature ``cdi``."""
        if not self.features.get("cdi", True):
            return ()
        return tuple(filter(None, self.cdi_spec_dirs)) if self.cdi_spec_dirs else cdi.DIRECTORIES

    @property
    def policy(self) -> doors.Policy:
        """Who may come in by TCP."""
        return doors.Policy(self.tls, self.tlsverify)

    def certificate(self, which: str) -> str:
        """The path of ``ca``, ``cert`` or ``key``; where none is given it is found as dockerd does.

        That is in DOCKER_CERT_PATH, else in ~/.docker.
        """
        given = {"ca": self.tlscacert, "cert": self.tlscert, "key": self.tlskey}[which]
        directory = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
        return given or os.path.join(directory, f"{which}.pem")

    @property
    def logging_level(self) -> str:
        """The level in the words of the ``logging`` module."""
        if self.debug:
            return "DEBUG"
        return {"warn": "WARNING", "fatal": "CRITICAL"}.get(self.log_level, self.log_level.upper())

    @property
    def cgroup_driver(self) -> str:
        """What --exec-opt says of the cgroup driver; "" when it says nothing."""
        return dict(option.split("=", 1) for option in self.exec_opts).get(_CGROUP_DRIVER, "")

    def validate(self) -> None:
        """Raises ``InvalidParameter`` for values that can't be used."""
        for root, flag in ((self.data_root, "--data-root"), (self.exec_root, "--exec-root")):
            if not root.startswith("/"):
                raise errdefs.InvalidParameter(f"{flag} {root!r} must be an absolute path")
        for host in self.hosts:
            if doors.parse(host, self.policy).kind == "tcp":
                self.policy.check(host)
        for option in self.exec_opts:
            if not option.startswith(_CGROUP_DRIVER + "="):
                raise errdefs.InvalidParameter(
                    f"--exec-opt {option}: unknown; use {_CGROUP_DRIVER}=cgroupfs or "
                    f"{_CGROUP_DRIVER}=systemd"
                )
        quantities.check(self.data_root_quota, "--data-root-quota")
        quantities.check(self.data_root_reserve, "--data-root-reserve")
        if self.data_root_collect not in ("dangling", "all", "none"):
            raise errdefs.InvalidParameter(
                f"--data-root-collect {self.data_root_collect}: use dangling, all or none"
            )
        buildgc.check(self.builder)
        if self.log_level not in ("debug", "info", "warn", "error", "fatal"):
            raise errdefs.InvalidParameter(
                f"--log-level {self.log_level}: use debug, info, warn, error or fatal"
            )
        if self.log_format not in ("text", "json"):
            raise errdefs.InvalidParameter(f"--log-format {self.log_format}: use text or json")
        if self.metrics_addr:
            try:
                doors.split_port(self.metrics_addr)
            except ValueError as error:
                raise errdefs.InvalidParameter(
                    f"--metrics-addr {self.metrics_addr}: {error}: use ADDRESS:PORT, for example "
                    "127.0.0.1:9323"
                ) from None
        for name in ("max_concurrent_downloads", "max_concurrent_uploads", "max_download_attempts"):
            if getattr(self, name) < 1:
                raise errdefs.InvalidParameter(
                    f"--{name.replace('_', '-')} {getattr(self, name)}: must be 1 or more"
                )
        for label in self.labels:
            if not label.partition("=")[0] or "=" not in label:
                raise errdefs.InvalidParameter(f"--label {label}: use KEY=VALUE")
        for server in self.dns:
            try:
                ipaddress.ip_address(server)
            except ValueError:
                raise errdefs.InvalidParameter(f"--dns {server}: not an IP address") from None
        if self.ip:
            try:
                ipaddress.ip_address(self.ip)
            except ValueError:
                raise errdefs.InvalidParameter(f"--ip {self.ip}: not an IP address") from None
        for driver, options in self.default_network_opts.items():
            if not driver or not all(options):
                raise errdefs.InvalidParameter(
                    f"--default-network-opt {driver}=...: use DRIVER=OPTION=VALUE, for example "
                    "bridge=com.docker.network.driver.mtu=1400"
                )
        for gateway in self.host_gateways:
            try:
                ipaddress.ip_address(gateway)
            except ValueError:
                raise errdefs.InvalidParameter(
                    f"--host-gateway-ip {gateway}: not an IP address"
                ) from None
        self.bridges().check()
        self.check()


def read_file(path: str, *, must_exist: bool) -> dict[str, object]:
    """The members of a daemon.json; nothing when it is absent and need not exist.

    Raises ``InvalidParameter`` naming the file for text that is not a JSON object.
    """
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        if must_exist:
            raise errdefs.InvalidParameter(
                f"unable to configure the engine with file {path}: no such file"
            ) from None
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, object]) if text.strip() else {}
    except msgspec.DecodeError as error:
        raise errdefs.InvalidParameter(
            f"unable to configure the engine with file {path}: {error}"
        ) from error


def merge(from_file: dict[str, object], from_flags: dict[str, object], path: str) -> Config:
    """One configuration of both. Keys given in both places must not differ.

    Raises ``InvalidParameter`` for contradictions, unknown keys and unusable values.
    """
    for key in sorted(set(from_file) & set(from_flags)):
        if from_file[key] != from_flags[key]:
            raise errdefs.InvalidParameter(
                f"unable to configure the engine with file {path}: {key} is given both as a flag "
                f"({from_flags[key]}) and in the file ({from_file[key]}): remove one"
            )
    from_file = refused.take_out(from_file, path)
    from_flags = refused.take_out(from_flags)
    if unknown := sorted(set(from_file) - set(Config.__struct_encode_fields__)):
        raise errdefs.InvalidParameter(
            f"unable to configure the engine with file {path}: the following directives don't "
            f"match any configuration option: {', '.join(unknown)}"
        )
    try:
        config = msgspec.convert({**from_file, **from_flags}, Config)
    except msgspec.ValidationError as error:
        raise errdefs.InvalidParameter(
            f"unable to configure the engine with file {path}: {error}"
        ) from error
    config.authorization_plugins = list(dict.fromkeys(config.authorization_plugins))
    config.validate()
    return config
