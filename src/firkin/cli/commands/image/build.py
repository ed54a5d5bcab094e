"""``image build``: an image from a Dockerfile."""

from __future__ import annotations

import os
import sys

from firkin.cli import buildview, common, contextsync, errors, flags
from firkin.cli.opts import building, environment, limits, networks
from firkin.client import build, http, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

    from firkin.cli import context

_TRIES = 3
_strings, _string, _boolean, _integer = flags.strings, flags.string, flags.boolean, flags.integer


def _many(name: str, usage: str, convert: Callable[[str], Any], short: str = "") -> flags.Flag:
    return flags.many(name, short, usage, convert, type_name="stringArray")


COMMAND = flags.Command(
    "[OPTIONS] PATH | URL | -",
    "Build an image from a Dockerfile",
    (
        _strings("add-host", "", "Add a name and its address to /etc/hosts (host:ip)",
                 networks.extra_host),
        _strings("allow", "", "Allow what is not by default (network.host, device, ...)",
                 type_name="stringArray"),
        _strings("annotation", "", "Add an annotation to the image", type_name="stringArray"),
        _many("attest", "Attestation to make (type=sbom|provenance,mode=max)",
              building.attestation),
        _strings("build-arg", "", "Set a variable of the build"),
        _many("build-context", "Further context (NAME=PATH, URL, docker-image:, build:, ...)",
              building.named_context),
        flags.many("cache-from", "", "Cache to use (type=registry|local,...)", building.cache,
                   type_name="strings"),
        _many("cache-to", "Where to keep the cache (type=registry|local|inline,...)",
              building.cache),
        _string("call", "", 'What to do ("build", "check", "outline", "targets")', "build"),
        _string("cgroup-parent", "", "Cgroup to put the steps' cgroups in"),
        _boolean("check", "", "Only check the Dockerfile (--call=check)"),
        _boolean("compress", "", "Accepted for old scripts", hidden=True),
        _integer("cpu-period", "", "Period of the CPU quota in microseconds"),
        _integer("cpu-quota", "", "CPU time within one period in microseconds"),
        _integer("cpu-shares", "c", "Relative weight of CPU time"),
        _string("cpuset-cpus", "", "CPUs to run on (0-3, 0,1)"),
        _string("cpuset-mems", "", "Memory nodes to use (0-3, 0,1)"),
        _boolean("disable-content-trust", "", "Accepted for old scripts", True, hidden=True),
        _string("file", "f", "The Dockerfile (default: PATH/Dockerfile)"),
        _boolean("force-rm", "", "Accepted for old scripts", hidden=True),
        _string("graph", "", "Draw the steps: - for text, or a file.svg"),
        _string("iidfile", "", "Write the image's ID to this file"),
        _string("isolation", "", "Container isolation technology", hidden=True),
        _strings("label", "", "Set labels on the image", environment.label),
        _boolean("load", "", "Keep the image in the engine's store, which is the default"),
        flags.converted("memory", "m", "Memory limit of each step", limits.size, 0, "bytes"),
        flags.converted("memory-swap", "", "Limit of memory plus swap; -1 for no limit on swap",
                        limits.swap_size, 0, "bytes"),
        _string("metadata-file", "", "Write what is known of the result to this file"),
        _string("network", "", "Network of the RUN steps", "default"),
        _boolean("no-cache", "", "Do all steps again"),
        _strings("no-cache-filter", "", "Do the steps of these stages again",
                 type_name="stringArray"),
        _many("output", "Where the result goes (type=local,dest=PATH)", building.output, "o"),
        _strings("platform", "", "Platforms to build for", type_name="string"),
        _string("progress", "", 'How to show it ("auto", "plain", "tty", "quiet", "rawjson")',
                "auto"),
        _string("provenance", "", "Shorthand for --attest=type=provenance"),
        _boolean("pull", "", "Look for newer base images"),
        _boolean("push", "", "Push the image to its registry"),
        _boolean("quiet", "q", "Only print the image's ID"),
        _boolean("rm", "", "Accepted for old scripts", True, hidden=True),
        _string("sbom", "", "Shorthand for --attest=type=sbom"),
        _many("secret", "Secret for steps (id=ID,src=FILE or env=NAME)", building.secret),
        _strings("security-opt", "", "Security options", type_name="strings"),
        flags.converted("shm-size", "", "Size of /dev/shm", limits.size, 0, "bytes"),
        _boolean("squash", "", "Not supported", hidden=True),
        _many("ssh", "SSH agent for steps (default|ID[=SOCKET])", building.agent),
        _strings("tag", "t", "Name of the image, and tag (NAME:TAG)", building.image_name),
        _string("target", "", "Stage to build"),
        flags.many("ulimit", "", "Resource limits of the steps", limits.ulimit,
                   type_name="ulimit", default_text="[]"),
        _boolean("why", "", "Say of each step why it was, or was not, in the cache"),
    ),
    flags.exactly(1),
)  # fmt: skip


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Bring the context to the engine, follow the build, and fetch what is to be written here."""
    view = _view(values)
    query = _query(cli, values)
    where, dockerfile = args[0], values.text("file")
    body: dict[str, Any] = {}
    if where == "-":
        _from_stdin(cli, values, query, body)
    elif _remote(where):
        query["remote"] = where
        if dockerfile:
            query["dockerfile"] = dockerfile
        if "q" in query:
            del query["q"]
    else:
        _directory(cli, values, where, query, body)
    _extras(cli, values, body)
    _caches(cli, values, query)
    if "remote" in query:
        query["own"] = True
    call = "check" if values.flag("check") else values.text("call")
    if call != "build":
        return _check(cli, call, query, body)
    headers = _credentials(cli)
    response = build.build(cli.client, query, body, headers)
    found = view.show(response.json_values())
    cli.client.release(response)
    return _end(cli, values, view, found)


def _view(values: flags.Values) -> buildview.Plain:
    kind = values.text("progress")
    if values.flag("quiet"):
        kind = "quiet"
    elif values.changed("progress") is False and (known := os.environ.get("BUILDKIT_PROGRESS")):
        kind = known
    return buildview.choose(kind, sys.stderr)


def _end(
    cli: context.Cli, values: flags.Values, view: buildview.Plain, found: dict[str, Any]
) -> int:
    if values.flag("why"):
        sys.stderr.write("\n")
        for step in view.steps.values():
            if step.why:
                state = "cached" if step.cached else "not cached"
                sys.stderr.write(f"#{step.number} {step.name}\n    {state}: {step.why}\n")
    if graph := values.text("graph"):
        from firkin.cli import buildgraph

        drawn = buildgraph.svg if graph.endswith(".svg") else buildgraph.text
        if graph == "-":
            cli.print(drawn(view.steps).rstrip("\n"))
        else:
            with open(graph, "w", encoding="utf-8") as file:
                file.write(drawn(view.steps))
    if error := found.get("error"):
        raise errors.CliError(f"failed to solve: {error}", named=False)
    image = (found.get("aux") or {}).get("ID", "")
    if path := values.text("iidfile"):
        with open(path, "w", encoding="ascii") as file:
            file.write(image)
    if path := values.text("metadata-file"):
        import json

        with open(path, "w", encoding="utf-8") as file:
            json.dump(found.get("result") or {}, file, indent=2)
            file.write("\n")
    for item in (found.get("result") or {}).get("firkin.outputs", []):
        _fetch(cli, item)
    if values.flag("quiet") and image:
        cli.print(image)
    return 0


def _fetch(cli: context.Cli, item: dict[str, str]) -> None:
    response = build.output(cli.client, item["token"])
    dest = item["dest"]
    if item["type"] == "local":
        building.extract(_Reader(response.chunks()), dest)
    elif dest == "-":
        for chunk in response.chunks():
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    else:
        with open(dest, "wb") as file:
            for chunk in response.chunks():
                file.write(chunk)
    cli.client.release(response)


class _Reader:
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest += chunk
        if size < 0:
            size = len(self._rest)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def _remote(where: str) -> bool:
    return where.startswith(("http://", "https://", "git://", "git@", "ssh://", "github.com/"))


def _query(cli: context.Cli, values: flags.Values) -> dict[str, object]:
    args: dict[str, str | None] = {}
    proxied: dict[str, Any] = {}
    from firkin.cli.opts import proxies

    proxies.apply(cli, proxied)
    for item in proxied.get("Env") or ():
        name, _, value = item.partition("=")
        args[name] = value
    for item in values.items("build-arg"):
        name, equals, value = item.partition("=")
        args[name] = value if equals else os.environ.get(name)
    if "SOURCE_DATE_EPOCH" in os.environ:
        args.setdefault("SOURCE_DATE_EPOCH", os.environ["SOURCE_DATE_EPOCH"])
    outputs = [dict(item) for item in values.get("output")]
    if values.flag("push"):
        outputs.append({"type": "registry"})
    attests: dict[str, str] = dict(values.get("attest"))
    for name in ("provenance", "sbom"):
        text = values.text(name)
        if text and text != "false":
            attests[name] = "max" if text in ("max", "mode=max") else "min"
    ulimits = values.get("ulimit")
    query: dict[str, object] = {
        "t": values.items("tag"), "target": values.text("target") or None,
        "buildargs": args or None, "labels": common.pairs(values.items("label")) or None,
        "platform": ",".join(values.items("platform")) or None,
        "nocache": values.flag("no-cache") or None,
        "nocachefilter": values.items("no-cache-filter"), "pull": values.flag("pull") or None,
        "networkmode": values.text("network") if values.changed("network") else None,
        "memory": values.number("memory") or None, "memswap": values.number("memory-swap") or None,
        "cpushares": values.number("cpu-shares") or None,
        "cpuperiod": values.number("cpu-period") or None,
        "cpuquota": values.number("cpu-quota") or None,
        "cpusetcpus": values.text("cpuset-cpus") or None,
        "cpusetmems": values.text("cpuset-mems") or None,
        "cgroupparent": values.text("cgroup-parent") or None,
        "shmsize": values.number("shm-size") or None, "extrahosts": values.items("add-host"),
        "allow": values.items("allow"), "squash": values.flag("squash") or None,
    }  # fmt: skip
    for name, value in (
        ("ulimits", ulimits), ("securityopt", values.items("security-opt")),
        ("outputs", [{"Type": one["type"], "Attrs": one} for one in outputs]),
        ("cacheto", values.get("cache-to")),
    ):  # fmt: skip
        if value:
            query[name] = jsontext.dumps(value)
    if attests:
        query["attests"] = attests
    if annotations := values.items("annotation"):
        query["annotations"] = common.pairs(annotations)
    return query


def _directory(
    cli: context.Cli, values: flags.Values, where: str, query: dict[str, object],
    body: dict[str, Any],
) -> None:  # fmt: skip
    if not os.path.isdir(where):
        raise errors.CliError(
            f"unable to prepare context: path {flags.quoted(where)} not found"
            if not os.path.exists(where)
            else f"unable to prepare context: {where} is not a directory"
        )
    given = values.text("file")
    if given == "-":
        body["dockerfile"] = sys.stdin.buffer.read().decode("utf-8")
        path = ""
    else:
        path = given or os.path.join(where, "Dockerfile")
        if not given and not os.path.exists(path):
            lower = os.path.join(where, "dockerfile")
            path = lower if os.path.exists(lower) else path
        body["dockerfile"] = _read(path)
    query["dockerfile"] = os.path.relpath(path, where) if path else "Dockerfile"
    query["context"] = _sync(cli, where, path)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise errors.CliError(f"failed to read dockerfile: open {path}: {reason}") from None
    except UnicodeDecodeError:
        raise errors.CliError(f"{path} is not UTF-8 text") from None


def _sync(cli: context.Cli, where: str, dockerfile: str) -> str:
    return _sent(cli, contextsync.Directory(where, contextsync.rules(where, dockerfile)))


def _sent(cli: context.Cli, tree: contextsync.Directory) -> str:
    """Bring a directory to the engine; the token by which it knows it.

    A directory that changes meanwhile is looked at again, a few times.
    """
    for left in reversed(range(_TRIES)):
        token, missing = build.sync(cli.client, tree.key(), tree.manifest())
        if not missing:
            return token
        try:
            build.send(cli.client, token, tree.archive(missing))
            return token
        except contextsync.Changed:
            if not left:
                raise
    raise AssertionError


def _from_stdin(
    cli: context.Cli, values: flags.Values, query: dict[str, object], body: dict[str, Any]
) -> None:
    """A tar on standard input is the context; anything else is the Dockerfile."""
    source: BinaryIO = sys.stdin.buffer
    head = source.read(1024)
    if not head:
        raise errors.CliError("standard input is empty: give a Dockerfile or a tar")
    magic = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
    if head.startswith(magic) or head[257:262] == b"ustar":

        def chunks() -> Iterator[bytes]:
            yield head
            yield from common.read_chunks(source)

        query["context"] = build.upload(cli.client, chunks())
        query["dockerfile"] = values.text("file") or "Dockerfile"
        return
    if values.text("file"):
        raise errors.CliError("can't use the Dockerfile of standard input together with --file")
    body["dockerfile"] = (head + source.read()).decode("utf-8")


def _extras(cli: context.Cli, values: flags.Values, body: dict[str, Any]) -> None:
    secrets: list[tuple[str, bytes]] = values.get("secret")
    if secrets:
        import base64

        body["secrets"] = {n: base64.b64encode(data).decode("ascii") for n, data in secrets}
    if agents := values.get("ssh"):
        if not cli.client.transport.address.startswith("unix:"):
            raise errors.CliError("--ssh works with an engine on this machine only")
        body["ssh"] = dict(agents)
    contexts = {name: _named(cli, name, source) for name, source in values.get("build-context")}
    if contexts:
        body["contexts"] = contexts


def _named(cli: context.Cli, name: str, source: str) -> dict[str, Any]:
    """A further context, as the engine is told of it; directories are brought to it."""
    scheme, _, rest = source.partition(":")
    if scheme == "docker-image" and rest.startswith("//"):
        return {"image": rest[2:]}
    if scheme == "oci-layout" and rest.startswith("//"):
        path, tag, digest = building.layout(rest[2:])
        if os.path.isfile(os.path.join(path, "oci-layout")):
            tree = contextsync.Directory(path)
            return {"layout": {"token": _sent(cli, tree), "tag": tag, "digest": digest}}
        raise errors.CliError(f"failed to get build context {name}: {path} is no OCI layout")
    if scheme == "build":
        return {"build": _nested(cli, name, rest)}
    if _remote(source):
        return {"remote": source}
    if os.path.isdir(source):
        return {"token": _sync(cli, source, "")}
    raise errors.CliError(f"failed to get build context {name}: {source} is not found")


def _nested(cli: context.Cli, name: str, source: str) -> dict[str, Any]:
    """Another build, whose result is a context."""
    try:
        where, settings, args = building.nested(source)
    except ValueError as error:
        raise errors.CliError(f"build context {name}: {error}") from None
    path = settings.get("file") or os.path.join(where, "Dockerfile")
    if not os.path.isdir(where):
        raise errors.CliError(f"failed to get build context {name}: {where} is not found")
    return {
        "token": _sync(cli, where, path), "dockerfile": _read(path), "args": args,
        "filename": os.path.relpath(path, where), "target": settings.get("target", ""),
    }  # fmt: skip


def _caches(cli: context.Cli, values: flags.Values, query: dict[str, object]) -> None:
    """Caches to import; one in a directory of this machine is sent like a context."""
    found: list[dict[str, str]] = []
    for item in values.get("cache-from"):
        if item["type"] == "local":
            source = item.get("src", "")
            if not os.path.isfile(os.path.join(source, "index.json")):
                cli.warn(f"WARNING: there is no build cache in {source!r}")
                continue
            item = {"type": "local", "token": _sent(cli, contextsync.Directory(source))}
        found.append(item)
    if found:
        query["cachefrom"] = jsontext.dumps(found)


def _credentials(cli: context.Cli) -> dict[str, str]:
    """All credentials of the configuration, for whatever images the Dockerfile names."""
    if not any(cli.config.get(name) for name in ("auths", "credsStore", "credHelpers")):
        return {}
    import base64
    import json

    from firkin.cli import credentials

    found = credentials.every(cli)
    if not found:
        return {}
    encoded = base64.urlsafe_b64encode(json.dumps(found).encode()).decode("ascii")
    return {"X-Registry-Config": encoded}


def _check(cli: context.Cli, call: str, query: dict[str, object], body: dict[str, Any]) -> int:
    if call not in ("check", "outline", "targets"):
        raise errors.CliError(f"unknown --call {call!r}: build, check, outline or targets")
    try:
        found = build.check(cli.client, query, body)
    except http.ProtocolError as error:
        raise errors.CliError(str(error)) from None
    if call == "targets":
        for stage in found["targets"]:
            mark = " (default)" if stage["default"] else ""
            cli.print(f"{stage['name']}{mark}\t{stage['description']}".rstrip())
        return 0
    if call == "outline":
        cli.print("BUILD ARG\tVALUE\tDESCRIPTION")
        for arg in found["args"]:
            cli.print(f"{arg['name']}\t{arg['value']}\t{arg['description']}".rstrip())
        return 0
    warnings = found["warnings"]
    if not warnings:
        cli.print("Check complete, no warnings found.")
        return 0
    count = len(warnings)
    cli.print(f"Check complete, {count} warning{'s have' if count > 1 else ' has'} been found!")
    for one in warnings:
        cli.print(f"\nWARNING: {one['rule']}\n{one['description']}\n{one['message']}")
        cli.print(one["excerpt"])
    return 1
