"""Results of builds as definitions, so that a client can give one build's result to another.

Clients pass on what they got without looking into it: to them it is a definition in low-level build
language. Ours is a single source whose identifier names the result.
"""

from __future__ import annotations

import hashlib

from google.protobuf import message

from firkin import errdefs
from firkin.buildkit.pb import common_pb2

_SCHEME = "firkin-result://"


def encode(identity: str) -> common_pb2.Definition:
    """The definition of a result by its id."""
    op = common_pb2.Op(source=common_pb2.SourceOp(identifier=_SCHEME + identity))
    source = op.SerializeToString(deterministic=True)
    digest = f"sha256:{hashlib.sha256(source).hexdigest()}"
    last = common_pb2.Op(inputs=[common_pb2.Input(digest=digest)])
    return common_pb2.Definition(
        ops=[source, last.SerializeToString(deterministic=True)],
        metadata={digest: common_pb2.OpMetadata()},  # without any, clients take it for none
    )


def decode(definition: common_pb2.Definition) -> list[common_pb2.Op]:
    """What a definition does. Raises ``InvalidParameter``."""
    try:
        return [common_pb2.Op.FromString(data) for data in definition.ops]
    except message.DecodeError as error:
        raise errdefs.InvalidParameter(f"a definition can't be read: {error}") from error


def identity(definition: common_pb2.Definition) -> str:
    """The id of the result that a definition is; "" when it is none of ours."""
    for op in decode(definition):
        if op.source.identifier.startswith(_SCHEME):
            return op.source.identifier.removeprefix(_SCHEME)
    return ""
