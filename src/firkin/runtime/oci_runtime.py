"""The command line of an OCI runtime (crun, runc, or any program that takes the same commands)."""

from __future__ import annotations

import os
import shutil
import tempfile

import msgspec

from firkin import errdefs
from firkin.linux import process, sealed
from firkin.runtime import errors


class OCIRuntime:
    """A runtime program and the directory that holds its state."""

    def __init__(self, name: str, path: str, root: str, args: tuple[str, ...] = ()) -> None:
        self.name = name
        self.path = path
        self.program = sealed.Program(path)
        self.root = root
        self._says: str | None = None
        self.global_args = ("--root", root, *args)
        os.makedirs(root, mode=0o700, exist_ok=True)

    async def _call(self, *args: str) -> process.Result:
        return await process.run([self.program.own(), *self.global_args, *args])

    async def _is(self, *names: str) -> bool:
        """Whether the program is one of these, as it says itself."""
        if self._says is None:
            self._says = (await self.version()).partition(" ")[0]
        return self._says in names

    async def start(self, container_id: str, command: str) -> None:
        """Run a created container's process. Raises as ``Runtime.start`` says."""
        if await self._is("crun") and self._open_gate(container_id):
            return
        result = await self._call("start", container_id)
        if result.code != 0:
            raise errors.from_runtime(self.name, result.stderr.decode(errors="replace"), command)

    def exec_command(self, container_id: str, process_file: str, pid_file: str) -> list[str]:
        """The command that runs a further process in the foreground."""
        return [
            self.program.own(), *self.global_args, "exec", "--process", process_file,
            "--pid-file", pid_file, container_id,
        ]  # fmt: skip

    def _open_gate(self, container_id: str) -> bool:
        """Do what ``crun start`` does, without another process; whether that could be done.

        The created process waits at the reading end of a FIFO. Its state is "created" as long as
        the FIFO is there, and one byte lets it go.
        """
        fifo = os.path.join(self.root, container_id, "exec.fifo")
        try:
            fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            os.unlink(fifo)
            os.write(fd, b"\0")
        except BrokenPipeError:
            pass  # killed while it waited: its monitor will tell
        finally:
            os.close(fd)
        return True

    async def forget(self, container_id: str) -> bool:
        """Remove the state of a container that has ended, group apart; whether that could be done.

        For crun and runc that is a directory; what another runtime keeps only it can know.
        """
        if not await self._is("crun", "runc"):
            return False
        shutil.rmtree(os.path.join(self.root, container_id), ignore_errors=True)
        return True

    async def pause(self, container_id: str) -> None:
        """Freeze the container."""
        await self._checked("pause", container_id)

    async def resume(self, container_id: str) -> None:
        """Thaw the container."""
        await self._checked("resume", container_id)

    async def update(self, container_id: str, resources: dict[str, object]) -> None:
        """Change limits. Raises ``System``."""
        with tempfile.NamedTemporaryFile(dir=self.root, prefix=".update-") as file:
            file.write(msgspec.json.encode(resources))
            file.flush()
            await self._checked("update", "--resources", file.name, container_id)

    async def kill_all(self, container_id: str) -> None:
        """SIGKILL to every process; not an error when there is none."""
        await self._call("kill", "--all", container_id, "KILL")

    async def delete(self, container_id: str) -> None:
        """Remove state and cgroups. Raises ``System`` when the runtime can't."""
        if not os.path.exists(os.path.join(self.root, container_id)):
            return
        result = await self._call("delete", "--force", container_id)
        if result.code != 0 and os.path.exists(os.path.join(self.root, container_id)):
            raise errdefs.System(
                f"{self.name} could not delete container {container_id[:12]}: "
                f"{process.complaint(result)}"
            )

    async def version(self) -> str:
        """The first line of ``--version``; "" when the program does not answer."""
        try:
            result = await process.run([self.path, "--version"], timeout=10)
        except errdefs.System:
            return ""
        return result.stdout.decode(errors="replace").partition("\n")[0].strip()

    async def _checked(self, verb: str, *args: str) -> None:
        """Call with the container's id as the last of ``args``."""
        result = await self._call(verb, *args)
        if result.code != 0:
            raise errdefs.System(
                f"{self.name} could not {verb} container {args[-1][:12]}: "
                f"{process.complaint(result)}"
            )
