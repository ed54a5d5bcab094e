"""Options of dockerd that this engine does not have, and why.

Each is known by its flag and by its key in daemon.json. A value that asks for what happens anyway
is accepted; any other is refused with the reason, since an option that is silently without effect
would mislead. Whoever adds an option to ``engine.config`` takes its line out of here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from firkin import errdefs


class Option(NamedTuple):
    """An option; ``flag`` and ``key`` without dashes and "" where dockerd has none.

    ``kind`` is how the flag is written: ``bool``, ``str``, ``int`` or ``list`` (may be repeated).
    """

    flag: str
    key: str
    kind: type
    accepted: tuple[Any, ...]
    reason: str


_CONTAINERD = "Firkin runs containers without containerd"
_FIREWALL = "Firkin keeps its rules in an nftables table of its own, and no rules of others"
_NOT_YET = "not supported by this version"

OPTIONS = (
    Option("allow-nondistributable-artifacts", "allow-nondistributable-artifacts", list, ([],),
           "deprecated: registries have no such artifacts any more"),
    Option("api-cors-header", "api-cors-header", str, ("",),
           "gone from Docker too, since it opens the API to web pages: use a reverse proxy"),
    Option("allow-direct-routing", "allow-direct-routing", bool, (False,),
           "let each network say it: com.docker.network.bridge.gateway_mode_ipv4 (or 6), routed or "
           "nat-unprotected"),
    Option("bridge-accept-fwmark", "bridge-accept-fwmark", str, ("",),
           "write 'meta mark VALUE accept' into the file of --firewall-rules"),
    Option("containerd", "containerd", str, ("",), _CONTAINERD),
    Option("containerd-namespace", "containerd-namespace", str, ("",), _CONTAINERD),
    Option("containerd-plugins-namespace", "containerd-plugin-namespace", str, ("",), _CONTAINERD),
    Option("cri-containerd", "cri-containerd", bool, (False,), _CONTAINERD),
    Option("cpu-rt-period", "cpu-rt-period", int, (0,), _NOT_YET),
    Option("cpu-rt-runtime", "cpu-rt-runtime", int, (0,), _NOT_YET),
    Option("firewall-backend", "firewall-backend", str, ("", "nftables"), _FIREWALL),
    Option("ip-forward-no-drop", "ip-forward-no-drop", bool, (True,),
           "Firkin sets no policy for packets that have nothing to do with containers"),
    Option("ip6tables", "ip6tables", bool, (True,), _FIREWALL),
    Option("iptables", "iptables", bool, (True,), _FIREWALL),
    Option("min-api-version", "min-api-version", str, ("", "1.40"),
           "the oldest version that is served is 1.40"),
    Option("network-control-plane-mtu", "network-control-plane-mtu", int, (1500,),
           "networks of one host have no control plane"),
    Option("", "network-diagnostic-port", int, (0,),
           "networks of one host have no diagnostic server"),
    Option("nri-opts", "nri-opts", str, ("", {}, {"enable": False}, "enable=false"), _NOT_YET),
    Option("node-generic-resource", "node-generic-resources", list, ([],), _NOT_YET),
    Option("oom-score-adjust", "oom-score-adjust", int, (0,),
           "let the service manager do it: OOMScoreAdjust="),
    Option("raw-logs", "raw-logs", bool, (True, False), ""),
    Option("rootless", "rootless", bool, (False,), _NOT_YET),
    Option("selinux-enabled", "selinux-enabled", bool, (False,), _NOT_YET),
    Option("storage-opt", "storage-opts", list,
           ([], ["overlay2.override_kernel_check=true"]), "the storage drivers have no options"),
    Option("swarm-default-advertise-addr", "swarm-default-advertise-addr", str, ("",), _NOT_YET),
    Option("", "swarm-raft-heartbeat-tick", int, (0,), _NOT_YET),
    Option("", "swarm-raft-election-tick", int, (0,), _NOT_YET),
    Option("userland-proxy-path", "userland-proxy-path", str, ("",),
           "the firewall forwards published ports, for clients on this host too"),
    Option("userns-remap", "userns-remap", str, ("",), _NOT_YET),
)  # fmt: skip


def take_out(values: dict[str, object], where: str = "") -> dict[str, object]:
    """``values`` (keys as in daemon.json) without the options of this list.

    Raises ``InvalidParameter`` for one that asks for what this engine does not have. ``where``
    names the file that they are from, "" for the command line.
    """
    kept = dict(values)
    for option in OPTIONS:
        if option.key not in kept:
            continue
        value = kept.pop(option.key)
        if any(value == one and type(value) is type(one) for one in option.accepted):
            continue
        name = f"{option.key} in {where}" if where else f"--{option.flag}"
        raise errdefs.InvalidParameter(f"{name}: {option.reason} (value {str(value)[:80]!r})")
    return kept
