"""Security options, and the parts of /proc and /sys that a container may not see or change.

``--security-opt`` values reach the API as a list of ``name=value`` (``name:value`` was the older
form, still accepted). A privileged container has no masks, no read-only paths and no system call
filter, unless a filter is given by name.
"""

from __future__ import annotations

import dataclasses

from firkin import errdefs
from firkin.types import container

#: Hidden: they tell about the host or its hardware (power meters allow to spy on computations).
MASKED: tuple[str, ...] = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

#: Visible, not writable: they steer the host.
READONLY: tuple[str, ...] = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)

UNCONFINED = "unconfined"
BUILTIN = "builtin"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What ``security_opt`` says.

    ``seccomp``: "" (nothing said), "unconfined", "builtin" or the text of a profile.
    ``apparmor``: the profile to ask of the runtime, "" for none.
    ``no_new_privileges`` and ``writable_cgroups``: None when nothing was said.
    """

    seccomp: str = ""
    apparmor: str = ""
    no_new_privileges: bool | None = None
    system_paths_unconfined: bool = False
    writable_cgroups: bool | None = None


def _flag(name: str, value: str, given: bool) -> bool:
    if not given:
        return True
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    raise errdefs.InvalidParameter(
        f'invalid --security-opt: "{name}={value[:40]}": the value is true or false'
    )


def _split(option: str) -> tuple[str, str, bool]:
    """Name, value and whether there is a value; "=" wins over the older ":"."""
    for separator in ("=", ":"):
        if separator in option:
            name, _, value = option.partition(separator)
            return name, value, True
    return option, "", False


def parse(options: list[str] | None, *, apparmor_available: bool = False) -> Options:
    """Parse ``security_opt``. The last of several values for one name counts.

    AppArmor's ``unconfined`` and ``docker-default`` are accepted on every host and ask nothing of
    the runtime; another profile needs ``apparmor_available``. SELinux labels can only be disabled.
    Raises ``InvalidParameter`` for anything unknown.
    """
    result = Options()
    for option in options or ():
        name, value, given = _split(option)
        shown = option if len(option) <= 80 else option[:77] + "..."
        if name == "no-new-privileges":
            result = dataclasses.replace(result, no_new_privileges=_flag(name, value, given))
        elif name == "writable-cgroups":
            result = dataclasses.replace(result, writable_cgroups=_flag(name, value, given))
        elif name == "seccomp" and value:
            if value not in (UNCONFINED, BUILTIN) and not value.lstrip().startswith("{"):
                raise errdefs.InvalidParameter(
                    f'invalid --security-opt: "{shown}": decoding seccomp profile failed: the '
                    "engine takes unconfined, builtin or the JSON text of a profile, not a file"
                )
            result = dataclasses.replace(result, seccomp=value)
        elif name == "apparmor" and value:
            if value in (UNCONFINED, "docker-default"):
                result = dataclasses.replace(result, apparmor="")
            elif apparmor_available:
                result = dataclasses.replace(result, apparmor=value)
            else:
                raise errdefs.InvalidParameter(
                    f'invalid --security-opt: "{shown}": AppArmor is not available on this host'
                )
        elif name == "label" and value:
            if value != "disable":
                raise errdefs.InvalidParameter(
                    f'invalid --security-opt: "{shown}": SELinux is not available on this host; '
                    "only label=disable is accepted"
                )
        elif name == "systempaths" and value:
            if value != UNCONFINED:
                raise errdefs.InvalidParameter(
                    f'invalid --security-opt: "{shown}": systempaths can only be unconfined'
                )
            result = dataclasses.replace(result, system_paths_unconfined=True)
        else:
            raise errdefs.InvalidParameter(f'invalid --security-opt: "{shown}"')
    return result


def thermal_throttle(cpu: int) -> str:
    """The path that tells when a CPU gets too hot; masked where it exists."""
    return f"/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"


def default_masked(thermal_cpus: tuple[int, ...] = ()) -> list[str]:
    """The default masked paths of a host whose CPUs ``thermal_cpus`` have a thermal_throttle."""
    return [*MASKED, *(thermal_throttle(cpu) for cpu in thermal_cpus)]


def _absolute(paths: list[str], field: str) -> list[str]:
    for path in paths:
        if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
            raise errdefs.InvalidParameter(
                f"invalid {field}: {path[:80]!r} is not an absolute path without '..'"
            )
    return list(paths)


def system_paths(
    host: container.HostConfig, options: Options, thermal_cpus: tuple[int, ...] = ()
) -> tuple[list[str], list[str]]:
    """The masked and the read-only paths of a container.

    None in the HostConfig means the defaults; an empty list means none.
    """
    if host.privileged or options.system_paths_unconfined:
        return [], []
    masked = default_masked(thermal_cpus) if host.masked_paths is None else host.masked_paths
    readonly = list(READONLY) if host.readonly_paths is None else host.readonly_paths
    return _absolute(masked, "MaskedPaths"), _absolute(readonly, "ReadonlyPaths")
