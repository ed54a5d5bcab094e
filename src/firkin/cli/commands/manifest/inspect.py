"""``manifest inspect``: a manifest or list, from here or from its registry."""

from __future__ import annotations

import json

from firkin.cli import credentials, errors, flags, manifests
from firkin.client import api, jsontext, registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    "Show a manifest or manifest list",
    (
        flags.boolean("insecure", "", "Accepted: insecure-registries of the engine decides"),
        flags.boolean("verbose", "v", "Show what the client knows of each manifest"),
    ),
    flags.between(1, 2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """A local list of that name comes before the registry's."""
    verbose = values.flag("verbose")
    name = manifests.normal(args[-1])
    if len(args) == 2:
        found = manifests.entry(cli, manifests.normal(args[0]), name)
        if found is None:
            raise errors.CliError(f"No such manifest: {name.familiar}")
        _show(cli, found if verbose else jsontext.loads(manifests.raw(found)))
        return 0
    if manifests.exists(cli, name):
        entries = manifests.entries(cli, name)
        _show(cli, entries if verbose else jsontext.loads(manifests.index(entries)[1]))
        return 0
    headers = credentials.headers(cli, str(name))
    try:
        _, _, text = registries.manifest(cli.client, str(name), headers)
    except api.APIError as error:
        if manifests.unknown(error):
            raise errors.CliError(f"no such manifest: {name}: {error}") from None
        raise
    value = jsontext.loads(text)
    if not verbose:
        _show(cli, value)
        return 0
    if "manifests" in value:
        digests = [str(item["digest"]) for item in value["manifests"]]
        each = [_entry(cli, name.name, one, value) for one in digests]
        _show(cli, each)
    else:
        _show(cli, manifests.fetch(cli, name))
    return 0


def _entry(cli: context.Cli, repository: str, digest: str, index: Any) -> dict[str, Any]:
    found = manifests.fetch(cli, manifests.normal(f"{repository}@{digest}"))
    listed = next(item for item in index["manifests"] if item["digest"] == digest)
    if "platform" in listed:
        found["Descriptor"]["platform"] = listed["platform"]
    return found


def _show(cli: context.Cli, value: Any) -> None:
    cli.print(json.dumps(value, indent="\t", ensure_ascii=False))
