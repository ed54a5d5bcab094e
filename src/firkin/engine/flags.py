"""The command line of ``firkind``: dockerd's flags.

Those that this version does not have are known too, so that the reason can be told
(``engine.refused``). A boolean flag is ``--flag`` or ``--flag=false``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

import firkin
from firkin import errdefs
from firkin.engine import config, defaults, refused

DEFAULT_FILE = "/etc/firkin/daemon.json"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise errdefs.InvalidParameter(f"{message}\nSee 'firkind --help'.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="firkind", description="The Firkin container engine.", allow_abbrev=False)
    add = parser.add_argument
    add("-H", "--host", action="append", metavar="unix://PATH", help="socket to serve the API on")
    add("--data-root", metavar="DIR", help="lasting state (default /var/lib/firkin)")
    add(
        "--data-root-quota",
        metavar="SIZE",
        help="most that the data root may take, such as 20GB or 80%% of its file system",
    )
    add("--data-root-reserve", metavar="SIZE", help="what is to stay free on its file system")
    add("--data-root-collect", metavar="WHAT",
        help="what goes then: dangling (default), all (unused images too) or none")  # fmt: skip
    add("--exec-root", metavar="DIR", help="state until the next boot (default /run/firkin)")
    add("-p", "--pidfile", metavar="FILE", help="write the engine's pid there")
    add("-b", "--bridge", metavar="NAME", help="name of the default bridge (default firkin0)")
    add("--bip", metavar="CIDR", help="address of the default bridge")
    add("--bip6", metavar="CIDR", help="IPv6 address of the default bridge; needs --ipv6")
    add("--ipv6", type=_boolean, metavar="", help="IPv6 for the default bridge")
    add("--fixed-cidr", metavar="CIDR", help="where its containers get their IPv4 addresses from")
    add("--fixed-cidr-v6", metavar="CIDR", help="the same for IPv6")
    add("--default-gateway", metavar="ADDRESS", help="IPv4 gateway of its containers")
    add("--default-gateway-v6", metavar="ADDRESS", help="IPv6 gateway of its containers")
    add("--host-gateway-ip", action="append", metavar="ADDRESS",
        help="host-gateway in --add-host (default: the container's gateway)")  # fmt: skip
    add("--icc", type=_boolean, metavar="",
        help="containers on the default bridge reach each other (default true)")  # fmt: skip
    add("--ip-masq", type=_boolean, metavar="",
        help="its containers go out under the host's address (default true)")  # fmt: skip
    add("--ip-forward", type=_boolean, metavar="",
        help="turn forwarding of packets on (default true)")  # fmt: skip
    add("--userland-proxy", type=_boolean, metavar="",
        help="relay connections from ::1 and from IPv6 to IPv4 (default true)")  # fmt: skip
    add("--default-network-opt", action="append", metavar="DRIVER=OPTION=VALUE",
        help="option of networks that do not say otherwise")  # fmt: skip
    add("--ip", metavar="ADDRESS", help="where ports are published that name no address")
    add("--firewall-rules", metavar="FILE",
        help="nft rules for forwarded packets (default /etc/firkin/firewall.nft)")  # fmt: skip
    add("--default-address-pool", action="append", metavar="base=CIDR,size=N",
        help="pool that subnets are taken from")  # fmt: skip
    add("--add-runtime", action="append", metavar="NAME=PATH", help="add an OCI runtime")
    add("--default-runtime", metavar="NAME", help="OCI runtime for containers (default crun)")
    add("-l", "--log-level", metavar="LEVEL", help="debug, info, warn, error or fatal")
    add("--log-format", metavar="FORMAT", help="text or json (default text)")
    add("-D", "--debug", type=_boolean, metavar="", help="log everything, and serve /debug")
    add("--log-driver", metavar="NAME", help="log driver of containers (default local)")
    add("--log-opt", action="append", metavar="NAME=VALUE", help="option of the log driver")
    add("--dns", action="append", metavar="IP", help="DNS server for containers")
    add("--dns-opt", action="append", metavar="OPTION", help="DNS option for containers")
    add("--dns-search", action="append", metavar="DOMAIN", help="DNS search domain for containers")
    add("-s", "--storage-driver", metavar="NAME", help="overlay2 or vfs")
    add("-G", "--group", metavar="GROUP", help="group that may use the socket (default docker)")
    add("--tls", type=_boolean, metavar="", help="use TLS; implied by --tlsverify")
    add("--tlsverify", type=_boolean, metavar="",
        help="use TLS, and let in only clients with a certificate")  # fmt: skip
    add("--tlscacert", metavar="FILE",
        help="authority of the clients' certificates (default ~/.docker/ca.pem)")  # fmt: skip
    add("--tlscert", metavar="FILE", help="the engine's certificate (default ~/.docker/cert.pem)")
    add("--tlskey", metavar="FILE", help="its key (default ~/.docker/key.pem)")
    add("--authorization-plugin", action="append", metavar="NAME",
        help="ask this plug-in about each request")  # fmt: skip
    add("--metrics-addr", metavar="ADDRESS:PORT", help="serve metrics for Prometheus there")
    add("--live-restore", type=_boolean, metavar="",
        help="containers outlive the engine (they always do)")  # fmt: skip
    add("--feature", action="append", metavar="NAME=BOOL", help="switch a feature on or off")
    add("--shutdown-timeout", type=int, metavar="SECONDS",
        help="accepted; containers are not stopped when the engine is")  # fmt: skip
    add("--mtu", type=int, metavar="BYTES", help="MTU of the default bridge")
    add("--label", action="append", metavar="KEY=VALUE", help="label of this engine")
    add(
        "--insecure-registry",
        action="append",
        metavar="HOST",
        help="registry (or CIDR) that may lack TLS, or a certificate that can be verified",
    )
    add("--registry-mirror", action="append", metavar="URL", help="mirror of docker.io")
    add("--max-concurrent-downloads", type=int, metavar="N", help="layers fetched at one time")
    add("--max-concurrent-uploads", type=int, metavar="N", help="layers pushed at one time")
    add("--max-download-attempts", type=int, metavar="N", help="tries before a pull fails")
    add("--http-proxy", metavar="URL", help="proxy to registries without TLS")
    add("--https-proxy", metavar="URL", help="proxy to registries")
    add("--no-proxy", metavar="HOSTS", help="hosts that need no proxy")
    add("--exec-opt", action="append", metavar="NAME=VALUE",
        help="native.cgroupdriver=cgroupfs or systemd (default: the host's own)")  # fmt: skip
    add("--cgroup-parent", metavar="GROUP",
        help="parent of all containers' cgroups (default /firkin, or system.slice)")  # fmt: skip
    add("--default-cgroupns-mode", metavar="MODE",
        help="private or host (default: private with cgroup v2)")  # fmt: skip
    add("--default-ipc-mode", metavar="MODE", help="private (default) or shareable")
    add("--default-shm-size", metavar="SIZE", help="size of /dev/shm (default 64m)")
    add("--default-stop-timeout", type=int, metavar="SECONDS",
        help="how long a container may take to stop (default 10)")  # fmt: skip
    add("--default-ulimit", action="append", metavar="NAME=SOFT:HARD", help="limit of resources")
    add("--init", type=_boolean, metavar="",
        help="run an init that forwards signals and reaps processes")  # fmt: skip
    add("--init-path", metavar="FILE", help="that init (default: the host's tini)")
    add("--no-new-privileges", type=_boolean, metavar="",
        help="programs gain no privileges by set-user-id bits")  # fmt: skip
    add("--seccomp-profile", metavar="FILE", help="profile, or unconfined (default builtin)")
    add("--cdi-spec-dir", action="append", metavar="DIR",
        help="directory of CDI specifications (default /etc/cdi, /var/run/cdi)")  # fmt: skip
    add("--experimental", type=_boolean, metavar="",
        help="accepted, and told to clients; there are no experimental features")  # fmt: skip
    add("--config-file", metavar="FILE", help=f"configuration (default {DEFAULT_FILE})")
    add("--validate", type=_boolean, metavar="", help="check the configuration and exit")
    add("-v", "--version", type=_boolean, metavar="", help="print the version and exit")
    for option in refused.OPTIONS:
        if option.flag:
            kinds: dict[type, Callable[[str], Any]] = {bool: _boolean, int: int}
            add(f"--{option.flag}", type=kinds.get(option.kind, str), help=argparse.SUPPRESS,
                action="append" if option.kind is list else "store")  # fmt: skip
    return parser


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is not true or false")


def _spelled_out(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """``words`` with ``=true`` behind boolean flags that stand alone, which take no next word."""
    booleans = {
        name
        for action in parser._actions
        if action.type is _boolean
        for name in action.option_strings
    }
    out = []
    for word in words:
        name, _, value = word.partition("=")
        if name in booleans:
            long = next(n for n in _long_names(parser, name) if n.startswith("--"))
            word = f"{long}={value or 'true'}"
        out.append(word)
    return out


def _long_names(parser: argparse.ArgumentParser, name: str) -> list[str]:
    return next(list(a.option_strings) for a in parser._actions if name in a.option_strings)


_NAMES = {
    "host": "hosts",
    "label": "labels",
    "dns_opt": "dns-opts",
    "insecure_registry": "insecure-registries",
    "registry_mirror": "registry-mirrors",
    "exec_opt": "exec-opts",
    "host_gateway_ip": "host-gateway-ips",
    "authorization_plugin": "authorization-plugins",
    "cdi_spec_dir": "cdi-spec-dirs",
    **{option.flag.replace("-", "_"): option.key for option in refused.OPTIONS if option.flag},
}
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_OWN = (
    "config_file", "validate", "version", "add_runtime", "default_address_pool", "feature",
    "log_opt", "default_network_opt", "default_ulimit",
)  # fmt: skip


def _pool(text: str) -> dict[str, Any]:
    try:
        words = dict(word.split("=", 1) for word in text.split(","))
        return {"base": words["base"], "size": int(words["size"])}
    except (ValueError, KeyError):
        raise errdefs.InvalidParameter(
            f"--default-address-pool {text}: use base=CIDR,size=BITS, for example "
            "base=10.10.0.0/16,size=24"
        ) from None


def _runtime(text: str) -> tuple[str, dict[str, Any]]:
    name, equals, path = text.partition("=")
    if not (name and equals and path.startswith("/")):
        raise errdefs.InvalidParameter(f"--add-runtime {text}: use NAME=/PATH/OF/PROGRAM")
    return name, {"path": path}


def _network_options(texts: list[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        driver, _, option = text.partition("=")
        name, equals, value = option.partition("=")
        if not (driver and name and equals):
            raise errdefs.InvalidParameter(
                f"--default-network-opt {text}: use DRIVER=OPTION=VALUE, for example "
                "bridge=com.docker.network.driver.mtu=1400"
            )
        found.setdefault(driver, {})[name] = value
    return found


def _feature(text: str) -> tuple[str, bool]:
    name, equals, value = text.partition("=")
    try:
        return name, _boolean(value) if equals else True
    except argparse.ArgumentTypeError as error:
        raise errdefs.InvalidParameter(f"--feature {text}: {error}") from None


def parse(words: list[str]) -> config.Config | None:
    """The configuration for a command line; ``None`` when it only asked for something to read.

    Raises ``InvalidParameter``.
    """
    parser = _parser()
    given = parser.parse_args(_spelled_out(parser, words))
    if given.version:
        print(f"firkind version {firkin.__version__}")
        return None
    values: dict[str, object] = {
        _NAMES.get(name, name.replace("_", "-")): value
        for name, value in vars(given).items()
        if value is not None and name not in _OWN and name not in _PROXIES
    }
    if proxies := {n.replace("_", "-"): v for n in _PROXIES if (v := getattr(given, n))}:
        values["proxies"] = proxies
    if given.default_address_pool:
        values["default-address-pools"] = [_pool(text) for text in given.default_address_pool]
    if given.default_network_opt:
        values["default-network-opts"] = _network_options(given.default_network_opt)
    if given.add_runtime:
        values["runtimes"] = dict(_runtime(text) for text in given.add_runtime)
    if given.feature:
        values["features"] = dict(_feature(text) for text in given.feature)
    if given.default_ulimit:
        values["default-ulimits"] = dict(defaults.ulimit(text) for text in given.default_ulimit)
    if given.log_opt:
        pairs = [text.partition("=") for text in given.log_opt]
        values["log-opts"] = {name: value for name, _, value in pairs}
    path = given.config_file or DEFAULT_FILE
    from_file = config.read_file(path, must_exist=given.config_file is not None)
    merged = config.merge(from_file, values, path)
    if given.validate:
        print("configuration OK")
        return None
    return merged
