"""libnftables: rulesets in nft's own language, one atomic transaction per text.

A text given to :meth:`Nftables.run` is applied whole or not at all. One context serves the
process; libnftables is not thread-safe, so one thread owns it and runs one text at a time, in the
order they were given. It acts on the network namespace of the thread that made it: the host's.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import ctypes
import threading
from typing import Any

import msgspec

from firkin import errdefs
from firkin.linux import syscalls

_LIBRARY = "libnftables.so.1"
_OUTPUT_JSON = 1 << 4


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise errdefs.System(
            f"cannot load {_LIBRARY} ({error}): install nftables (Debian: libnftables1)"
        ) from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    library.nft_ctx_free.restype = None
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_ctx_output_set_flags.restype = None
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


class _Context:
    """A libnftables context, in a thread that has a table of descriptors of its own.

    libnftables waits for the kernel with select(2), which ends the whole process when the number of
    its socket is above 1023. In such a thread the socket has the first number after the standard
    ones, however many descriptors the process has. Nothing else may run there: not even an event
    loop could be told of a result, since that takes a descriptor.
    """

    def __init__(self) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="firkin-nft")
        try:
            self.thread_id = self._thread.submit(self._open).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def _open(self) -> int:
        self._library = _load()
        syscalls.own_descriptors()
        context = self._library.nft_ctx_new(0)
        if not context:
            raise errdefs.System("libnftables could not make a context: out of memory")
        self._library.nft_ctx_buffer_output(context)
        self._library.nft_ctx_buffer_error(context)
        self._library.nft_ctx_output_set_flags(context, _OUTPUT_JSON)
        self._context = context
        return threading.get_native_id()

    def run(self, text: str) -> str:
        """Apply ``text`` as one transaction and return what it printed. Blocks.

        Raises ``System`` with nft's message.
        """
        return self._thread.submit(self._run, text).result()

    def _run(self, text: str) -> str:
        library, context = self._library, self._context
        failed = library.nft_run_cmd_from_buffer(context, text.encode())
        output: bytes = library.nft_ctx_get_output_buffer(context) or b""
        message: bytes = library.nft_ctx_get_error_buffer(context) or b""
        if failed:
            detail = message.decode(errors="replace").strip() or "no reason given"
            raise errdefs.System(f"the kernel or nftables refused a firewall change: {detail}")
        return output.decode(errors="replace")

    def close(self) -> None:
        self._thread.submit(self._library.nft_ctx_free, self._context).result()
        self._thread.shutdown()


def run_here(text: str) -> None:
    """Apply ``text`` as one transaction in the calling thread's network namespace. Blocks.

    Raises ``System`` with nft's message.
    """
    context = _Context()  # its thread is in the namespace of the thread that makes it
    try:
        context.run(text)
    finally:
        context.close()


class Nftables:
    """One context, made at the first use, and a thread that hands it one text at a time."""

    def __init__(self) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="firkin-nft")
        self._context: _Context | None = None

    @property
    def thread_id(self) -> int:
        """The thread that changes rules, 0 before the first change."""
        return 0 if self._context is None else self._context.thread_id

    def _run(self, text: str) -> str:
        if self._context is None:
            self._context = _Context()
        return self._context.run(text)

    async def run(self, text: str) -> None:
        """Apply ``text`` as one transaction. Raises ``System`` with nft's message."""
        await self.submit(text)

    def submit(self, text: str) -> asyncio.Future[str]:
        """Queue ``text``; the change happens even when the future is cancelled."""
        return asyncio.get_running_loop().run_in_executor(self._thread, self._run, text)

    async def query(self, text: str) -> list[dict[str, Any]]:
        """Run a ``list`` command and return the objects of its JSON answer."""
        output = await self.submit(text)
        answer: dict[str, list[dict[str, Any]]] = msgspec.json.decode(output) if output else {}
        return answer.get("nftables", [])

    def close(self) -> None:
        """Finish what is queued and free the context. The rules stay."""
        self._thread.shutdown()
        if self._context is not None:
            self._context.close()
            self._context = None
