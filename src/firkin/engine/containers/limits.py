"""What a HostConfig may say: defaults, modes, signals, and what this version refuses."""

from __future__ import annotations

import signal

from firkin import errdefs
from firkin.engine import core as engine
from firkin.linux import cgroupdriver
from firkin.types import container

_RESTART = ("", "no", "always", "unless-stopped", "on-failure")


def signal_number(text: str) -> int:
    """The number of a signal given as ``9``, ``KILL``, ``SIGKILL`` or ``RTMIN+3``.

    Raises ``InvalidParameter``.
    """
    bare = text.strip().upper()
    if bare.isdecimal() and len(bare) <= 2:
        number = int(bare)
        if 0 < number <= signal.SIGRTMAX:
            return number
    bare = bare.removeprefix("SIG")
    name, plus, offset = bare.partition("+")
    if name == "RTMIN" and plus and offset.isdigit() and len(offset) <= 2:
        number = signal.SIGRTMIN + int(offset)
        if number <= signal.SIGRTMAX:
            return number
    name, minus, offset = bare.partition("-")
    if name == "RTMAX" and minus and offset.isdigit() and len(offset) <= 2:
        number = signal.SIGRTMAX - int(offset)
        if number >= signal.SIGRTMIN:
            return number
    try:
        return int(signal.Signals["SIG" + bare])
    except KeyError:
        raise errdefs.InvalidParameter(
            f"invalid signal: {text}: use a name such as SIGTERM or a number from 1 to "
            f"{int(signal.SIGRTMAX)}"
        ) from None


def refuse_unsupported(config: container.Config, host: container.HostConfig) -> None:
    """Raise ``NotImplemented`` for options that would otherwise be silently without effect."""
    refused = {
        "storage options (--storage-opt)": host.storage_opt,
        "realtime CPU scheduling": host.cpu_realtime_period or host.cpu_realtime_runtime,
        "isolation modes": host.isolation not in ("", "default"),
        "user namespaces": host.userns_mode not in ("", "host"),
    }
    for what, present in refused.items():
        if present:
            raise errdefs.NotImplemented(f"{what}: not supported by this version: leave it out")


def fill_defaults(core: engine.Core, host: container.HostConfig) -> None:
    """Put Docker's defaults where the request is silent."""
    host.ipc_mode = host.ipc_mode or core.config.default_ipc_mode or "private"
    host.cgroupns_mode = host.cgroupns_mode or _cgroupns(core, host)
    host.shm_size = host.shm_size or core.config.shm_size
    core.logs.complete(core, host.log_config)
    host.runtime = host.runtime or core.default_runtime
    host.restart_policy.name = host.restart_policy.name or "no"
    if (host.pids_limit or 0) <= 0:
        host.pids_limit = None
    if not host.memory_swap and host.memory:
        host.memory_swap = 2 * host.memory
    for field in ("cap_add", "cap_drop"):
        value = getattr(host, field)
        if isinstance(value, str):
            setattr(host, field, [value])


def _cgroupns(core: engine.Core, host: container.HostConfig) -> str:
    second = core.host.cgroup.version == 2
    if host.privileged and not second:
        return "host"
    return core.config.default_cgroupns_mode or ("private" if second else "host")


def check_modes(core: engine.Core, host: container.HostConfig) -> None:
    """Check runtime, restart policy and namespace modes. Raises ``InvalidParameter``."""
    if host.runtime not in core.runtimes:
        known = ", ".join(sorted(core.runtimes))
        raise errdefs.InvalidParameter(
            f"unknown or invalid runtime name: {host.runtime}: this engine has {known}"
        )
    cgroupdriver.check_parent(core.cgroup_driver, host.cgroup_parent)
    policy = host.restart_policy
    if policy.name not in _RESTART:
        raise errdefs.InvalidParameter(
            f"invalid restart policy: unknown policy {policy.name!r}: use 'no', 'always', "
            "'on-failure' or 'unless-stopped'"
        )
    if policy.maximum_retry_count and policy.name != "on-failure":
        raise errdefs.InvalidParameter(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if policy.maximum_retry_count < 0:
        raise errdefs.InvalidParameter(
            "invalid restart policy: maximum retry count cannot be negative"
        )
    if host.auto_remove and policy.name != "no":
        raise errdefs.InvalidParameter(
            "can't create 'AutoRemove' container with restart policy: use one or the other"
        )
    _mode("IPC", host.ipc_mode, ("private", "shareable", "host", "none"), joins=True)
    _mode("PID", host.pid_mode, ("", "host", "private"), joins=True)
    _mode("UTS", host.uts_mode, ("", "host", "private"), joins=False)
    _mode("cgroup namespace", host.cgroupns_mode, ("private", "host"), joins=False)
    for mode in (host.ipc_mode, host.pid_mode):
        if mode.startswith("container:"):
            core.containers.get(mode.partition(":")[2])


def _mode(what: str, value: str, allowed: tuple[str, ...], *, joins: bool) -> None:
    if value in allowed or (joins and value.startswith("container:") and value != "container:"):
        return
    words = ", ".join(word for word in allowed if word) + (", container:NAME" if joins else "")
    raise errdefs.InvalidParameter(f"invalid {what} mode: {value}: use {words}")
