"""``context inspect``."""

from __future__ import annotations

from firkin.cli import common, contextstore, flags, inspector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] [CONTEXT] [CONTEXT...]",
    "Show all about one or more contexts",
    (flags.string("format", "f", common.INSPECT_USAGE),),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Show the named contexts, or the current one."""
    from firkin.cli.template import functions

    def fetch(name: str) -> tuple[str, bytes]:
        return "context", functions.to_json(_about(cli, name), html_safe=True).encode()

    return inspector.inspect(args or [cli.context_name()], values.text("format"), fetch)


def _about(cli: context.Cli, name: str) -> dict[str, object]:
    store = cli.contexts
    if name == contextstore.DEFAULT:
        host, identity = cli.default_address(), cli.default_identity()
        skip = identity is not None and not identity.verify
        meta = contextstore.new(name, "", host, skip)
        places = (contextstore.IN_MEMORY, contextstore.IN_MEMORY)
        tls: dict[str, list[str]] = {}
    else:
        meta = store.load(name)
        places = (store.meta_dir(name), store.tls_dir(name))
        tls = store.tls_files(name)
    return {
        "Name": name,
        "Metadata": meta.get("Metadata") or {},
        "Endpoints": meta.get("Endpoints") or {},
        "TLSMaterial": tls,
        "Storage": {"MetadataPath": places[0], "TLSPath": places[1]},
    }
