"""DeviceRequests: CDI names, and GPUs by number or id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firkin import errdefs
from firkin.oci import cdi
from firkin.types import container

GPU = [["gpu"]]


def request(**fields: object) -> container.DeviceRequest:
    return container.DeviceRequest(**{"capabilities": GPU, **fields})  # type: ignore[arg-type]


@pytest.fixture
def nvidia(tmp_path: Path) -> list[str]:
    """Where eleven GPUs of NVIDIA are described, as its toolkit does it."""
    names = [*map(str, range(11)), "GPU-0a1b", "all"]
    value = {"kind": "nvidia.com/gpu", "devices": [{"name": name} for name in names]}
    (tmp_path / "nvidia.json").write_text(json.dumps(value))
    return [str(tmp_path)]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (request(count=-1), ["all"]),
        (request(count=3), ["0", "1", "2"]),
        (request(count=11), [*map(str, range(11))]),
        (request(driver="nvidia", count=1), ["0"]),
        (request(device_ids=["10", "GPU-0a1b"]), ["10", "GPU-0a1b"]),
        (request(driver="cdi", device_ids=["nvidia.com/gpu=4"], capabilities=None), ["4"]),
        (request(count=-1, capabilities=[["utility"], ["compute", "gpu"]]), ["all"]),
    ],
)
def test_what_is_meant(nvidia: list[str], asked: container.DeviceRequest, names: list[str]) -> None:
    assert [one.name for one in cdi.Known(nvidia).requested([asked])] == [
        f"nvidia.com/gpu={n}" for n in names
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (request(count=12), "12 were asked for, and nvidia.com/gpu has 11"),
        (request(device_ids=["99"]), "unresolvable CDI devices nvidia.com/gpu=99"),
        (request(driver="amd", count=1), 'could not select device driver "amd"'),
        (request(driver="tpu", count=1), 'could not select device driver "tpu"'),
        (request(count=1, capabilities=[["tpu"]]), r"with capabilities: \[\[tpu\]\]"),
    ],
)
def test_what_is_not_there(nvidia: list[str], asked: container.DeviceRequest, said: str) -> None:
    with pytest.raises(errdefs.FirkinError, match=said):
        cdi.Known(nvidia).requested([asked])
