"""What may still be stored: claims, and what becomes of them."""

from __future__ import annotations

import pytest

from firkin import errdefs
from firkin.images import room


def test_no_grant_is_no_limit() -> None:
    found = room.Room()
    found.check()
    found.claim().take(1 << 60)


def test_claims_share_what_was_granted() -> None:
    found = room.Room()
    found.grant(100, "the quota")
    one, two = found.claim(), found.claim()
    one.take(60)
    two.take(30)
    with pytest.raises(errdefs.InsufficientStorage, match="the quota"):
        two.take(11)
    two.take(10)
    with pytest.raises(errdefs.InsufficientStorage):
        found.check()
    one.end(kept=False)
    one.end(kept=True)  # it has ended already
    found.keep(60)
    two.end(kept=True)
    with pytest.raises(errdefs.InsufficientStorage):
        found.keep(1)
    found.grant(1)
    found.keep(1)
    found.grant(None)
    found.keep(1 << 60)
