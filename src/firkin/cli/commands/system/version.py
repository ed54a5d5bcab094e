"""``version``: of the client and of the engine with its parts."""

from __future__ import annotations

import os
import sys

import firkin
from firkin.cli import common, errors, flags
from firkin.client import api, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Show the versions of client and engine",
    (flags.string("format", "f", common.INSPECT_USAGE),),
    flags.none(),
)

BAD_TEMPLATE_STATUS = 64
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_COLUMN = 20


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """The client's part is shown even if there is no engine; that is a failure then."""
    fmt = values.text("format")
    show = _template(fmt) if fmt and fmt != "json" else None
    failure = None
    server: dict[str, Any] | None = None
    try:
        cli.client.negotiate()
        server = system.version(cli.client)
    except api.ConnectionFailed as error:
        failure = str(error)
    except api.APIError as error:
        failure = f"Error response from daemon: {error}"
    report = {"Client": client_part(cli, connected=server is not None), "Server": server}
    if show:
        show(report)
    elif fmt == "json":
        from firkin.cli import shapes
        from firkin.cli.template import functions
        from firkin.cli.template import values as values_

        cli.print(functions.to_json(values_.plain(shapes.shape(report, "version"))))
    else:
        cli.print(text(report))
    if failure:
        raise errors.CliError(failure)
    return 0


def _template(fmt: str) -> Any:
    from firkin.cli import shapes, template

    try:
        compiled = template.compile(fmt)
    except template.TemplateError as error:
        raise errors.CliError(f"template parsing error: {error}", BAD_TEMPLATE_STATUS) from None

    def show(report: dict[str, Any]) -> None:
        try:
            sys.stdout.write(compiled.execute(shapes.shape(report, "version")) + "\n")
        except template.TemplateError as error:
            raise errors.CliError(str(error)) from None

    return show


def client_part(cli: context.Cli, *, connected: bool) -> dict[str, Any]:
    """What is known about this client."""
    found = build()
    return {
        "Version": found.pop("Version"),
        "ApiVersion": cli.client.version if connected else api.VERSION,
        **found,
        "Context": cli.context_name(),
    }


def build() -> dict[str, Any]:
    """What this client is, in the words of the Engine API and of Go's names for systems."""
    machine = _machine()
    return {
        "Version": firkin.__version__,
        "DefaultAPIVersion": api.VERSION,
        "PythonVersion": ".".join(map(str, sys.version_info[:3])),
        "Os": {"win32": "windows"}.get(sys.platform, sys.platform),
        "Arch": _ARCHITECTURES.get(machine, machine),
    }


def _machine() -> str:
    if hasattr(os, "uname"):
        return os.uname().machine
    import platform  # which takes long to import

    return platform.machine()


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    client, server = report["Client"], report["Server"]
    version = client["ApiVersion"]
    if version != client["DefaultAPIVersion"]:
        version += f" (downgraded from {client['DefaultAPIVersion']})"
    lines = ["Client:"]
    lines += _lines(
        1,
        [
            ("Version", client["Version"]),
            ("API version", version),
            ("Python version", client["PythonVersion"]),
            ("OS/Arch", f"{client['Os']}/{client['Arch']}"),
            ("Context", client["Context"]),
        ],
    )
    if server is None:
        return "\n".join(lines)
    name = (server.get("Platform") or {}).get("Name")
    lines += ["", f"Server: {name}" if name else "Server:"]
    components = server.get("Components") or [_engine(server)]
    for component in components:
        lines.append(f" {component.get('Name', '')}:")
        lines += _component(component)
    return "\n".join(lines)


def _engine(server: dict[str, Any]) -> dict[str, Any]:
    """An engine too old to list its components."""
    return {"Name": "Engine", "Version": server.get("Version"), "Details": server}


def _component(component: dict[str, Any]) -> list[str]:
    details = component.get("Details") or {}
    pairs = [("Version", component.get("Version"))]
    if component.get("Name") != "Engine":
        pairs += [(key, details[key]) for key in sorted(details)]
        return _lines(2, pairs)
    least = details.get("MinAPIVersion")
    pairs += [
        ("API version", f"{details.get('ApiVersion')} (minimum version {least})"),
        ("Go version", details.get("GoVersion")),
        ("Python version", details.get("PythonVersion")),
        ("Git commit", details.get("GitCommit")),
        ("Built", _built(str(details.get("BuildTime") or ""))),
        ("OS/Arch", f"{details.get('Os')}/{details.get('Arch')}"),
        ("Experimental", details.get("Experimental") or "false"),
    ]
    kept = [pair for pair in pairs if pair[1] is not None]
    return _lines(2, kept)


def _built(moment: str) -> str | None:
    """The time of the build as C's ``ctime`` writes it."""
    import datetime

    try:
        when = datetime.datetime.fromisoformat(moment)
    except ValueError:
        return moment or None
    return f"{when:%a %b} {when.day:2d} {when:%H:%M:%S %Y}"


def _lines(depth: int, pairs: list[tuple[str, Any]]) -> list[str]:
    width = _COLUMN - depth - 1
    return [f"{' ' * depth}{f'{name}:':<{width}} {value}" for name, value in pairs]
