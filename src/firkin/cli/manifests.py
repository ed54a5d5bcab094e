"""Manifest lists that are being made: kept by the client until they are pushed.

``manifests/LIST/MANIFEST`` in the configuration's directory, one JSON document for each manifest of
a list, in the official client's form; "/" of a name becomes "_" and ":" becomes "-".
"""

from __future__ import annotations

import os

from firkin import reference
from firkin.cli import credentials, errors
from firkin.client import api, jsontext, registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def normal(name: str) -> reference.Reference:
    """The whole name that ``name`` stands for."""
    return reference.parse(name).tagged()


def _file(name: reference.Reference) -> str:
    return str(name).replace("/", "_").replace(":", "-")


def _directory(cli: context.Cli, name: reference.Reference) -> str:
    return os.path.join(cli.config_dir, "manifests", _file(name))


def exists(cli: context.Cli, name: reference.Reference) -> bool:
    """Whether there is such a list."""
    return os.path.isdir(_directory(cli, name))


def entries(cli: context.Cli, name: reference.Reference) -> list[dict[str, Any]]:
    """The manifests of a list. Raises CliError when there is no such list."""
    directory = _directory(cli, name)
    if not os.path.isdir(directory):
        raise errors.CliError(f"No such manifest: {name.familiar}")
    found = []
    for file_name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, file_name), "rb") as file:
            try:
                found.append(dict(jsontext.loads(file.read())))
            except (ValueError, TypeError):
                raise errors.CliError(
                    f"the manifest list {name.familiar} is damaged ({file.name}): remove it with "
                    "'manifest rm' and create it again"
                ) from None
    return found


def entry(
    cli: context.Cli, name: reference.Reference, manifest: reference.Reference
) -> dict[str, Any] | None:
    """One manifest of a list."""
    try:
        with open(os.path.join(_directory(cli, name), _file(manifest)), "rb") as file:
            return dict(jsontext.loads(file.read()))
    except FileNotFoundError:
        return None


def save(
    cli: context.Cli,
    name: reference.Reference,
    manifest: reference.Reference,
    value: dict[str, Any],
) -> None:
    """Add a manifest to a list, or change it."""
    directory = _directory(cli, name)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    path = os.path.join(directory, _file(manifest))
    with open(f"{path}.{os.getpid()}", "wb") as file:
        file.write(jsontext.dumps(value).encode())
    os.replace(file.name, path)


def remove(cli: context.Cli, name: reference.Reference) -> None:
    """Drop a list. Raises CliError when there is none."""
    import shutil

    if not exists(cli, name):
        raise errors.CliError(f"No such manifest: {name.familiar}")
    shutil.rmtree(_directory(cli, name))


def fetch(cli: context.Cli, name: reference.Reference) -> dict[str, Any]:
    """A manifest from its registry, in the form that is kept: with its platform."""
    import base64

    headers = credentials.headers(cli, str(name))
    media, digest, text = registries.manifest(cli.client, str(name), headers)
    value = jsontext.loads(text)
    if "manifests" in value:
        raise errors.CliError(f"{name.familiar} is a manifest list: name an image of one platform")
    described = registries.describe(cli.client, f"{name.name}@{digest}", headers)
    platforms = described.get("Platforms") or [{}]
    kind = "OCIManifest" if media == OCI_MANIFEST else "SchemaV2Manifest"
    return {
        "Ref": str(name),
        "Descriptor": {
            "mediaType": media,
            "digest": digest,
            "size": len(text),
            "platform": platforms[0],
        },
        "Raw": base64.b64encode(text).decode(),
        kind: value,
    }


def raw(value: dict[str, Any]) -> bytes:
    """The text of a kept manifest."""
    import base64

    return base64.b64decode(str(value.get("Raw") or ""))


def index(found: list[dict[str, Any]]) -> tuple[str, bytes]:
    """The media type and text of the list of these manifests."""
    import json

    oci = bool(found) and all(one["Descriptor"].get("mediaType") == OCI_MANIFEST for one in found)
    media = OCI_INDEX if oci else INDEX
    value = {
        "schemaVersion": 2,
        "mediaType": media,
        "manifests": [one["Descriptor"] for one in found],
    }
    return media, json.dumps(value, indent=3).encode()


def unknown(error: api.APIError) -> bool:
    """Whether an error says that a registry does not have a name."""
    return error.status == 404
