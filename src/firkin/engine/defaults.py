"""What containers get where whoever creates them says nothing: a part of daemon.json.

IPC mode, cgroup namespace and the size of /dev/shm are written into a container when it is created;
the rest is looked up each time one starts or stops, so a change reaches all of them.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from firkin import errdefs
from firkin.oci import resources, seccomp, security
from firkin.types import base, container
from firkin.volumes import local

_SHM_SIZE = 64 << 20
_IPC_MODES = ("", "private", "shareable")
_CGROUPNS_MODES = ("", "private", "host")


class Defaults(msgspec.Struct, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Keys are those of Docker's daemon.json."""

    default_cgroupns_mode: str = ""
    default_ipc_mode: str = ""
    default_shm_size: str | int = ""
    default_stop_timeout: int = 10
    default_ulimits: dict[str, dict[str, Any]] = {}
    init: bool = False
    init_path: str = ""
    no_new_privileges: bool = False
    seccomp_profile: str = ""
    cdi_spec_dirs: list[str] = []

    @property
    def shm_size(self) -> int:
        """Bytes."""
        return local.parse_size(str(self.default_shm_size)) if self.default_shm_size else _SHM_SIZE

    def ulimits(self, given: list[container.Ulimit] | None) -> list[container.Ulimit]:
        """A container's own limits, and the default ones that it has none for."""
        own = list(given or ())
        names = {limit.name for limit in own}
        return own + [limit for limit in self._ulimits() if limit.name not in names]

    def _ulimits(self) -> list[container.Ulimit]:
        return [
            base.convert(container.Ulimit, {"Name": name, **value})
            for name, value in self.default_ulimits.items()
        ]

    def seccomp(self) -> str:
        """The default profile: "builtin", "unconfined" or a profile's text.

        Blocks. Raises ``InvalidParameter`` for a file that can't be read.
        """
        profile = self.seccomp_profile or security.BUILTIN
        if profile in (security.BUILTIN, security.UNCONFINED):
            return profile
        try:
            with open(profile, encoding="utf-8") as file:
                return file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise errdefs.InvalidParameter(f"--seccomp-profile {profile}: {error}") from error

    def check(self) -> None:
        """Raises ``InvalidParameter`` for values that can't be used."""
        _one_of("--default-ipc-mode", self.default_ipc_mode, _IPC_MODES)
        _one_of("--default-cgroupns-mode", self.default_cgroupns_mode, _CGROUPNS_MODES)
        try:
            if self.shm_size < 1:
                raise errdefs.InvalidParameter(f"{self.default_shm_size}: must be more than 0")
        except errdefs.InvalidParameter as error:
            raise errdefs.InvalidParameter(f"--default-shm-size: {error}") from None
        try:
            resources.rlimits(self._ulimits())
        except errdefs.InvalidParameter as error:
            raise errdefs.InvalidParameter(f"--default-ulimit: {error}") from None
        if self.init_path and not os.access(self.init_path, os.X_OK):
            raise errdefs.InvalidParameter(
                f"--init-path {self.init_path}: not an executable file of this host"
            )
        for directory in filter(None, self.cdi_spec_dirs):
            if not directory.startswith("/"):
                raise errdefs.InvalidParameter(
                    f"--cdi-spec-dir {directory!r} must be an absolute path"
                )
        profile = self.seccomp()
        if profile not in (security.BUILTIN, security.UNCONFINED):
            try:
                seccomp.from_docker_json(
                    profile, [], os.uname().machine, seccomp.kernel_version(os.uname().release)
                )
            except errdefs.InvalidParameter as error:
                raise errdefs.InvalidParameter(
                    f"--seccomp-profile {self.seccomp_profile}: {error}"
                ) from None


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise errdefs.InvalidParameter(f"{flag} {value}: use {' or '.join(filter(None, allowed))}")


def ulimit(text: str) -> tuple[str, dict[str, Any]]:
    """A limit as ``--default-ulimit`` has it, NAME=SOFT[:HARD]. Raises ``InvalidParameter``."""
    name, _, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    try:
        return name, {"Name": name, "Soft": int(soft), "Hard": int(hard if colon else soft)}
    except ValueError:
        raise errdefs.InvalidParameter(
            f"--default-ulimit {text}: use NAME=SOFT:HARD, for example nofile=1024:4096"
        ) from None
