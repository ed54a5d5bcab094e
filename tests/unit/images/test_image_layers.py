from firkin.images import layers, platforms, unpack, views
from firkin.types import image as types


def test_chain_ids() -> None:
    first, second = "sha256:" + "0" * 64, "sha256:" + "1" * 64
    chain = layers.chain_ids([first, second])
    assert chain[0] == first
    assert chain[1] == ("sha256:f94b891e05f6e37c90d87edfd5bb98a02d618a437c35f3a94b3b00e48e894631")
    assert layers.chain_ids([first, second, first])[:2] == chain
    assert layers.chain_ids([]) == []


def test_sniff() -> None:
    heads = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh9": "bzip2", b"{}": ""}
    for head, kind in heads.items():
        assert unpack.sniff(head + b"rest") == kind


def test_times() -> None:
    assert views.seconds("2024-01-01T00:00:00.123456789Z") == 1704067200.123456
    assert views.seconds("2024-01-01T01:00:00+01:00") == 1704067200
    assert views.seconds("") == views.seconds("yesterday") == 0
    assert views.rfc3339(1704067200.5) == "2024-01-01T00:00:00.500000000Z"


def test_the_hosts_platform_is_chosen() -> None:
    here = platforms.host()

    def item(digest: str, architecture: str) -> types.Descriptor:
        platform = types.Platform(os="linux", architecture=architecture, variant=here.variant)
        return types.Descriptor(digest=digest, size=0, platform=platform)

    items = [item("a", "s390x"), item("b", here.architecture), item("c", here.architecture)]
    assert [found.digest for found in platforms.choose(items)] == ["b"]
    assert platforms.choose(items[:1]) == []
