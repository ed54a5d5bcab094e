"""Questions about a Dockerfile that need no build: ``--call check``, ``outline`` and ``targets``.

An answer is a few values by name; clients read ``result.json``, whose form is BuildKit's own for
each kind of question.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from firkin import errdefs

LINT, OUTLINE, TARGETS = "frontend.lint", "frontend.outline", "frontend.targets"


def answer(name: str, found: Mapping[str, Any], filename: str, data: bytes) -> dict[str, bytes]:
    """The answer to ``name`` out of what the builder's check has found.

    Raises ``NotImplemented`` for a question that is not known.
    """
    makers = {LINT: _lint, OUTLINE: _outline, TARGETS: _targets}
    if name not in makers:
        raise errdefs.NotImplemented(f"the request {name[:80]!r} is not known to this engine")
    text = base64.b64encode(data).decode()
    sources: list[Any] = [text]
    if name == LINT:
        sources = [{"filename": filename, "language": "Dockerfile", "data": text}]
    value, text = makers[name](found, filename)
    failed = name == LINT and bool(found["warnings"])
    return {
        "result.json": json.dumps({**value, "sources": sources}).encode(),
        "result.txt": text.encode(),
        "result.statuscode": b"1" if failed else b"0",
        "version": b"1.0.0",
    }


def _lint(found: Mapping[str, Any], filename: str) -> tuple[dict[str, Any], str]:
    warnings = [
        {
            "ruleName": one["rule"],
            "description": one["description"],
            "detail": one["message"],
            "location": {
                "ranges": [{"start": {"line": one["line"]}, "end": {"line": one["line"]}}]
            },
        }
        for one in found["warnings"]
    ]
    lines = [
        f"WARNING: {one['rule']} - {filename}:{one['line']}\n{one['message']}\n"
        for one in found["warnings"]
    ]
    return {"warnings": warnings}, "\n".join(lines)


def _outline(found: Mapping[str, Any], filename: str) -> tuple[dict[str, Any], str]:
    args = [
        {"name": one["name"], "value": one["value"], "description": one["description"]}
        for one in found["args"]
    ]
    text = "".join(f"{one['name']}\t{one['value']}\t{one['description']}\n" for one in args)
    return {"args": args}, text


def _targets(found: Mapping[str, Any], filename: str) -> tuple[dict[str, Any], str]:
    targets = [
        {
            "name": "" if one["name"].startswith("(") else one["name"],
            "default": one["default"],
            "description": one["description"],
        }
        for one in found["targets"]
    ]
    return {"targets": targets}, "".join(f"{one['name']}\n" for one in targets)
