"""The disk of a Debian 12 with systemd as most users have it: made once by debootstrap, then kept.

Nothing of Firkin's is on it, and no Python: what Firkin needs its own scripts/setup has to install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

MIRROR = os.environ.get("FIRKIN_DEBIAN_MIRROR", "http://deb.debian.org/debian")
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "udev", "linux-image-cloud-amd64", "ca-certificates",
    "iproute2", "sudo", "procps",
)  # fmt: skip
SIZE = "8G"
_HERE = Path(__file__).parent
_LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")

_FILES = {
    # Debian makes a new initrd for each package that could be in it: minutes, here
    "etc/initramfs-tools/update-initramfs.conf": "update_initramfs=no\nbackup_initramfs=no\n",
    "etc/hostname": "firkin-vm\n",
    "etc/hosts": "127.0.0.1 localhost firkin-vm\n::1 localhost\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    # qemu's user network: the host answers as 10.0.2.2, its resolver as 10.0.2.3
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/systemd/network/10-wire.network": "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n",
    "etc/systemd/system/vm-agent.service": (
        "[Unit]\nAfter=network-online.target\nWants=network-online.target\n"
        "[Service]\nExecStart=/usr/local/sbin/vm-agent\nKillMode=process\nOOMScoreAdjust=-1000\n"
        "[Install]\nWantedBy=multi-user.target\n"
    ),
}


class Image:
    """``disk`` (raw ext4), ``kernel`` and ``initrd`` below a directory."""

    def __init__(self, directory: Path) -> None:
        self.disk = directory / "debian.ext4"
        self.kernel = directory / "vmlinuz"
        self.initrd = directory / "initrd"
        self._recipe = directory / "recipe"

    def make(self) -> None:
        """Make what is missing or was made by another recipe."""
        recipe = Path(__file__).read_text() + (_HERE / "agent.sh").read_text() + _apt_settings()
        if self._recipe.exists() and self._recipe.read_text() == recipe:
            return
        self._recipe.unlink(missing_ok=True)
        self.disk.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.disk.parent) as work:
            root = Path(work, "root")
            _debootstrap(root, Path(work, "log"))
            _configure(root)
            for target, pattern in ((self.kernel, "vmlinuz-*"), (self.initrd, "initrd.img-*")):
                shutil.copy(next((root / "boot").glob(pattern)), target)
            self.disk.unlink(missing_ok=True)
            _run("mkfs.ext4", "-q", "-d", root, self.disk, SIZE)
        self._recipe.write_text(recipe)


def _run(*words: str | Path) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]} failed: {done.stderr.decode(errors='replace')[-2000:]}")


def _debootstrap(root: Path, log: Path) -> None:
    words = ("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm",
             root, MIRROR)  # fmt: skip
    with log.open("wb") as file:
        code = subprocess.run(words, stdout=file, stderr=file, check=False).returncode
    if code:
        tail = log.read_text(errors="replace")[-2000:]
        raise SystemExit(f"debootstrap from {MIRROR} failed: is the mirror in reach?\n{tail}")


def _configure(root: Path) -> None:
    for name, text in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "etc/apt/apt.conf.d/90host").write_text(_apt_settings())
    agent = root / "usr/local/sbin/vm-agent"
    shutil.copy(_HERE / "agent.sh", agent)
    agent.chmod(0o755)
    if _LOCAL_AUTHORITIES.is_dir():
        shutil.copytree(_LOCAL_AUTHORITIES, root / "usr/local/share/ca-certificates",
                        dirs_exist_ok=True)  # fmt: skip
    for words in (("update-ca-certificates",), ("passwd", "-d", "root"),
                  ("systemctl", "enable", "systemd-networkd", "vm-agent")):  # fmt: skip
        _run("chroot", root, *words)


def _apt_settings() -> str:
    """How this host's apt reaches its mirrors: proxies, and what it leaves out."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    wanted = ("Acquire::http::Proxy ", "Acquire::https::Proxy ", "Acquire::Check-",
              "Acquire::Languages ")  # fmt: skip
    return "".join(f"{line}\n" for line in dump.stdout.splitlines() if line.startswith(wanted))
