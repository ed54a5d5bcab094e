"""Running helper programs."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from firkin import errdefs


class Result(NamedTuple):
    """How a program ended; ``code`` is negative for a signal."""

    code: int
    stdout: bytes
    stderr: bytes


_MAX_ERROR = 4096


async def run(
    argv: Sequence[str], *, timeout: float = 60.0, env: Mapping[str, str] | None = None
) -> Result:
    """Run ``argv`` to its end without standard input.

    ``timeout`` is in seconds; the program is killed when it takes longer, or when the caller is
    cancelled. Raises ``System`` when it can't be started or times out.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
        )
    except OSError as error:
        raise errdefs.System(f"cannot run {argv[0]}: {error.strerror or error}") from error
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout)
    except TimeoutError as error:
        raise errdefs.System(f"{argv[0]} did not end within {timeout:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    return Result(process.returncode or 0, out, err)


def complaint(result: Result) -> str:
    """What the program said about its failure, in one line of bounded length."""
    text = result.stderr.decode(errors="replace").strip() or f"exit status {result.code}"
    return " ".join(text.split())[:_MAX_ERROR]
