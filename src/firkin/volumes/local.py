"""The ``local`` driver: volumes are directories below the engine's data root."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping

from firkin import errdefs


class Local:
    """Volumes at ``ROOT/NAME/_data``."""

    name = "local"
    exclusive = True

    def __init__(self, root: str) -> None:
        self._root = root
        os.makedirs(root, mode=0o711, exist_ok=True)

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """See ``Driver.create``."""
        if unknown := sorted(set(options) - {"type", "o", "device"}):
            raise errdefs.InvalidParameter(
                f"create {name}: the local driver has no option {unknown[0]!r}: use type, o, device"
            )
        if options:
            names = ", ".join(sorted(options))
            raise errdefs.NotImplemented(
                f"volume {name}: the local driver's options ({names}) are not supported by this "
                "version: create the volume without --opt"
            )
        os.makedirs(os.path.join(self._root, name), mode=0o701, exist_ok=True)
        try:
            os.mkdir(self.path(name), mode=0o755)
        except FileExistsError:
            pass

    def mount(self, name: str, options: Mapping[str, str]) -> str:
        """See ``Driver.mount``."""
        self.create(name, options)
        return self.path(name)

    def unmount(self, name: str) -> None:
        """See ``Driver.unmount``: a directory needs nothing undone."""

    def path(self, name: str) -> str:
        """See ``Driver.path``."""
        return os.path.join(self._root, name, "_data")

    def remove(self, name: str) -> None:
        """See ``Driver.remove``. The volume vanishes at once by rename, then its files go."""
        grave = os.path.join(self._root, f".removed-{secrets.token_hex(8)}")
        try:
            os.rename(os.path.join(self._root, name), grave)
        except FileNotFoundError:
            return
        shutil.rmtree(grave, ignore_errors=True)

    def list(self) -> list[str]:
        """See ``Driver.list``; also finishes removals that were cut short."""
        names = []
        for entry in os.scandir(self._root):
            if entry.name.startswith("."):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.is_dir(follow_symlinks=False):
                names.append(entry.name)
        return names
