"""The framing of multiplexed output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firkin.wire import stdcopy

FRAMES = st.lists(st.tuples(st.sampled_from((0, 1, 2, 3)), st.binary(max_size=50)), max_size=8)


def test_a_frame_is_laid_out_as_the_api_says() -> None:
    assert stdcopy.encode(2, b"abc") == b"\x02\0\0\0\0\0\0\x03abc"


@given(FRAMES, st.integers(1, 20))
def test_any_cut_of_the_bytes_gives_the_same_payloads(
    frames: list[tuple[int, bytes]], step: int
) -> None:
    data = b"".join(stdcopy.encode(*frame) for frame in frames)
    decoder = stdcopy.Decoder()
    got: list[tuple[int, bytes]] = []
    for at in range(0, len(data), step):
        got += decoder.feed(data[at : at + step])
    assert decoder.complete
    for stream in range(4):
        ours = b"".join(payload for number, payload in got if number == stream)
        assert ours == b"".join(payload for number, payload in frames if number == stream)


def test_a_payload_is_handed_on_before_its_frame_is_complete() -> None:
    decoder = stdcopy.Decoder()
    assert list(decoder.feed(stdcopy.header(1, 1 << 31) + b"x")) == [(1, b"x")]
    assert not decoder.complete


@pytest.mark.parametrize(
    "data", [b"\x04\0\0\0\0\0\0\x01", b"\x01\0\x01\0\0\0\0\x01", b"hello world"]
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(stdcopy.FrameError):
        list(stdcopy.Decoder().feed(data))
