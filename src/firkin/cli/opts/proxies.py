"""Proxies of the configuration file, which new containers get as environment variables.

``"proxies": {"default": {"httpProxy": ..., "httpsProxy": ..., "noProxy": ...}}``; instead of
"default" an engine's address may stand, whose settings then win. Both spellings of a variable are
set, unless the user has given that one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

_VARIABLES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "noProxy": "NO_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
}


def apply(cli: context.Cli, request: dict[str, Any]) -> None:
    """Add the variables to the environment in the body of a create request."""
    proxies = cli.config.get("proxies")
    if not isinstance(proxies, dict):
        return
    chosen = proxies.get(cli.client.transport.address) or proxies.get("default")
    if not isinstance(chosen, dict):
        return
    environment = list(request.get("Env") or ())
    given = {item.partition("=")[0] for item in environment}
    for setting, name in _VARIABLES.items():
        if not (value := chosen.get(setting)):
            continue
        for spelled in (name, name.lower()):
            if spelled not in given:
                environment.append(f"{spelled}={value}")
    request["Env"] = environment
