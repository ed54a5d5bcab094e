"""A client's OCI layouts and caches: ``containerd.services.content.v1.Content`` on its session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpclib
from grpclib import exceptions

from firkin import errdefs
from firkin.buildkit import session as sessions
from firkin.buildkit.pb import content_pb2
from firkin.types import image as types

_CHUNK = 1 << 20
_STORE = "buildkit-attachable-store-id"


class Content:
    """A :class:`firkin.builder.blobs.Place`: the store of that id, "oci:ID" or "local:PATH"."""

    def __init__(self, session: sessions.Session, store: str) -> None:
        self._session = session
        self._metadata = {_STORE: [store]}
        self._store = store

    async def read(self, descriptor: types.Descriptor) -> AsyncIterator[bytes]:
        """See ``Blobs.read``."""
        request = content_pb2.ReadContentRequest(digest=descriptor.digest)
        answers = self._session.stream(
            sessions.READ_CONTENT, request, content_pb2.ReadContentResponse, self._metadata
        )
        async for answer in answers:
            yield answer.data

    async def write(self, item: types.Descriptor, pieces: AsyncIterator[bytes]) -> None:
        """See ``Place.write``."""
        pb = content_pb2

        def message(action: pb.WriteAction, offset: int = 0, data: bytes = b"") -> Any:
            return pb.WriteContentRequest(
                action=action, ref=f"firkin-{item.digest}", total=item.size, expected=item.digest,
                offset=offset, data=data,
            )  # fmt: skip

        try:
            async with self._session.conversation(
                sessions.WRITE_CONTENT,
                pb.WriteContentRequest,
                pb.WriteContentResponse,
                self._metadata,
            ) as stream:
                offset = 0
                await stream.send_message(message(pb.STAT))
                answer = await stream.recv_message()
                async for piece in pieces:
                    for at in range(0, len(piece), _CHUNK):
                        data = piece[at : at + _CHUNK]
                        await stream.send_message(message(pb.WRITE, offset, data))
                        answer = await stream.recv_message()
                        offset += len(data)
                await stream.send_message(message(pb.COMMIT, offset), end=True)
                answer = await stream.recv_message()
                if answer is None or answer.digest not in ("", item.digest):
                    raise errdefs.Unavailable(f"the client did not keep the blob {item.digest}")
        except exceptions.GRPCError as error:
            if error.status is not grpclib.Status.ALREADY_EXISTS:
                raise errdefs.Unavailable(
                    f"the client can't write to {self._store}: {error.message}"
                ) from error
