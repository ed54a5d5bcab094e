"""Bodies whose names are spelled as their senders like: Go does not mind, so they have come to."""

from __future__ import annotations

import json

from firkin.types import base, container


def decode(value: object) -> container.CreateRequest:
    return base.decode(container.CreateRequest, json.dumps(value))


def test_members_at_any_depth() -> None:
    found = decode({
        "image": "x",
        "hostconfig": {
            "portbindings": {"80/tcp": [{"hostip": "::1", "HOSTPORT": "8"}]},
            "mounts": [{"type": "volume", "volumeoptions": {"nocopy": True}}],
        },
    })  # fmt: skip
    bindings = found.host_config.port_bindings
    assert found.image == "x"
    assert bindings == {"80/tcp": [container.PortBinding(host_ip="::1", host_port="8")]}
    (mount,) = found.host_config.mounts or []
    assert mount.volume_options is not None and mount.volume_options.no_copy


def test_the_right_name_wins() -> None:
    assert decode({"image": "no", "Image": "yes"}).image == "yes"
    assert decode({"Image": "yes", "IMAGE": "no"}).image == "yes"


def test_keys_of_maps_are_not_names() -> None:
    labels = {"image": "a", "Image": "b", "IMAGE": "c"}
    assert decode({"Labels": labels}).labels == labels
