"""Access control lists, in both forms."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from firkin.wire import acl

TEXT = "user::rw-,user:1234:rw-:1234,group::r--,group:7:--x:7,mask::rwx,other::---"


def test_there_and_back() -> None:
    data = acl.from_text(TEXT)
    assert data[:12] == struct.pack("<IHHI", 2, 1, 6, 0xFFFFFFFF)
    assert acl.to_text(data).decode() == TEXT


@pytest.mark.parametrize("text", ["", "user:rw-", "user:root:rw-", "mask:5:rw-", "user::rwz", "x"])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError):
        acl.from_text(text)


@given(some.binary(max_size=64))
def test_any_attribute(data: bytes) -> None:
    acl.to_text(data)
