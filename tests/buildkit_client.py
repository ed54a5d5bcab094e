"""A client of BuildKit's protocol, as strict as we can make it: for tests without buildx.

It opens the two doors of an engine with an HTTP/1.1 upgrade, speaks gRPC on them, and sends a
directory as ``fsutil`` asks for it: every entry announced in order, contents only on request.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import secrets
import stat
from collections.abc import Callable, Mapping
from typing import Any

import grpclib
import grpclib.client
import grpclib.protocol
import grpclib.server
from grpclib import const, exceptions

from firkin.buildkit.pb import common_pb2, control_pb2, fsutil_pb2, gateway_pb2, session_pb2

CONTROL = "/moby.buildkit.v1.Control/"
BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"
FILE_SYNC = "/moby.filesync.v1.FileSync/DiffCopy"
FILE_SEND = "/moby.filesync.v1.FileSend/DiffCopy"
SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"

Packet = fsutil_pb2.Packet


async def _upgrade(
    path: pathlib.Path, target: str, headers: Mapping[str, list[str]], protocol: asyncio.Protocol
) -> asyncio.Transport:
    """Ask for an upgrade to h2c; the connection then belongs to ``protocol``."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    lines = [f"POST {target} HTTP/1.1", "Host: engine", "Connection: Upgrade", "Upgrade: h2c"]
    lines += [f"{name}: {value}" for name, values in headers.items() for value in values]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0]
    assert status == b"HTTP/1.1 101 UPGRADED", head
    assert b"upgrade: h2c" in head.lower()
    transport: asyncio.Transport = writer.transport
    early = bytes(reader._buffer)  # type: ignore[attr-defined]
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    transport.resume_reading()
    if early:
        protocol.data_received(early)
    return transport


class Channel(grpclib.client.Channel):
    """Calls through ``POST /grpc``."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self._engine = path

    async def _create_connection(self) -> grpclib.protocol.H2Protocol:
        protocol = self._protocol_factory()
        await _upgrade(self._engine, "/grpc", {}, protocol)
        return protocol

    async def unary(self, method: str, request: Any, answer: type[Any], ref: str = "") -> Any:
        """One request, one answer."""
        call = grpclib.client.UnaryUnaryMethod(self, method, type(request), answer)
        metadata = {"buildkit-controlapi-buildid": ref} if ref else None
        return await call(request, metadata=metadata, timeout=120)

    async def stream(self, method: str, request: Any, answer: type[Any]) -> list[Any]:
        """One request, all its answers."""
        call = grpclib.client.UnaryStreamMethod(self, method, type(request), answer)
        return list(await call(request, timeout=120))


class Session:
    """What this client offers: directories by name, secrets, credentials, a place for results."""

    def __init__(
        self,
        directories: Mapping[str, pathlib.Path],
        known: Mapping[str, bytes] | None = None,
        shared_key: str = "",
    ) -> None:
        self.id = secrets.token_hex(12)
        self.shared_key = shared_key
        self._directories = directories
        self._secrets = known or {}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.sent: list[str] = []
        self.received: dict[str, bytes] = {}
        self._transport: asyncio.Transport | None = None

    def __mapping__(self) -> dict[str, const.Handler]:
        stream = const.Cardinality.STREAM_STREAM
        unary = const.Cardinality.UNARY_UNARY
        pb = session_pb2
        return {
            FILE_SYNC: const.Handler(self._files, stream, Packet, Packet),
            FILE_SEND: const.Handler(self._output, stream, common_pb2.Bytes, common_pb2.Bytes),
            SECRET: const.Handler(self._secret, unary, pb.GetSecretRequest, pb.GetSecretResponse),
            CREDENTIALS: const.Handler(
                self._credentials, unary, pb.CredentialsRequest, pb.CredentialsResponse
            ),
        }

    async def open(self, path: pathlib.Path) -> None:
        """Offer it to an engine."""
        headers = {
            "X-Docker-Expose-Session-Uuid": [self.id],
            "X-Docker-Expose-Session-Sharedkey": [self.shared_key],
            "X-Docker-Expose-Session-Grpc-Method": list(self.__mapping__()),
        }
        protocol = grpclib.server.Server([self])._protocol_factory()
        self._transport = await _upgrade(path, "/session", headers, protocol)

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()

    async def _secret(self, stream: Any) -> None:
        request = await stream.recv_message()
        if request.id not in self._secrets:
            raise exceptions.GRPCError(grpclib.Status.NOT_FOUND, f"secret {request.id} not found")
        await stream.send_message(session_pb2.GetSecretResponse(data=self._secrets[request.id]))

    async def _credentials(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(session_pb2.CredentialsResponse())

    async def _output(self, stream: Any) -> None:
        name = str(stream.metadata.get("exporter-id", ""))
        parts = []
        while (message := await stream.recv_message()) is not None:
            parts.append(message.data)
        self.received[name] = b"".join(parts)

    async def _files(self, stream: Any) -> None:
        metadata = {key: list(stream.metadata.getall(key)) for key in set(stream.metadata)}
        [name] = metadata["dir-name"]
        self.asked.append((name, metadata))
        root = self._directories[name]
        follow = metadata.get("followpaths", [])
        paths = []
        for path in _walk(root):
            relative = str(path.relative_to(root))
            if follow and relative not in follow:
                continue
            status = path.lstat()
            entry = fsutil_pb2.Stat(
                path=relative,
                mode=_go_mode(status.st_mode),
                size=status.st_size if path.is_file() and not path.is_symlink() else 0,
                mod_time=status.st_mtime_ns,
                linkname=os.readlink(path) if path.is_symlink() else "",
            )
            await stream.send_message(Packet(type=Packet.STAT, stat=entry))
            paths.append(path)
        await stream.send_message(Packet(type=Packet.STAT))
        async for packet in stream:
            if packet.type == Packet.REQ:
                path = paths[packet.id]
                self.sent.append(str(path.relative_to(root)))
                data = path.read_bytes()
                for start in range(0, len(data), 32 << 10):
                    chunk = data[start : start + (32 << 10)]
                    await stream.send_message(Packet(type=Packet.DATA, id=packet.id, data=chunk))
                await stream.send_message(Packet(type=Packet.DATA, id=packet.id))
            elif packet.type == Packet.FIN:
                await stream.send_message(Packet(type=Packet.FIN))
                return
            else:
                raise AssertionError(f"unexpected packet {packet}")


def _walk(root: pathlib.Path) -> list[pathlib.Path]:
    found = []
    for path in sorted(root.iterdir(), key=lambda one: one.name):
        found.append(path)
        if path.is_dir() and not path.is_symlink():
            found += _walk(path)
    return found


def _go_mode(mode: int) -> int:
    kinds = {stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27}
    return mode & 0o777 | kinds.get(stat.S_IFMT(mode), 0)


async def build(
    path: pathlib.Path,
    session: Session,
    options: Mapping[str, str],
    exporters: list[control_pb2.Exporter],
    *,
    on_status: Callable[[Any], None] | None = None,
) -> dict[str, str]:
    """A build as buildx does it: Solve waits while the bridge solves and returns the result."""
    ref = secrets.token_hex(12)
    channel = Channel(path)
    pb, gw = control_pb2, gateway_pb2
    await session.open(path)
    try:
        await channel.unary(
            CONTROL + "ListWorkers", pb.ListWorkersRequest(), pb.ListWorkersResponse
        )
        async with asyncio.TaskGroup() as group:
            solving = group.create_task(
                channel.unary(
                    CONTROL + "Solve",
                    pb.SolveRequest(ref=ref, session=session.id, exporters=exporters),
                    pb.SolveResponse,
                )
            )
            status = group.create_task(
                channel.stream(CONTROL + "Status", pb.StatusRequest(ref=ref), pb.StatusResponse)
            )
            pong = await channel.unary(BRIDGE + "Ping", gw.PingRequest(), gw.PongResponse, ref)
            assert {"return", "solve.base"} <= {one.id for one in pong.frontend_caps}
            asked = gw.BridgeSolveRequest(frontend="dockerfile.v0", frontend_opt=dict(options))
            try:
                solved = await channel.unary(BRIDGE + "Solve", asked, gw.BridgeSolveResponse, ref)
                back = gw.ReturnRequest(result=gw.Result(ref=solved.result.ref))
            except exceptions.GRPCError as error:
                back = gw.ReturnRequest(
                    error=common_pb2.Status(code=error.status.value, message=error.message or "")
                )
            await channel.unary(BRIDGE + "Return", back, gw.ReturnResponse, ref)
        if on_status is not None:
            for message in status.result():
                on_status(message)
        return dict(solving.result().exporter_response)
    finally:
        session.close()
        channel.close()
