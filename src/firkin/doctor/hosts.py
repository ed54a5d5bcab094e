"""The host as the checks see it: files, programs, libraries, and commands that may be tried.

Tests put one in its place whose answers they choose.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 15.0

_INSTALL = (
    (("debian", "ubuntu"), "apt-get install -y {}"),
    (("fedora", "rhel", "centos"), "dnf install -y {}"),
    (("arch",), "pacman -S --needed {}"),
    (("alpine",), "apk add {}"),
    (("suse", "opensuse"), "zypper install -y {}"),
)
"""How a package is installed, by the ID or ID_LIKE of os-release(5)."""


class Host:
    """This host."""

    data_root = "/var/lib/firkin"

    def is_root(self) -> bool:
        """Whether this process may do everything."""
        return os.geteuid() == 0

    def system(self) -> str:
        """The kernel's name, "Linux" where containers are possible."""
        return platform.system()

    def kernel(self) -> str:
        """The kernel's release, as ``uname -r`` prints it."""
        return platform.release()

    def read(self, path: str) -> str:
        """A file's text; "" when it can't be read."""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        """Whether there is such a path."""
        return os.path.exists(path)

    def program(self, *names: str) -> str:
        """The path of the first of these programs that is installed; "" for none."""
        path = os.environ.get("PATH", "") + ":" + _PATH
        return next((found for name in names if (found := shutil.which(name, path=path))), "")

    def library(self, name: str) -> bool:
        """Whether the shared library of that file name can be loaded."""
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
        return True

    def python_module(self, name: str) -> bool:
        """Whether the interpreter that runs Firkin has the module."""
        return importlib.util.find_spec(name) is not None

    def free_space(self, path: str) -> int:
        """Bytes that root can still write where ``path`` is, or would be."""
        status = os.statvfs(existing(path))
        return status.f_bavail * status.f_frsize

    def succeeds(self, *words: str) -> bool | None:
        """Whether a command ends well; ``None`` when it can't be tried."""
        program = self.program(words[0])
        if not program:
            return None
        try:
            done = subprocess.run(
                [program, *words[1:]], stdin=subprocess.DEVNULL, capture_output=True,
                timeout=_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.returncode == 0

    def output(self, *words: str) -> str:
        """What a command prints; "" when it can't be run or fails."""
        program = self.program(words[0])
        if not program:
            return ""
        try:
            done = subprocess.run(
                [program, *words[1:]], stdin=subprocess.DEVNULL, capture_output=True,
                timeout=_SECONDS, check=False, text=True, errors="replace",
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout if done.returncode == 0 else ""

    def install(self, packages: dict[str, str]) -> str:
        """The command that installs a package, whose name may differ between distributions.

        ``packages`` has the name under "" and, where it is another one, under a distribution's ID.
        """
        fields = dict(
            line.split("=", 1) for line in self.read("/etc/os-release").splitlines() if "=" in line
        )
        like = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
        for families, command in _INSTALL:
            for family in like:
                if any(family.startswith(name) for name in families):
                    chosen = next((packages[name] for name in families if name in packages), "")
                    return command.format(chosen or packages[""])
        return f"install the package {packages['']} of your distribution"


def existing(path: str) -> str:
    """The nearest directory above ``path`` that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
