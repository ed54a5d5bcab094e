"""``image ls``: a line per tag of each image.

An image with several tags has a line for each; one whose repository is known by digest only has a
line with the tag ``<none>``. Digests get lines of their own only when they are shown.
"""

from __future__ import annotations

import sys

from firkin.cli import common, errors, flags, formatter, gorows, units
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    (
        flags.boolean("all", "a", "Show intermediate images too"),
        flags.boolean("digests", "", "Show digests"),
        common.filter_flag("f"),
        flags.string("format", "", common.FORMAT_USAGE),
        flags.boolean("no-trunc", "", "Show whole IDs"),
        flags.boolean("quiet", "q", "Only show image IDs"),
        flags.boolean("tree", "", "List images of several platforms as a tree"),
    ),
    flags.between(0, 1),
)

NONE = "<none>"
COLUMNS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}
TABLE = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
TABLE_DIGESTS = (
    "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
)
RAW = (
    "repository: {{.Repository}}\ntag: {{.Tag}}\n{DIGEST}image_id: {{.ID}}\n"
    "created_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Ask for the images and show them."""
    if values.flag("tree"):
        return _tree(cli, values, args)
    quiet, digests = values.flag("quiet"), values.flag("digests")
    fmt = common.list_format(cli, values, "imagesFormat", quiet=quiet)
    filters = common.filters(values.items("filter"))
    if args:
        filters.setdefault("reference", []).append(args[0])
    found = images.list_images(cli.client, show_all=values.flag("all"), filters=filters)
    if fmt == "table":
        fmt = "{{.ID}}" if quiet else TABLE_DIGESTS if digests else TABLE
    elif fmt == "raw":
        digest = "digest: {{.Digest}}\n" if digests else ""
        fmt = "image_id: {{.ID}}" if quiet else RAW.replace("{DIGEST}", digest)
    with_digest = digests or "{{.Digest}}" in fmt
    names = ((image, name) for image in found for name in names_of(image, digests, with_digest))
    trunc = not values.flag("no-trunc")
    rows = (row(image, *name, trunc) for image, name in names)
    formatter.render(rows, fmt, sys.stdout, columns=COLUMNS)
    return 0


def _tree(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    for name in ("quiet", "no-trunc", "digests", "format"):
        if values.changed(name):
            raise errors.CliError(f"--{name} is not yet supported with --tree")
    filters = common.filters(values.items("filter"))
    if args:
        filters.setdefault("reference", []).append(args[0])
    found = images.list_images(
        cli.client, show_all=values.flag("all"), filters=filters, manifests=True
    )
    if not values.flag("all") and "dangling" not in filters:
        found = [image for image in found if image.get("RepoTags")]
    from firkin.cli.commands.image import tree

    tree.show(found)
    return 0


def names_of(
    image: dict[str, Any], digests: bool, with_digest: bool
) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest of every line that the image gets."""
    tags: dict[str, list[str]] = {}
    for name in image.get("RepoTags") or ():
        repository, tag = images.split_tag(name)
        if repository != NONE:
            tags.setdefault(repository, []).append(tag)
    by_digest: dict[str, list[str]] = {}
    for name in image.get("RepoDigests") or ():
        repository, _, digest = name.partition("@")
        if repository != NONE:
            by_digest.setdefault(repository, []).append(digest)
    if not tags and not by_digest:
        yield NONE, NONE, NONE
    for repository, its_tags in tags.items():
        its_digests = by_digest.pop(repository, None)
        for tag in its_tags:
            for digest in (its_digests if with_digest else None) or [NONE]:
                yield repository, tag, digest
    for repository, its_digests in by_digest.items():
        for digest in its_digests if digests else [""]:
            yield repository, NONE, digest


def row(
    image: dict[str, Any], repository: str, tag: str, digest: str, trunc: bool
) -> formatter.Row:
    """One line."""
    size = int(image.get("Size") or 0)
    shared = image.get("SharedSize", 0)
    created = image.get("Created") or 0
    containers = image.get("Containers", 0)
    unknown = shared == -1
    return formatter.Row(
        {
            "Repository": repository,
            "Tag": tag,
            "Digest": digest,
            "ID": common.short_id(image["Id"]) if trunc else image["Id"],
            "CreatedSince": lambda: common.ago(created),
            "CreatedAt": lambda: common.when(created, "go"),
            "Size": lambda: units.human_size(size, 3),
            "VirtualSize": lambda: units.human_size(size),
            "Containers": "N/A" if containers == -1 else str(containers),
            "SharedSize": "N/A" if unknown else lambda: units.human_size(shared),
            "UniqueSize": "N/A" if unknown else lambda: units.human_size(size - shared),
        },
        type_name="image",
        whole=lambda: gorows.image(image, trunc, repository, tag, digest),
    )
