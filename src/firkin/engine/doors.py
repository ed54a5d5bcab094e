"""The addresses that the API is served at, and who may come in there.

Whoever reaches the API is root on this host. So a TCP address is served with TLS, and only to
clients with a certificate of the operator's authority (``tlsverify``); to have less than that one
has to say so (``tls: false``, ``tlsverify: false``).
"""

from __future__ import annotations

from typing import NamedTuple

from firkin import errdefs

PORT = 2375
TLS_PORT = 2376


class Policy(NamedTuple):
    """What ``--tls`` and ``--tlsverify`` say; ``None`` where they say nothing."""

    tls: bool | None = None
    tlsverify: bool | None = None

    @property
    def secure(self) -> bool:
        """Whether TCP is served with TLS."""
        return bool(self.tls or self.tlsverify)

    @property
    def verify(self) -> bool:
        """Whether a client needs a certificate."""
        return bool(self.tlsverify)

    def check(self, host: str) -> None:
        """Raise ``InvalidParameter`` when TCP at ``host`` is open to more than one has said."""
        if self.verify:
            return
        if self.secure:
            if self.tlsverify is None:
                raise errdefs.InvalidParameter(
                    f"--host {host}: with --tls alone everybody who can reach it is root on this "
                    "machine: use --tlsverify and certificates for clients, or say "
                    "--tlsverify=false to have it so"
                )
        elif self.tls is None and self.tlsverify is None:
            raise errdefs.InvalidParameter(
                f"--host {host}: without TLS everybody who can reach it is root on this machine: "
                "use --tlsverify with --tlscacert, --tlscert and --tlskey, or say --tls=false to "
                "have it so"
            )


class Address(NamedTuple):
    """An address: a Unix socket's ``path``, or a TCP ``host`` and ``port``, or (fd) neither."""

    kind: str
    path: str = ""
    host: str = ""
    port: int = 0


def parse(text: str, policy: Policy) -> Address:
    """The address in ``unix:///PATH``, ``tcp://[HOST][:PORT]``, ``[HOST]:PORT`` or ``fd://``.

    Raises ``InvalidParameter`` naming it.
    """
    if text == "fd://":
        return Address("fd")
    if text.startswith("unix:///"):
        return Address("unix", path=text.removeprefix("unix://"))
    if "://" not in text and ":" in text:
        text = f"tcp://{text}"
    if text.startswith("tcp://"):
        host, port = _split(text)
        if port is None:
            port = TLS_PORT if policy.secure else PORT
        return Address("tcp", host=host, port=port)
    raise errdefs.InvalidParameter(
        f"--host {text}: use a Unix socket such as unix:///run/firkin/firkin.sock, a TCP address "
        "such as tcp://0.0.0.0:2376, or a service manager's sockets, fd://"
    )


def split_port(text: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[HOST]:PORT`` in its parts. Raises ``ValueError``."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError("a port from 0 to 65535 is missing")
    return host, int(port)


def _split(text: str) -> tuple[str, int | None]:
    rest = text.removeprefix("tcp://")
    try:
        if not rest:
            return "127.0.0.1", None
        if any(c in rest for c in "/?#@ "):
            raise ValueError("there is more than an address and a port")
        if ":" not in rest or rest.endswith("]"):
            return rest.strip("[]"), None
        return split_port(rest)
    except ValueError as error:
        raise errdefs.InvalidParameter(
            f"--host {text}: {error}: use tcp://ADDRESS:PORT, for example tcp://0.0.0.0:2376"
        ) from None
