"""Commands that do one thing to each of several containers."""

from __future__ import annotations

import sys

from firkin.cli import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def each(names: list[str], act: Callable[[str], object], missing_is_fine: bool = False) -> int:
    """``act`` on every name and print those that went well; the failures follow together.

    With ``missing_is_fine`` a container that does not exist is told of, but is no failure.
    """
    from firkin.client import api

    failures: list[str] = []
    for name in names:
        try:
            act(name)
        except api.APIError as error:
            if missing_is_fine and error.status == 404:
                sys.stderr.write(f"Error response from daemon: {error}\n")
                continue
            failures.append(f"Error response from daemon: {error}")
            continue
        sys.stdout.write(name + "\n")
        sys.stdout.flush()
    if failures:
        raise errors.CliError("\n".join(failures))
    return 0
