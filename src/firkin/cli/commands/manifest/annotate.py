"""``manifest annotate``: say which platform a manifest of a list is for."""

from __future__ import annotations

from firkin.cli import common, errors, flags, manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] MANIFEST_LIST MANIFEST",
    "Add information to a manifest of a local list",
    (
        flags.string("arch", "", "Architecture of the image"),
        flags.string("os", "", "Operating system"),
        flags.strings("os-features", "", "Features of the operating system", type_name="strings"),
        flags.string("os-version", "", "Version of the operating system"),
        flags.string("variant", "", "Variant of the architecture"),
    ),
    flags.exactly(2),
)

_NAMES = {"arch": "architecture", "os": "os", "os-version": "os.version", "variant": "variant"}


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """What is not given stays."""
    name, manifest = manifests.normal(args[0]), manifests.normal(args[1])
    manifests.entries(cli, name)
    value = manifests.entry(cli, name, manifest)
    if value is None:
        raise errors.CliError(
            f"manifest for image {manifest.familiar} does not exist in {name.familiar}"
        )
    platform = value["Descriptor"].setdefault("platform", {})
    for flag, member in _NAMES.items():
        if values.text(flag):
            platform[member] = values.text(flag)
    if features := common.comma_separated(values.items("os-features")):
        known = platform.setdefault("os.features", [])
        known += [feature for feature in features if feature not in known]
    if not platform.get("os") or not platform.get("architecture"):
        raise errors.CliError(
            f"manifest entry for image has unsupported os/arch combination: "
            f"{platform.get('os', '')}/{platform.get('architecture', '')}"
        )
    manifests.save(cli, name, manifest, value)
    return 0
