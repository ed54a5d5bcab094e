"""Compiled system call filters, kept between starts.

crun takes a ready program in an annotation beside the seccomp section it was made from; a runtime
that does not know the annotation compiles the section itself, so the effect is the same.
"""

from __future__ import annotations

import base64
import functools
import logging
from typing import Any

import msgspec

from firkin.linux import seccomp

log = logging.getLogger(__name__)

_ANNOTATION = "run.oci.seccomp_bpf_data"


@functools.lru_cache(maxsize=32)
def _compiled(section: bytes) -> str:
    """The program for a section in base64; "" when only the runtime can make it."""
    try:
        program = seccomp.compile_filter(msgspec.json.decode(section))
    except seccomp.Unsupported:
        return ""
    except OSError as error:
        log.warning("seccomp filters are compiled at each start: %s", error)
        return ""
    return base64.b64encode(program).decode()


def attach(document: dict[str, Any]) -> None:
    """Put the compiled filter into a runtime-spec document that has a seccomp section. Blocks the
    first time for each section."""
    section = document["linux"].get("seccomp")
    if section and (program := _compiled(msgspec.json.encode(section))):
        document.setdefault("annotations", {})[_ANNOTATION] = program
