"""``firkin login``: check credentials at a registry and keep them."""

from __future__ import annotations

import sys

from firkin.cli import credentials, errors, flags
from firkin.client import registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] [SERVER]",
    "Authenticate to a registry, by default docker.io",
    (
        flags.string("password", "p", "Password or access token"),
        flags.boolean("password-stdin", "", "Take the password from standard input"),
        flags.string("username", "u", "User name"),
    ),
    flags.between(0, 1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Credentials are kept only when the registry has accepted them."""
    key = credentials.key_of(args[0] if args else "")
    found = _given(cli, values, key)
    answer = registries.login(cli.client, found)
    if token := answer.get("IdentityToken"):
        found = {**found, "identitytoken": token}
        found.pop("password", None)
    place = credentials.store(cli, key, found)
    if place.endswith("config.json"):
        cli.warn(
            f"\nWARNING! Your credentials are stored unencrypted in '{place}'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n"
        )
    cli.print(answer.get("Status") or "Login Succeeded")
    return 0


def _given(cli: context.Cli, values: flags.Values, key: str) -> dict[str, str]:
    username, password = values.text("username"), values.text("password")
    if values.flag("password-stdin"):
        if values.changed("password"):
            raise errors.CliError(
                "conflicting options: cannot specify both --password and --password-stdin"
            )
        if not username:
            raise errors.CliError("the --password-stdin option requires --username to be set")
        password = sys.stdin.read().rstrip("\r\n")
        if not password:
            raise errors.CliError("password is empty")
    elif values.changed("password"):
        cli.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if not username and not password and (known := credentials.get(cli, key)):
        cli.print("Authenticating with existing credentials...")
        return known
    if not username or not password:
        if not sys.stdin.isatty():
            raise errors.CliError(
                "Error: Cannot perform an interactive login from a non TTY device"
            )
        import getpass

        username = username or input("Username: ").strip()
        if not username:
            raise errors.CliError("username is empty")
        password = password or getpass.getpass("Password: ")
        if not password:
            raise errors.CliError("password is empty")
    return {"username": username, "password": password, "serveraddress": key}
