"""``exists``, Firkin's own verb of four nouns: status 0 when there is such a thing, else 1."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MISSING = 1
TROUBLE = 125


def status(fetch: Callable[[], object]) -> int:
    """The exit status for what ``fetch`` finds; every other failure has a status of its own."""
    from firkin.cli import errors
    from firkin.client import api

    try:
        fetch()
    except api.APIError as error:
        if error.status == 404:
            return MISSING
        raise errors.CliError(f"Error response from daemon: {error}", TROUBLE) from None
    except api.ConnectionFailed as error:
        raise errors.CliError(str(error), TROUBLE) from None
    return 0
