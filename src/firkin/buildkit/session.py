"""Sessions: what we ask of a client while we build for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import grpclib
from google.protobuf import message
from grpclib import client, const, exceptions

from firkin import errdefs
from firkin.buildkit import transport
from firkin.buildkit.pb import common_pb2, fsutil_pb2, session_pb2

_ID = "X-Docker-Expose-Session-Uuid"
_SHARED_KEY = "X-Docker-Expose-Session-Sharedkey"
_METHOD = "X-Docker-Expose-Session-Grpc-Method"

FILE_SYNC = "/moby.filesync.v1.FileSync/DiffCopy"
FILE_SEND = "/moby.filesync.v1.FileSend/DiffCopy"
PULL_UPLOAD = "/moby.upload.v1.Upload/Pull"
READ_CONTENT = "/containerd.services.content.v1.Content/Read"
WRITE_CONTENT = "/containerd.services.content.v1.Content/Write"
CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
CHECK_AGENT = "/moby.sshforward.v1.SSH/CheckAgent"
FORWARD_AGENT = "/moby.sshforward.v1.SSH/ForwardAgent"

_PATIENCE = 10.0
"""Seconds to wait for a session that a client has announced, and for each of its short answers."""

Q = TypeVar("Q", bound=message.Message)
A = TypeVar("A", bound=message.Message)
Metadata = Sequence[tuple[str, str]]


class Headers(Protocol):
    """Headers of a request, of which one may be there several times."""

    def get(self, name: str, default: str, /) -> str: ...

    def getall(self, name: str, default: list[str], /) -> list[str]: ...


class Credentials(NamedTuple):
    """What a client has for a registry; both "" when it has nothing."""

    username: str
    secret: str


class Session:
    """One client's session, as long as its connection lasts.

    All calls raise ``Unavailable`` when the client is gone or does not answer in time.
    """

    def __init__(self, identity: str, shared_key: str, methods: Sequence[str]) -> None:
        self.id = identity
        self.shared_key = shared_key
        self._methods = {method.lower() for method in methods}
        self.channel = transport.Channel()

    def offers(self, method: str) -> bool:
        """Whether the client has that method, one of this module's constants."""
        return method.lower() in self._methods

    async def secret(self, identity: str) -> bytes | None:
        """A secret's bytes; ``None`` when the client has none of that id."""
        if not self.offers(SECRET):
            return None
        request = session_pb2.GetSecretRequest(id=identity)
        try:
            answer = await self._call(SECRET, request, session_pb2.GetSecretResponse)
        except errdefs.NotFound:
            return None
        return bytes(answer.data)

    async def credentials(self, host: str) -> Credentials:
        """What the client's configuration has for a registry host."""
        if not self.offers(CREDENTIALS):
            return Credentials("", "")
        request = session_pb2.CredentialsRequest(host=host)
        answer = await self._call(CREDENTIALS, request, session_pb2.CredentialsResponse)
        return Credentials(answer.username, answer.secret)

    async def has_agent(self, identity: str) -> bool:
        """Whether the client forwards an ssh agent of that id."""
        if not self.offers(CHECK_AGENT):
            return False
        try:
            await self._call(
                CHECK_AGENT,
                session_pb2.CheckAgentRequest(id=identity),
                session_pb2.CheckAgentResponse,
            )
        except errdefs.FirkinError:
            return False
        return True

    async def _call(self, method: str, request: Q, answer: type[A]) -> A:
        call = client.UnaryUnaryMethod[Q, A](self.channel, method, type(request), answer)
        with _told(method):
            return await call(request, timeout=_PATIENCE)

    @contextlib.asynccontextmanager
    async def agent(
        self, identity: str
    ) -> AsyncIterator[client.Stream[common_pb2.Bytes, common_pb2.Bytes]]:
        """One conversation with the client's ssh agent of that id."""
        async with self._stream(
            FORWARD_AGENT, common_pb2.Bytes, {"buildkit.ssh.id": [identity]}
        ) as stream:
            yield stream

    @contextlib.asynccontextmanager
    async def files(
        self, name: str, options: Mapping[str, Sequence[str]]
    ) -> AsyncIterator[client.Stream[fsutil_pb2.Packet, fsutil_pb2.Packet]]:
        """The client's directory ``name`` ("context", "dockerfile", ...), as packets.

        ``options`` are "include-patterns", "exclude-patterns" and "followpaths".
        """
        if not self.offers(FILE_SYNC):
            raise errdefs.InvalidParameter(f"the client sends no files: {name} can't be read")
        async with self._stream(
            FILE_SYNC, fsutil_pb2.Packet, {"dir-name": [name], **options}
        ) as stream:
            yield stream

    @contextlib.asynccontextmanager
    async def output(
        self, kind: type[Q], metadata: Mapping[str, Sequence[str]]
    ) -> AsyncIterator[client.Stream[Q, Q]]:
        """Where the client wants the build's result: packets for a tree, bytes for a file."""
        if not self.offers(FILE_SEND):
            raise errdefs.InvalidParameter("the client takes no files as the result of a build")
        async with self._stream(FILE_SEND, kind, metadata) as stream:
            yield stream

    async def stream(
        self, method: str, request: Q, answer: type[A], metadata: Mapping[str, Sequence[str]]
    ) -> AsyncIterator[A]:
        """The answers to one request of a method that streams them."""
        with _told(method):
            stream = self.channel.request(
                method, const.Cardinality.UNARY_STREAM, type(request), answer,
                metadata=_pairs(metadata),
            )  # fmt: skip
            async with stream:
                await stream.send_message(request, end=True)
                while (message := await stream.recv_message()) is not None:
                    yield message

    @contextlib.asynccontextmanager
    async def conversation(
        self, method: str, asked: type[Q], answer: type[A], metadata: Mapping[str, Sequence[str]]
    ) -> AsyncIterator[client.Stream[Q, A]]:
        """A method that streams both ways. Raises what gRPC does, as it is."""
        stream = self.channel.request(
            method, const.Cardinality.STREAM_STREAM, asked, answer, metadata=_pairs(metadata)
        )
        async with stream:
            yield stream

    @contextlib.asynccontextmanager
    async def _stream(
        self, method: str, kind: type[Q], metadata: Mapping[str, Sequence[str]]
    ) -> AsyncIterator[client.Stream[Q, Q]]:
        pairs = _pairs(metadata)
        with _told(method):
            stream = self.channel.request(
                method, const.Cardinality.STREAM_STREAM, kind, kind, metadata=pairs
            )
            async with stream:
                yield stream


def _pairs(metadata: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    pairs = [(key, value) for key, values in metadata.items() for value in _encoded(values)]
    return pairs + [(f"{key}-encoded", "1") for key, values in metadata.items() if _strange(values)]


def _strange(values: Sequence[str]) -> bool:
    return any(not value.isprintable() or not value.isascii() for value in values)


def _encoded(values: Sequence[str]) -> Sequence[str]:
    """Values as gRPC metadata may have them: URL-encoded when any is not plain ASCII."""
    if not _strange(values):
        return values
    import urllib.parse

    return [urllib.parse.quote_plus(value) for value in values]


@contextlib.contextmanager
def _told(method: str) -> Iterator[None]:
    """Turn what goes wrong in a call into our errors."""
    try:
        yield
    except exceptions.GRPCError as error:
        text = error.message or error.status.name
        if error.status is grpclib.Status.NOT_FOUND:
            raise errdefs.NotFound(text) from error
        if error.status in (grpclib.Status.UNIMPLEMENTED, grpclib.Status.INVALID_ARGUMENT):
            raise errdefs.InvalidParameter(text) from error
        raise errdefs.Unavailable(f"the client failed at {method}: {text}") from error
    except (exceptions.StreamTerminatedError, ConnectionError) as error:
        raise errdefs.Unavailable(f"the client went away during {method}") from error
    except TimeoutError as error:
        raise errdefs.Unavailable(f"the client did not answer {method} in time") from error


class Sessions:
    """All sessions of an engine, by id. ``patience``: seconds to wait for one that is announced."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._sessions: dict[str, Session] = {}
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def announced(self, headers: Headers) -> AsyncIterator[Session]:
        """The session that a request's headers announce, known while inside of this.

        Raises ``InvalidParameter`` for a request without an id, ``Conflict`` for one in use.
        """
        identity = headers.get(_ID, "")
        if not identity:
            raise errdefs.InvalidParameter(f"no session: the header {_ID} is missing")
        if identity in self._sessions:
            raise errdefs.Conflict(f"session {identity} is open already")
        methods = [one for text in headers.getall(_METHOD, []) for one in text.split(",")]
        session = Session(identity, headers.get(_SHARED_KEY, ""), methods)
        self._sessions[identity] = session
        async with self._changed:
            self._changed.notify_all()
        try:
            yield session
        finally:
            del self._sessions[identity]
            session.channel.close()

    async def get(self, identity: str) -> Session:
        """The session of that id, which may be about to be opened.

        Raises ``InvalidParameter`` when there is none after a while.
        """
        identity = identity.rpartition(":")[2]

        def there() -> bool:
            return identity in self._sessions

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(there), self._patience)
            except TimeoutError:
                raise errdefs.InvalidParameter(f"no active session for {identity}") from None
        return self._sessions[identity]
