"""``--docker key=value,...`` of ``context create`` and ``context update``: where the engine is."""

from __future__ import annotations

from firkin.cli import contextstore, errors, flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

    Endpoint = tuple[str, bool, dict[str, bytes]]

_FILES = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
_KEYS = ("host", "from", "skip-tls-verify", *_FILES)

NOTE = """Docker endpoint config:

NAME                DESCRIPTION
from                Take the endpoint of another context
host                Address of the engine
ca                  Trust only certificates signed by this authority
cert                This client's TLS certificate
key                 The key of that certificate
skip-tls-verify     Do not check the engine's certificate"""


def _parse(text: str, previous: dict[str, str]) -> dict[str, str]:
    import csv

    found = dict(previous)
    for item in next(csv.reader([text]), []):
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{item} must be formatted as key=value")
        found[name] = value
    return found


FLAG = flags.Flag(
    "docker", "", "Where the engine is", "stringToString", {}, _parse, default_text="[]"
)


def read(cli: context.Cli, given: dict[str, str]) -> Endpoint:
    """Address, whether to skip verification, and TLS files. Raises CliError."""
    try:
        return _read(cli, given)
    except errors.CliError as error:
        raise errors.CliError(f"unable to create docker endpoint config: {error}") from None


def _read(cli: context.Cli, given: dict[str, str]) -> Endpoint:
    for key in given:
        if key not in _KEYS:
            raise errors.CliError(f"unrecognized config key: {key}")
    if source := given.get("from"):
        return copy(cli, source)
    skip = False
    if text := given.get("skip-tls-verify"):
        try:
            skip = flags.parse_bool(text)
        except ValueError:
            raise errors.CliError(
                f"skip-tls-verify: parsing {flags.quoted(text)}: invalid syntax"
            ) from None
    files = {
        file: contextstore.read_file(given[key]) for key, file in _FILES.items() if given.get(key)
    }
    if ("cert.pem" in files) != ("key.pem" in files):
        raise errors.CliError("cert and key belong together: give both or neither")
    return given.get("host", ""), skip, files


def copy(cli: context.Cli, name: str) -> Endpoint:
    """The endpoint of an existing context, "default" too."""
    if name == contextstore.DEFAULT:
        host, identity = cli.default_address(), cli.default_identity()
        if identity is None:
            return host, False, {}
        paths = (identity.ca, identity.certificate, identity.key)
        files = {
            file: contextstore.read_file(path)
            for file, path in zip(contextstore.TLS_FILES, paths, strict=True)
            if path
        }
        return host, not identity.verify, files
    found = contextstore.endpoint(cli.contexts.load(name))
    host = str(found.get("Host") or "")
    return host, bool(found.get("SkipTLSVerify")), cli.contexts.load_tls(name)
