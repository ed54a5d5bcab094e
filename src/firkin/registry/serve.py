"""The server's processes: sockets, workers, signals.

The parent binds the sockets, starts the workers and starts anew those that end by themselves. Each
worker accepts connections from the same sockets, so a busy one takes fewer. On SIGTERM and SIGINT
the workers stop accepting, finish the requests that are under way, and everything ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import ssl
import sys
import time
from types import FrameType

import uvloop
from prometheus_client import multiprocess

from firkin import errdefs
from firkin.registry import accesslog, app, config, core, jobs, proxy
from firkin.registry.access import passwords

log = logging.getLogger(__name__)

BACKLOG = 1024
GRACE = 20.0
"""Seconds that requests have to end when the server does."""

_libc = ctypes.CDLL(None, use_errno=True)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_QUICK = 1.0  # a worker that lives shorter than this is started anew only after a pause


def bind(listen: str) -> list[socket.socket]:
    """Listening sockets of ``HOST:PORT[,HOST:PORT]``; ``InvalidParameter`` says which can't be."""
    sockets = []
    for address in listen.split(","):
        host, colon, port = address.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise errdefs.InvalidParameter(f"cannot listen on {address!r}: expected HOST:PORT")
        try:
            found = socket.getaddrinfo(
                host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, _, _, _, place in dict.fromkeys(found):
                sock = socket.socket(family, socket.SOCK_STREAM)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(place)
                sock.listen(BACKLOG)
                sock.setblocking(False)
                sockets.append(sock)
        except OSError as error:
            why = error.strerror or error
            raise errdefs.InvalidParameter(f"cannot listen on {address}: {why}") from error
    return sockets


def tls_context(settings: config.TLS) -> ssl.SSLContext | None:
    """The TLS context that the configuration asks for."""
    if not settings.certificate and not settings.key:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certificate, settings.key or None)
    except (OSError, ssl.SSLError) as error:
        raise errdefs.InvalidParameter(
            f"cannot use certificate {settings.certificate} with key {settings.key}: {error}"
        ) from error
    return context


def _read_again(context: ssl.SSLContext | None, settings: config.TLS) -> None:
    """Use the certificate that is in the files now; a wrong one is reported, and not used."""
    if context is not None:
        try:
            context.load_cert_chain(settings.certificate, settings.key or None)
        except (OSError, ssl.SSLError) as error:
            log.error("the certificate is not read again: %s", error)


def _jobs_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the registry's own jobs failed: this worker starts anew", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


async def _work(sockets: list[socket.socket], settings: config.Config, place: int) -> None:
    """One worker, until it gets a signal. The first one does the registry's own jobs."""
    registry = core.Registry(settings)
    lines = accesslog.AccessLog(settings.access_log)
    cache = proxy.Proxy(registry) if settings.proxy.upstream else None
    application = app.App(registry, lines, cache)
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    context = tls_context(settings.tls)
    loop.add_signal_handler(signal.SIGHUP, _read_again, context, settings.tls)
    servers = [
        await loop.create_server(application.protocol, sock=sock, ssl=context, backlog=BACKLOG)
        for sock in sockets
    ]
    background = loop.create_task(jobs.run(registry), name="jobs") if place == 0 else None
    if background is not None:
        background.add_done_callback(_jobs_ended)
    await over.wait()
    if background is not None:
        background.cancel()
        await asyncio.wait([background])
    for server in servers:
        server.close()
    application.server.pre_shutdown()  # connections that wait for nothing
    await application.server.shutdown(GRACE)
    if cache is not None:
        await cache.close()
    lines.close()
    registry.close()


def _worker(sockets: list[socket.socket], settings: config.Config, place: int, parent: int) -> None:
    """The body of a worker process; never returns."""
    status = 1
    try:
        _die_with(parent)
        # Threads share two heaps: each would keep the buffers of its own busiest moment.
        _libc.mallopt(-8, 2)  # M_ARENA_MAX
        uvloop.run(_work(sockets, settings, place))
        status = 0
    except errdefs.FirkinError as error:
        log.error("%s", error)
    except KeyboardInterrupt:
        status = 0
    except BaseException:
        log.exception("a worker failed")
    finally:
        logging.shutdown()
        os._exit(status)


def _die_with(parent: int) -> None:
    """Get SIGTERM when the parent is killed, so that no worker is left behind."""
    _libc.prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def serve(settings: config.Config) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    tls_context(settings.tls)
    sockets = bind(settings.listen)
    if settings.auth.mode == "htpasswd":
        passwords.Htpasswd(settings.auth.htpasswd)  # fails here, rather than in every worker
    if settings.s3.bucket:
        from firkin.registry.storage import s3

        bucket = s3.S3Storage(settings.s3)
        bucket.check()
        bucket.drop_parts()
    core.Registry(settings).close()  # migrates the index once, and fails here if it must
    parent = os.getpid()
    workers: dict[int, tuple[int, float]] = {}
    ending = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ending
        ending = True
        for pid in list(workers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def pass_on(number: int, frame: FrameType | None) -> None:
        for pid in list(workers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def start(place: int) -> None:
        sys.stdout.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            if ending:
                return
            pid = os.fork()
            if not pid:
                for number in _SIGNALS:
                    signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
                _worker(sockets, settings, place, parent)
            workers[pid] = (place, time.monotonic())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGHUP, pass_on)
    for place in range(settings.worker_count()):
        start(place)
    where = ", ".join("{}:{}".format(*sock.getsockname()[:2]) for sock in sockets)
    log.info("firkin registry listens on %s, data in %s", where, settings.data)
    while workers:
        pid, code = os.wait()
        place, started = workers.pop(pid)
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
        if not ending:
            log.error("a worker ended with status %s; it is started anew", code)
            if time.monotonic() - started < _QUICK:
                time.sleep(_QUICK)
            start(place)
    return 0
