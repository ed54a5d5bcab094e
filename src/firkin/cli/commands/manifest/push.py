"""``manifest push``: a local list to its registry, with the manifests that it names."""

from __future__ import annotations

from firkin import reference
from firkin.cli import credentials, errors, flags, manifests
from firkin.client import registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] MANIFEST_LIST",
    "Push a manifest list to a registry",
    (
        flags.boolean("insecure", "", "Accepted: insecure-registries of the engine decides"),
        flags.boolean("purge", "p", "Remove the local list afterwards"),
    ),
    flags.exactly(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Manifests of other repositories are put into the list's first, for it names digests only."""
    name = manifests.normal(args[0])
    entries = manifests.entries(cli, name)
    if not entries:
        raise errors.CliError(f"{name.familiar} cannot be pushed: it is empty")
    headers = credentials.headers(cli, str(name))
    for value in entries:
        _bring(cli, name, value, headers)
    media, text = manifests.index(entries)
    cli.print(registries.put_manifest(cli.client, str(name), media, text, headers))
    if values.flag("purge"):
        manifests.remove(cli, name)
    return 0


def _bring(
    cli: context.Cli, name: reference.Reference, value: dict[str, Any], headers: dict[str, str]
) -> None:
    source = reference.parse(str(value["Ref"]))
    if source.name == name.name:
        return
    if source.domain != name.domain:
        raise errors.CliError(
            f"cannot use source images from a different registry than the target image: "
            f"{source.domain} != {name.domain}: push {source.familiar} to {name.domain} first"
        )
    manifest = value.get("OCIManifest") or value.get("SchemaV2Manifest") or {}
    blobs = [manifest.get("config"), *(manifest.get("layers") or ())]
    digests = [str(blob["digest"]) for blob in blobs if isinstance(blob, dict)]
    missing = registries.mount(cli.client, name.name, source.name, digests, headers)
    if missing:
        raise errors.CliError(
            f"the registry does not mount {missing[0]} from {source.familiar_name}: push the image "
            f"as {name.familiar_name} first"
        )
    digest = str(value["Descriptor"]["digest"])
    media = str(value["Descriptor"]["mediaType"])
    target = f"{name.name}@{digest}"
    registries.put_manifest(cli.client, target, media, manifests.raw(value), headers)
    cli.print(f"Pushed ref {target} with digest: {digest}")
