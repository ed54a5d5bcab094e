"""Blobs in a bucket of an S3-compatible object storage.

::

    PREFIX/sha256/ab/abcd...    complete blobs; likewise sha512

An object appears only when its upload is complete, which is what makes ``put`` atomic; blobs of
more than :data:`PART` bytes go up in parts. Parts of uploads that were cut are dropped at the next
start. The storage checks each request's bytes on arrival (the library sends checksums), and the
size of the whole is compared before the blob counts as stored.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
from boto3.s3.transfer import TransferConfig

from firkin import errdefs
from firkin.registry import config, names
from firkin.registry.storage import storage

PART = 16 << 20
"""Bytes of one part; a blob may have 10,000 of them."""

_MISSING = {"404", "NoSuchKey", "NotFound"}
_MOST_PARTS = 9000


@functools.cache
def _session() -> boto3.session.Session:
    """It reads the descriptions of the service once, which takes a while."""
    return boto3.session.Session()


class _Reader:
    """An object's bytes as they arrive."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int = -1, /) -> bytes:
        try:
            data: bytes = self._body.read(None if size < 0 else size)
        except Exception as error:  # the library lets those of several HTTP layers through
            raise errdefs.Unavailable(f"the object storage broke off: {error}") from error
        return data

    def close(self) -> None:
        self._body.close()


class S3Storage:
    """A :class:`firkin.registry.storage.storage.Storage` in a bucket, which has to exist."""

    def __init__(self, settings: config.S3) -> None:
        self._bucket = settings.bucket
        self._prefix = f"{settings.prefix.strip('/')}/" if settings.prefix.strip("/") else ""
        options = botocore.config.Config(
            connect_timeout=settings.timeout,
            read_timeout=settings.timeout,
            retries={"max_attempts": settings.attempts, "mode": "standard"},
            max_pool_connections=64,
            s3={"addressing_style": "path" if settings.endpoint else "auto"},
        )
        with self._told("use"):
            self._client: Any = _session().client(
                "s3",
                endpoint_url=settings.endpoint or None,
                region_name=settings.region or None,
                aws_access_key_id=settings.access_key or None,
                aws_secret_access_key=settings.secret_key or None,
                config=options,
            )

    def key(self, digest: str) -> str:
        """The name of a blob's object."""
        algorithm, _, digits = names.digest(digest).partition(":")
        return f"{self._prefix}{algorithm}/{digits[:2]}/{digits}"

    def put(self, digest: str, file: str, size: int) -> None:
        part = max(PART, -(-size // _MOST_PARTS))
        transfer = TransferConfig(
            multipart_threshold=part, multipart_chunksize=part, max_concurrency=4
        )
        with self._told(f"store {digest} in"):
            self._client.upload_file(file, self._bucket, self.key(digest), Config=transfer)
        found = self.stat(digest).size
        if found != size:
            self.delete(digest)
            raise errdefs.Unavailable(
                f"the object storage kept {found} of the {size} bytes of {digest}: try again"
            )
        os.unlink(file)

    def open(self, digest: str, offset: int = 0, length: int = -1) -> storage.Reader:
        wanted: dict[str, str] = {}
        if length == 0:
            return io.BytesIO()  # no range can ask for no bytes
        if offset or length > 0:
            end = str(offset + length - 1) if length > 0 else ""
            wanted["Range"] = f"bytes={offset}-{end}"
        with self._told(f"read {digest} from", digest):
            answer = self._client.get_object(Bucket=self._bucket, Key=self.key(digest), **wanted)
        return _Reader(answer["Body"])

    def stat(self, digest: str) -> storage.Info:
        with self._told(f"look for {digest} in", digest):
            found = self._client.head_object(Bucket=self._bucket, Key=self.key(digest))
        return storage.Info(digest, found["ContentLength"], found["LastModified"].timestamp())

    def delete(self, digest: str) -> bool:
        try:
            self.stat(digest)
        except errdefs.NotFound:
            return False
        with self._told(f"delete {digest} from"):
            self._client.delete_object(Bucket=self._bucket, Key=self.key(digest))
        return True

    def walk(self) -> Iterator[storage.Info]:
        with self._told("list"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    parts = entry["Key"].removeprefix(self._prefix).split("/")
                    digest = f"{parts[0]}:{parts[-1]}"
                    if names.is_digest(digest):
                        modified = entry["LastModified"].timestamp()
                        yield storage.Info(digest, entry["Size"], modified)

    def url(self, digest: str, seconds: int) -> str:
        with self._told(f"sign a link to {digest} in"):
            made: str = self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": self.key(digest)},
                ExpiresIn=seconds,
            )
        return made

    def check(self) -> None:
        with self._told("reach"):
            self._client.head_bucket(Bucket=self._bucket)

    def drop_parts(self) -> int:
        """Drop the parts of uploads that were cut; nobody else may be writing. Returns how many."""
        count = 0
        with self._told("clear"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            for page in pages:
                for entry in page.get("Uploads", ()):
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=entry["Key"], UploadId=entry["UploadId"]
                    )
                    count += 1
        return count

    @contextlib.contextmanager
    def _told(self, what: str, digest: str = "") -> Iterator[None]:
        try:
            yield
        except botocore.exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if digest and code in _MISSING:
                raise errdefs.NotFound(f"the storage does not have {digest}") from None
            raise errdefs.Unavailable(f"cannot {what} bucket {self._bucket}: {error}") from error
        except (botocore.exceptions.BotoCoreError, boto3.exceptions.Boto3Error, OSError,
                ValueError) as error:  # fmt: skip
            raise errdefs.Unavailable(f"cannot {what} bucket {self._bucket}: {error}") from error
