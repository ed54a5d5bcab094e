"""Containers under conmon: one monitor per container, and one per exec.

conmon runs the OCI runtime's ``create`` itself, so that the container's streams are its own from
the beginning, then holds them, writes the log and in the end leaves the exit code in a file. It is
started as our child but in a session of its own, with nothing that ties it to us: when the engine
ends it goes on, and a new engine finds it by pid and start time.

In a bundle's directory conmon makes: ``attach`` (socket), ``ctl`` (FIFO), ``pidfile`` and, at the
end, ``exit``; ``oom`` when the kernel killed for lack of memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import termios

import msgspec

from firkin import errdefs
from firkin.linux import failures, pidfd
from firkin.runtime import errors, oci_runtime, runtime
from firkin.wire import conmon as protocol

_CREATE_TIMEOUT = 60.0
_ORDER_PAUSE, _ORDER_TRIES = 0.001, 200  # seconds; a stopped monitor is not waited for
_PROCESS = "process.json"


def _spawn(argv: list[str], pipes: dict[str, int], others: tuple[int, ...], cwd: str) -> int:
    """Start conmon with inherited pipe ends named in its environment; returns its pid."""
    env = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "TZ": "UTC"}
    env.update({name: str(fd) for name, fd in pipes.items()})
    child = subprocess.Popen(
        argv,
        pass_fds=(*pipes.values(), *others),
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    child.returncode = 0  # reaped through its pidfd, or by init after us: never by subprocess
    return child.pid


class _Lines:
    """Lines from a pipe, read without blocking the loop."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)
        self._buffer = b""
        self._eof = False
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        self._buffer += data
        if not data:
            self._eof = True
            asyncio.get_running_loop().remove_reader(self._fd)
        self._changed.set()

    async def next(self) -> bytes:
        """The next line without its newline; empty at the end."""
        while b"\n" not in self._buffer and not self._eof:
            self._changed.clear()
            await self._changed.wait()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._eof = True
            self._changed.set()


class Conmon:
    """A :class:`firkin.runtime.runtime.Runtime` made of conmon and an OCI runtime."""

    def __init__(self, oci: oci_runtime.OCIRuntime, *, conmon: str, systemd_cgroup: bool) -> None:
        self.name = oci.name
        self.path = oci.path
        self.root = oci.root
        self._oci = oci
        self._conmon = conmon
        self._systemd = systemd_cgroup
        self._commands: dict[str, str] = {}

    def _argv(self, cid: str, path: str, *more: str) -> tuple[list[str], tuple[int, ...]]:
        """A monitor's command, and the descriptors that it has to inherit."""
        program, inherited = self._oci.program.inherited()
        argv = [
            self._conmon, "--api-version=1", "--sync", "--full-attach", "--no-sync-log",
            "--cid", cid, "--cuuid", cid, "--runtime", program,
            "--bundle", path, "--container-pidfile", os.path.join(path, "pidfile"),
            "--log-level", "error", *more,
        ]  # fmt: skip
        for arg in self._oci.global_args:
            argv += ["--runtime-arg", arg]
        if self._systemd:
            argv.append("--systemd-cgroup")
        return argv, inherited

    def run_argv(self, container_id: str, bundle: str) -> list[str]:
        """The command that creates a container, runs it to its end and exits with its status.

        Nothing monitors it: for steps of builds, which end with the engine.
        """
        systemd = ["--systemd-cgroup"] if self._systemd else []
        return [
            self._oci.program.own(),
            *self._oci.global_args,
            *systemd,
            "run",
            "--bundle",
            bundle,
            container_id,
        ]

    async def create(self, bundle: runtime.Bundle) -> runtime.Monitored:
        """See ``Runtime.create``."""
        argv, inherited = self._argv(bundle.id, bundle.path, "--persist-dir", bundle.path)
        argv += ["--log-path", f"k8s-file:{bundle.log_path}" if bundle.log_path else "none"]
        if bundle.log_limit:
            argv += ["--log-size-max", str(bundle.log_limit)]
        if bundle.terminal:
            argv.append("--terminal")
        if bundle.stdin:
            argv.append("--stdin")
            if bundle.terminal or not bundle.stdin_once:
                argv.append("--leave-stdin-open")
        for name in ("exit", "oom"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(bundle.path, name))
        command = _command_of(bundle.path)
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        lines = _Lines(read_end)
        monitor = 0
        try:
            try:
                pipes = {"_OCI_SYNCPIPE": write_end}
                monitor = await _in_thread(_spawn, argv, pipes, inherited, bundle.path)
            except OSError as error:
                raise errdefs.System(f"cannot run {self._conmon}: {error}") from error
            finally:
                os.close(write_end)
            monitor_started = pidfd.start_time(monitor)
            sync = await self._report(lines, command, "create the container")
        except BaseException:
            if monitor:
                _end(monitor)
            raise
        finally:
            lines.close()
        self._commands[bundle.id] = command
        return runtime.Monitored(
            pid=sync.data,
            pid_started=pidfd.start_time(sync.data),
            monitor=monitor,
            monitor_started=monitor_started,
        )

    async def _report(self, lines: _Lines, command: str, what: str) -> protocol.Sync:
        try:
            line = await asyncio.wait_for(lines.next(), _CREATE_TIMEOUT)
        except TimeoutError as error:
            raise errdefs.System(
                f"{self._oci.name} did not {what} within {_CREATE_TIMEOUT:g} s"
            ) from error
        if not line:
            raise errdefs.System(f"conmon ended without a report when asked to {what}")
        sync = protocol.parse_sync(line)
        if sync.data <= 0:
            raise errors.from_runtime(self._oci.name, sync.message, command)
        return sync

    async def start(self, container_id: str) -> None:
        """See ``Runtime.start``."""
        await self._oci.start(container_id, self._commands.pop(container_id, ""))

    async def exec(self, bundle: runtime.ExecBundle) -> ConmonExec:
        """See ``Runtime.exec``."""
        os.makedirs(bundle.path, mode=0o700)
        argv, inherited = self._argv(
            bundle.container, bundle.path, "--exec", "--exec-attach",
            "--exec-process-spec", os.path.join(bundle.path, _PROCESS), "--log-path", "none",
        )  # fmt: skip
        if bundle.terminal:
            argv.append("--terminal")
        if bundle.stdin:
            argv.append("--stdin")
        return await ConmonExec.begin(self, argv, inherited, bundle.path)

    def exec_command(self, container_id: str, process_file: str, pid_file: str) -> list[str]:
        """See ``Runtime.exec_command``."""
        return self._oci.exec_command(container_id, process_file, pid_file)

    async def pause(self, container_id: str) -> None:
        """See ``Runtime.pause``."""
        await self._oci.pause(container_id)

    async def resume(self, container_id: str) -> None:
        """See ``Runtime.resume``."""
        await self._oci.resume(container_id)

    async def update(self, container_id: str, resources: dict[str, object]) -> None:
        """See ``Runtime.update``."""
        await self._oci.update(container_id, resources)

    async def kill_all(self, container_id: str) -> None:
        """See ``Runtime.kill_all``."""
        await self._oci.kill_all(container_id)

    async def delete(self, container_id: str, *, ended: bool = False) -> None:
        """See ``Runtime.delete``."""
        self._commands.pop(container_id, None)
        if ended and not self._systemd and await self._oci.forget(container_id):
            return
        await self._oci.delete(container_id)

    async def version(self) -> str:
        """What the OCI runtime says its version is."""
        return await self._oci.version()


class ConmonExec:
    """An :class:`firkin.runtime.runtime.Exec` under a conmon of its own."""

    def __init__(self, owner: Conmon, path: str, lines: _Lines, gate: int) -> None:
        self._owner = owner
        self._path = path
        self._lines = lines
        self._gate = gate
        self._monitor = 0
        self._ran = False

    @classmethod
    async def begin(
        cls, owner: Conmon, argv: list[str], inherited: tuple[int, ...], path: str
    ) -> ConmonExec:
        """Start the monitor and wait until its attach socket is there."""
        sync_read, sync_write = os.pipe2(os.O_CLOEXEC)
        ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
        gate_read, gate_write = os.pipe2(os.O_CLOEXEC)
        ready = _Lines(ready_read)
        self = cls(owner, path, _Lines(sync_read), gate_write)
        try:
            pipes = {
                "_OCI_SYNCPIPE": sync_write,
                "_OCI_ATTACHPIPE": ready_write,
                "_OCI_STARTPIPE": gate_read,
            }
            try:
                self._monitor = await _in_thread(_spawn, argv, pipes, inherited, path)
            except OSError as error:
                raise errdefs.System(f"cannot run conmon: {error}") from error
            finally:
                for fd in pipes.values():
                    os.close(fd)
            os.write(self._gate, b"1")  # conmon itself waits for this before it does anything
            if not await asyncio.wait_for(ready.next(), _CREATE_TIMEOUT):
                raise errdefs.System("conmon ended before the exec was ready")
        except BaseException:
            await self.close()
            raise
        finally:
            ready.close()
        return self

    @property
    def socket_path(self) -> str:
        """See ``Exec.socket_path``."""
        return os.path.join(self._path, "attach")

    async def go(self, process: dict[str, object]) -> int:
        """See ``Exec.go``."""
        # Not before: without this file the runtime runs nothing, whoever opens the gate.
        with (
            failures.told("run the command"),
            open(os.path.join(self._path, _PROCESS), "wb") as file,
        ):
            file.write(msgspec.json.encode(process))
        os.write(self._gate, b"1")
        args = process.get("args")
        command = str(args[0]) if isinstance(args, list) and args else ""
        sync = await self._owner._report(self._lines, command, "run the command")
        self._ran = True
        return sync.data

    async def wait(self) -> int:
        """See ``Exec.wait``. -1 when the monitor was killed."""
        line = await self._lines.next()
        return protocol.parse_sync(line).data if line else -1

    async def close(self) -> None:
        """See ``Exec.close``."""
        self._lines.close()
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
        if self._monitor:
            if self._ran:
                _reap_later(self._monitor)
            else:
                _end(self._monitor)
            self._monitor = 0
        shutil.rmtree(self._path, ignore_errors=True)


def exit_of(path: str) -> runtime.Exit | None:
    """The exit that a container's monitor left in its bundle directory; ``None`` before that."""
    try:
        with open(os.path.join(path, "exit"), encoding="ascii") as file:
            code = int(file.read())
    except FileNotFoundError:
        return None
    except ValueError:
        return runtime.Exit(code=255, known=False)
    return runtime.Exit(code=code, oom_killed=os.path.exists(os.path.join(path, "oom")))


async def resize(path: str, rows: int, columns: int) -> None:
    """Give the terminal of the process monitored in ``path`` a size in characters.

    Returns when the monitor has taken the order, so that what is typed after that finds the size.
    Raises ``OSError`` when its monitor is gone.
    """
    fd = _control(path, protocol.resize_line(rows, columns))
    try:
        for _ in range(_ORDER_TRIES):
            if not int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4), sys.byteorder):
                break
            await asyncio.sleep(_ORDER_PAUSE)
    finally:
        os.close(fd)


def _control(path: str, line: bytes) -> int:
    """Give the monitor an order; the descriptor that it went through."""
    fd = os.open(os.path.join(path, "ctl"), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(fd, line)
    except BaseException:
        os.close(fd)
        raise
    return fd


def reopen_log(path: str) -> None:
    """Have the monitor in ``path`` make its log file anew. Raises ``OSError`` when it is gone."""
    os.close(_control(path, protocol.REOPEN_LINE))


async def _in_thread(function: object, *args: object) -> int:
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)  # type: ignore[arg-type]


def _command_of(path: str) -> str:
    with open(os.path.join(path, "config.json"), "rb") as file:
        spec = msgspec.json.decode(file.read())
    args = spec.get("process", {}).get("args") or [""]
    return str(args[0])


def _end(pid: int) -> None:
    """Kill a monitor that is of no use, and collect it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _reap_later(pid)


def _reap_later(pid: int) -> None:
    """Collect the child ``pid`` when it ends, without waiting for it here."""
    fd = pidfd.open_process(pid)
    if fd is None:
        return
    loop = asyncio.get_running_loop()

    def ready() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        pidfd.reap(pid)

    loop.add_reader(fd, ready)
