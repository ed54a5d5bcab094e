"""TLS contexts for registries: the system's authorities, and certs.d.

``certs.d/HOST[:PORT]/`` holds what is special about one registry, as with Docker::

    *.crt          certificates of authorities to trust beside the system's
    *.cert, *.key  a certificate of this client and its key, of the same name
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Sequence

from firkin import errdefs


@functools.cache
def _system() -> ssl.SSLContext:
    return ssl.create_default_context()


def _directory(directories: Sequence[str], host: str) -> str:
    if "/" in host or host in ("", ".", ".."):
        return ""
    for directory in directories:
        path = os.path.join(directory, host)
        if os.path.isdir(path):
            return path
    return ""


def context(directories: Sequence[str], host: str, *, insecure: bool) -> ssl.SSLContext:
    """What to connect to ``host[:port]`` with. Reads files: call it in a thread.

    Raises ``InvalidParameter`` naming the file that can't be used.
    """
    directory = _directory(directories, host)
    if not directory and not insecure:
        return _system()
    made = ssl.create_default_context()
    if insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    for name in sorted(os.listdir(directory)) if directory else ():
        path = os.path.join(directory, name)
        try:
            if name.endswith(".crt"):
                made.load_verify_locations(cafile=path)
            elif name.endswith(".cert"):
                key = path.removesuffix(".cert") + ".key"
                if not os.path.exists(key):
                    raise errdefs.InvalidParameter(
                        f"missing key {key} for the client certificate {path}: put it beside it"
                    )
                made.load_cert_chain(path, key, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            raise errdefs.InvalidParameter(
                f"cannot use {path} for TLS with {host}: {error}: it must be PEM, and readable"
            ) from error
    return made


def _no_password() -> str:
    raise OSError("the key is encrypted, which is not supported")
