"""``info``: the engine, its host, and how both are set up."""

from __future__ import annotations

import sys

from firkin.cli import common, errors, flags, plugins, units
from firkin.cli.commands.system import version
from firkin.client import api, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Show how the engine and its host are set up",
    (flags.string("format", "f", common.INSPECT_USAGE),),
    flags.none(),
)

BAD_TEMPLATE_STATUS = 64


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """The client's part is shown even if there is no engine; that is a failure then."""
    fmt = values.text("format")
    show = _template(fmt) if fmt and fmt != "json" else None
    client = {
        "Debug": cli.debug,
        **version.build(),
        "Context": cli.context_name(),
        "Plugins": [_plugin(found) for found in plugins.listing(cli) if not found.problem],
        "Warnings": None,
    }
    failure = ""
    info: dict[str, Any] | None = None
    try:
        info = system.info(cli.client)
    except api.ConnectionFailed as error:
        failure = str(error)
    except api.APIError as error:
        failure = f"Error response from daemon: {error}"
    report = {**(info or {}), **({"ServerErrors": [failure]} if failure else {})}
    report["ClientInfo"] = client
    if show:
        show(report)
    elif fmt == "json":
        from firkin.cli.template import functions
        from firkin.cli.template import values as kinds

        cli.print(functions.to_json(kinds.plain(_typed(report))))
    else:
        lines = [*_client(client), "", "Server:", *(_server(info) if info is not None else ())]
        cli.print("\n".join(lines))
        if info is not None:
            cli.print("")
        for warning in (info or {}).get("Warnings") or ():
            cli.warn(warning)
    if failure:
        raise errors.CliError(failure)
    return 0


def _template(fmt: str) -> Any:
    from firkin.cli import template

    try:
        compiled = template.compile(fmt)
    except template.TemplateError as error:
        raise errors.CliError(f"template parsing error: {error}", BAD_TEMPLATE_STATUS) from None

    def show(report: dict[str, Any]) -> None:
        try:
            sys.stdout.write(compiled.execute(_typed(report)) + "\n")
        except template.TemplateError as error:
            raise errors.CliError(f"template parsing error: {error}") from None

    return show


def _typed(report: dict[str, Any]) -> object:
    """The report with the types that templates see."""
    from firkin.cli import shapes
    from firkin.cli.template import values as kinds

    typed = shapes.shape(report, "info")
    if isinstance(typed, kinds.Struct) and isinstance(typed.raw, dict):
        for name, value in report.items():
            typed.setdefault(name, value)
        if isinstance(registries := report.get("RegistryConfig"), dict):
            as_json = kinds.plain(dict(registries))  # sorted by name, other than the rest
            typed.raw["RegistryConfig"] = as_json
            if isinstance(found := typed["RegistryConfig"], kinds.Struct):
                found.raw = as_json
        client = report["ClientInfo"]
        fields = {**client, "Warnings": kinds.NilList()}
        typed["ClientInfo"] = kinds.Struct("clientInfo", fields, client)
    return typed


def _truth(value: object) -> str:
    return "true" if value else "false"


def _plugin(plugin: plugins.Plugin) -> dict[str, str]:
    return {
        "SchemaVersion": plugins.SCHEMAS[0],
        "Vendor": plugin.vendor,
        "Version": plugin.version,
        "ShortDescription": plugin.short,
        "Name": plugin.name,
        "Path": plugin.path,
    }


def _client(client: dict[str, Any]) -> list[str]:
    lines = [
        "Client:",
        f" Version:    {client['Version']}",
        f" Context:    {client['Context']}",
        f" Debug Mode: {_truth(client['Debug'])}",
    ]
    if client["Plugins"]:
        lines.append(" Plugins:")
    for plugin in client["Plugins"]:
        lines.append(f"  {plugin['Name']}: {plugin['ShortDescription']} ({plugin['Vendor']})")
        if plugin["Version"]:
            lines.append(f"    Version:  {plugin['Version']}")
        lines.append(f"    Path:     {plugin['Path']}")
    return lines


def _server(info: dict[str, Any]) -> Iterator[str]:
    yield f" Containers: {info.get('Containers', 0)}"
    for state in ("Running", "Paused", "Stopped"):
        yield f"  {state}: {info.get(f'Containers{state}', 0)}"
    yield f" Images: {info.get('Images', 0)}"
    yield from _given(info, ("Server Version", "ServerVersion"))
    yield f" Storage Driver: {info.get('Driver', '')}"
    for pair in info.get("DriverStatus") or ():
        yield f"  {pair[0]}: {pair[1]}"
    yield from _given(
        info,
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
    )
    yield from _plugins(info.get("Plugins") or {})
    if directories := info.get("CDISpecDirs"):
        yield " CDI spec directories:"
        for directory in directories:
            yield f"  {directory}"
    yield from _swarm(info.get("Swarm") or {})
    if info.get("Runtimes"):
        yield f" Runtimes: {' '.join(sorted(info['Runtimes']))}"
        yield f" Default Runtime: {info.get('DefaultRuntime', '')}"
    if info.get("OSType") == "linux":
        yield from _linux(info)
    yield from _host(info)
    yield from _settings(info)


def _given(info: dict[str, Any], *pairs: tuple[str, str]) -> Iterator[str]:
    """The fields that aren't empty."""
    for title, key in pairs:
        if info.get(key):
            yield f" {title}: {info[key]}"


def _plugins(plugins: dict[str, Any]) -> Iterator[str]:
    yield " Plugins:"
    yield f"  Volume: {' '.join(plugins.get('Volume') or ())}"
    yield f"  Network: {' '.join(plugins.get('Network') or ())}"
    if plugins.get("Authorization"):
        yield f"  Authorization: {' '.join(plugins['Authorization'])}"
    yield f"  Log: {' '.join(plugins.get('Log') or ())}"


def _swarm(swarm: dict[str, Any]) -> Iterator[str]:
    state = swarm.get("LocalNodeState") or "inactive"
    yield f" Swarm: {state}"
    if state in ("inactive", "locked"):
        return
    yield f"  NodeID: {swarm.get('NodeID', '')}"
    if swarm.get("Error"):
        yield f"  Error: {swarm['Error']}"
    manager = bool(swarm.get("ControlAvailable"))
    yield f"  Is Manager: {_truth(manager)}"
    if manager:
        yield f"  Managers: {swarm.get('Managers', 0)}"
        yield f"  Nodes: {swarm.get('Nodes', 0)}"
    yield f"  Node Address: {swarm.get('NodeAddr', '')}"


def _linux(info: dict[str, Any]) -> Iterator[str]:
    yield f" Init Binary: {info.get('InitBinary', '')}"
    for title, key in (("containerd", "ContainerdCommit"), ("runc", "RuncCommit")):
        yield f" {title} version: {(info.get(key) or {}).get('ID', '')}"
    yield f" init version: {(info.get('InitCommit') or {}).get('ID', '')}"
    if info.get("SecurityOptions"):
        yield " Security Options:"
        for option in info["SecurityOptions"]:
            yield from _security(option)


def _security(option: str) -> Iterator[str]:
    """``name=seccomp,profile=builtin`` as a name with its settings below."""
    for part in option.split(","):
        key, equals, value = part.partition("=")
        if key == "name" or not equals:
            yield f"  {value or key}"
        else:
            yield f"   {key[:1].upper()}{key[1:]}: {value}"


def _host(info: dict[str, Any]) -> Iterator[str]:
    yield from _given(
        info,
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    )
    yield f" CPUs: {info.get('NCPU', 0)}"
    yield f" Total Memory: {units.human_size_binary(info.get('MemTotal') or 0)}"
    yield from _given(info, ("Name", "Name"), ("ID", "ID"), ("Docker Root Dir", "DockerRootDir"))
    yield f" Debug Mode: {_truth(info.get('Debug'))}"
    if info.get("Debug"):
        yield f"  File Descriptors: {info.get('NFd', 0)}"
        yield f"  Goroutines: {info.get('NGoroutines', 0)}"
        yield f"  System Time: {info.get('SystemTime', '')}"
        yield f"  EventsListeners: {info.get('NEventsListener', 0)}"


def _settings(info: dict[str, Any]) -> Iterator[str]:
    yield from _given(
        info,
        ("HTTP Proxy", "HttpProxy"),
        ("HTTPS Proxy", "HttpsProxy"),
        ("No Proxy", "NoProxy"),
    )
    if info.get("Labels"):
        yield " Labels:"
        for label in info["Labels"]:
            yield f"  {label}"
    yield f" Experimental: {_truth(info.get('ExperimentalBuild'))}"
    registries = info.get("RegistryConfig") or {}
    indexes = registries.get("IndexConfigs") or {}
    insecure = [name for name, index in indexes.items() if not index.get("Secure")]
    ranges = registries.get("InsecureRegistryCIDRs") or []
    if insecure or ranges:
        yield " Insecure Registries:"
        for name in [*insecure, *ranges]:
            yield f"  {name}"
    if registries.get("Mirrors"):
        yield " Registry Mirrors:"
        for name in registries["Mirrors"]:
            yield f"  {name}"
    yield f" Live Restore Enabled: {_truth(info.get('LiveRestoreEnabled'))}"
    if info.get("ProductLicense"):
        yield f" Product License: {info['ProductLicense']}"
    if info.get("DefaultAddressPools"):
        yield " Default Address Pools:"
        for pool in info["DefaultAddressPools"]:
            yield f"   Base: {pool.get('Base', '')}, Size: {pool.get('Size', 0)}"
