"""How a container is kept: restart policy, health check, logging, namespaces, security options."""

from __future__ import annotations

from firkin.cli import flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def restart(value: str) -> dict[str, Any]:
    """``name[:times]``. Which names there are is the engine's to say."""
    name, colon, times = value.partition(":")
    count = 0
    if colon and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    if times:
        try:
            count = flags.parse_integer(times)
        except ValueError:
            raise ValueError(
                "invalid restart policy format: maximum retry count must be an integer"
                f" (in {value!r})"
            ) from None
    return {"Name": name, "MaximumRetryCount": count}


def health(values: flags.Values) -> dict[str, Any] | None:
    """The Healthcheck of ``--health-*``; ``None`` leaves the image's own."""
    command = values.text("health-cmd")
    check: dict[str, Any] = {"Test": ["CMD-SHELL", command]} if command else {}
    for flag, key in (
        ("health-interval", "Interval"),
        ("health-timeout", "Timeout"),
        ("health-start-period", "StartPeriod"),
        ("health-start-interval", "StartInterval"),
        ("health-retries", "Retries"),
    ):
        number = values.number(flag)
        if number < 0:
            raise ValueError(f"--{flag} cannot be negative")
        if number:
            check[key] = number
    if action := values.text("health-on-failure"):
        if action not in ("none", "kill", "restart", "stop"):
            raise ValueError(
                f"--health-on-failure: unknown action {action!r}: use none, kill, restart or stop"
            )
        check["OnFailure"] = action
    if values.flag("no-healthcheck"):
        if check:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    return check or None


def security(values: list[str]) -> tuple[list[str] | None, bool]:
    """The SecurityOpt, and whether the masked and read-only system paths are to be laid open.

    A seccomp profile is a file of the client's, so its content is sent.
    """
    if not values:
        return None, False
    options: list[str] = []
    open_paths = False
    for value in values:
        if value == "systempaths=unconfined":
            open_paths = True
            continue
        cut = min((at for at in (value.find("="), value.find(":")) if at > 0), default=-1)
        if cut < 0 and value != "no-new-privileges":
            raise ValueError(f"Invalid --security-opt: {flags.quoted(value)} (want name=value)")
        setting = value[cut + 1 :]
        if value[:cut] == "seccomp" and setting not in ("unconfined", "builtin"):
            value = "seccomp=" + _profile(setting)
        options.append(value)
    return options, open_paths


def _profile(path: str) -> str:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            profile = json.load(file)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        failure = f"opening seccomp profile ({path}) failed: open {path}: {reason}"
        raise ValueError(failure) from None
    except ValueError as error:
        raise ValueError(f"the seccomp profile ({path}) is not JSON: {error}") from None
    return json.dumps(profile, separators=(",", ":"), ensure_ascii=False)


def capabilities(values: list[str]) -> list[str] | None:
    """CapAdd or CapDrop: upper case, with their prefix (but for ``ALL``), each once, sorted."""
    names = {value.strip().upper() for value in values}
    full = {name if name == "ALL" or name.startswith("CAP_") else "CAP_" + name for name in names}
    return sorted(full) or None


def namespaces(values: flags.Values) -> None:
    """Refuse modes that no engine knows; ``ipc`` is left to the engine."""
    for flag, shown, allowed, joins in (
        ("pid", "PID", ("", "host"), True),
        ("uts", "UTS", ("", "host"), False),
        ("userns", "USER", ("", "host"), False),
        ("cgroupns", "CGROUP", ("", "host", "private"), False),
    ):
        value = values.text(flag)
        joined = joins and value.startswith("container:") and len(value) > len("container:")
        if value not in allowed and not joined:
            raise ValueError(f"--{flag}: invalid {shown} mode (in {value!r})")


def attach(value: str) -> str:
    """One of the three standard streams."""
    name = value.lower()
    if name in ("stdin", "stdout", "stderr"):
        return name
    raise ValueError("valid streams are STDIN, STDOUT and STDERR")


def storage(values: list[str]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise ValueError(f"invalid storage option (in {value!r})")
    return {key: setting for key, _, setting in (value.partition("=") for value in values)}
