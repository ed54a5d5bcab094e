"""Starting the processes that work for containers also while there is no engine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys


def spawn(module: str, path: str, kind: int) -> None:
    """Start ``python -m MODULE FD``, FD being a Unix socket that listens at ``path``.

    The socket is made here, so there is nothing to wait for; whoever comes later finds the process
    by it. What the process says goes to a log file beside it. Blocks; raises ``OSError``.
    """
    os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, kind) as listener:
        old = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(old)
        listener.listen(4)
        with open(os.path.splitext(path)[0] + ".log", "ab") as log_file:
            subprocess.Popen(
                [sys.executable, "-m", module, str(listener.fileno())],
                pass_fds=[listener.fileno()], start_new_session=True, cwd="/",
                stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file,
            )  # fmt: skip
