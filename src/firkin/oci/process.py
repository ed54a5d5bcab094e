"""The runtime-spec's ``process``: of a container, and of a command executed in a running one."""

from __future__ import annotations

from typing import Any

from firkin import errdefs
from firkin.oci import capabilities
from firkin.oci import user as users
from firkin.types import container

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def merge_env(base: list[str], extra: list[str] | None) -> list[str]:
    """``base`` with the variables of ``extra``; a name without "=" in ``extra`` removes it."""
    result: dict[str, str] = {}
    for entry in [*base, *(extra or ())]:
        if "\0" in entry:
            raise errdefs.InvalidParameter(
                f"invalid environment variable: {entry[:80]!r} has a NUL"
            )
        name, equals, _ = entry.partition("=")
        if not name:
            raise errdefs.InvalidParameter(f"invalid environment variable: {entry[:80]}")
        if equals:
            result[name] = entry
        else:
            result.pop(name, None)
    return list(result.values())


def environment(env: list[str] | None, *, hostname: str, tty: bool) -> list[str]:
    """The complete environment of a container: the engine's part, then the given one over it."""
    base = [f"PATH={DEFAULT_PATH}"]
    if hostname:
        base.append(f"HOSTNAME={hostname}")
    if tty:
        base.append("TERM=xterm")
    return merge_env(base, env)


def console_size(size: list[int] | None) -> dict[str, int] | None:
    """``consoleSize`` from the API's [height, width]; None when it is not given or zero."""
    if not size or size[:2] == [0, 0]:
        return None
    if len(size) != 2 or not all(0 <= number <= 0xFFFF for number in size):
        raise errdefs.InvalidParameter(
            f"invalid ConsoleSize {size[:4]}: height and width, at most 65535 each"
        )
    return {"height": size[0], "width": size[1]}


def spec_user(user: users.User) -> dict[str, Any]:
    """The runtime-spec's ``process.user``."""
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.additional_gids)}


def checked_args(args: list[str] | None) -> list[str]:
    """A command to execute. Raises ``InvalidParameter`` when there is none."""
    if not args or (len(args) == 1 and not args[0]):
        raise errdefs.InvalidParameter("no command specified")
    for argument in args:
        if "\0" in argument:
            raise errdefs.InvalidParameter(f"the command has a NUL in {argument[:80]!r}")
    return list(args)


def checked_cwd(path: str) -> str:
    """A working directory, "/" when it is not given. Raises ``InvalidParameter``."""
    if path and (not path.startswith("/") or "\0" in path):
        raise errdefs.InvalidParameter(
            f"the working directory {path[:200]!r} is invalid, it needs to be an absolute path"
        )
    return path or "/"


def exec_process(
    base: dict[str, Any],
    request: container.ExecCreateRequest,
    user: users.User | None = None,
    *,
    env: list[str] | None = None,
    kernel_caps: frozenset[str] = frozenset(capabilities.ALL),
    size: list[int] | None = None,
) -> dict[str, Any]:
    """The ``process`` of an exec.

    ``base`` is the ``process`` of the container's own spec, the source of everything the request
    leaves open: environment, directory, user, capabilities, rlimits, no_new_privileges. ``user`` is
    the resolved user when the request names one. ``env`` replaces the container's environment as
    what the request's is merged into. ``size`` (of ExecStart) wins over the request's.

    The container's system call filter applies to a privileged exec too.
    """
    tty = request.tty
    variables = base.get("env", []) if env is None else env
    if tty and not any(entry.startswith("TERM=") for entry in variables):
        variables = [*variables, "TERM=xterm"]
    process: dict[str, Any] = {
        "terminal": tty,
        "user": spec_user(user) if user is not None else dict(base["user"]),
        "args": checked_args(request.cmd),
        "env": merge_env(variables, request.env),
        "cwd": checked_cwd(request.working_dir or str(base.get("cwd", "/"))),
        "noNewPrivileges": bool(base.get("noNewPrivileges", False)),
    }
    console = console_size(size or request.console_size)
    if tty and console:
        process["consoleSize"] = console
    bounding = list(base.get("capabilities", {}).get("bounding", []))
    if request.privileged:
        everything = capabilities.ordered(kernel_caps)
        process["capabilities"] = capabilities.sets(everything)
    else:
        process["capabilities"] = capabilities.sets(bounding)
    for key in ("rlimits", "apparmorProfile", "oomScoreAdj"):
        if key in base:
            process[key] = base[key]
    return process
