"""Archives for and from the archive API, by Python's own tarfile."""

from __future__ import annotations

import base64
import http.client
import io
import json
import tarfile
from typing import Any

import rig
import unixhttp


def entry(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member; ``fields`` are those of TarInfo."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def archive(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    """The members as a tar, compressed as ``mode`` says."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def put(
    engine: rig.Engine, container: str, path: str, data: bytes, more: str = ""
) -> tuple[int, Any]:
    """PutContainerArchive."""
    target = f"/v1.44/containers/{container}/archive?path={path}{more}"
    return unixhttp.ask(engine.socket, "PUT", target, data)


def _request(
    engine: rig.Engine, method: str, target: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = unixhttp.Connection(engine.socket)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def get(
    engine: rig.Engine, container: str, path: str
) -> tuple[int, dict[str, Any], dict[str, tarfile.TarInfo], dict[str, bytes]]:
    """ContainerArchive: status, what the header says, the members, the files' contents."""
    answer, body = _request(engine, "GET", f"/v1.44/containers/{container}/archive?path={path}")
    if answer.status != 200:
        return answer.status, json.loads(body), {}, {}
    members, contents = unpack(body)
    return answer.status, stat_of(answer), members, contents


def unpack(body: bytes) -> tuple[dict[str, tarfile.TarInfo], dict[str, bytes]]:
    """The members of a tar and the contents of its files."""
    members: dict[str, tarfile.TarInfo] = {}
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        for member in tar:
            members[member.name] = member
            if member.isreg() and (file := tar.extractfile(member)) is not None:
                contents[member.name] = file.read()
    return members, contents


def stat_of(answer: http.client.HTTPResponse) -> dict[str, Any]:
    """The header that tells what a path is, decoded."""
    text = answer.getheader("X-Docker-Container-Path-Stat") or ""
    found: dict[str, Any] = json.loads(base64.b64decode(text))
    return found


def head(engine: rig.Engine, container: str, path: str) -> tuple[int, dict[str, Any]]:
    """ContainerArchiveInfo."""
    answer, body = _request(engine, "HEAD", f"/v1.44/containers/{container}/archive?path={path}")
    assert body == b""
    return answer.status, stat_of(answer) if answer.status == 200 else {}
