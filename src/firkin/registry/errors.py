"""Errors as the distribution-spec has them: a code, a status, a message, maybe a detail.

::

    {"errors": [{"code": "BLOB_UNKNOWN", "message": "...", "detail": ...}]}

The codes are those of the spec's table "Error Codes" and those that Docker's registry added to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from firkin import errdefs

STATUS = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DENIED": 403,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 400,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "PAGINATION_NUMBER_INVALID": 400,
    "RANGE_INVALID": 416,
    "SIZE_INVALID": 400,
    "TAG_INVALID": 400,
    "TOOMANYREQUESTS": 429,
    "UNAUTHORIZED": 401,
    "UNAVAILABLE": 503,
    "UNKNOWN": 500,
    "UNSUPPORTED": 405,
}


class Failure(errdefs.FirkinError):
    """An answer that is an error. ``status`` and ``headers`` go beyond what the code implies."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        detail: Any = None,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail
        self.status = status or STATUS[code]
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The JSON that the client gets."""
        entry: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.detail is not None:
            entry["detail"] = self.detail
        return msgspec.json.encode({"errors": [entry]})


_CODES: tuple[tuple[type[errdefs.FirkinError], str], ...] = (
    (errdefs.InvalidParameter, "UNSUPPORTED"),
    (errdefs.Unauthorized, "UNAUTHORIZED"),
    (errdefs.Forbidden, "DENIED"),
    (errdefs.NotFound, "BLOB_UNKNOWN"),
    (errdefs.Unavailable, "UNAVAILABLE"),
)


def failure(error: BaseException) -> Failure:
    """What a client is told about any error; what is our own fault stays in our log."""
    if isinstance(error, Failure):
        return error
    for kind, code in _CODES:
        if isinstance(error, kind):
            return Failure(code, str(error))
    return Failure("UNKNOWN", "the registry failed; its log tells more")
