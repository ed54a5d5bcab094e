"""Addresses of files to import."""

from __future__ import annotations

import pytest

from firkin import errdefs
from firkin.remotes import config, download, transport


@pytest.mark.parametrize(
    "url",
    ["", "there", "ftp://a/b", "http:///b", "http://a:80:80/b", "http://a:99999/b", "http://[::1/"],
)
async def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    carrier = transport.Transport(config.Settings())
    with pytest.raises(errdefs.InvalidParameter, match="cannot import from"):
        download.fetch(carrier, url)
