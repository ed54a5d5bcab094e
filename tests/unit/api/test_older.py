"""Answers in the forms of earlier versions of the API."""

from __future__ import annotations

from typing import Any

import pytest

from firkin.api import older, versions


def _image() -> dict[str, Any]:
    config = {"Cmd": ["sh"], "Volumes": {"/v": {}}}
    return {"Id": "sha256:1", "Config": config, "Size": 5, "RepoTags": [], "RepoDigests": []}


def _container() -> dict[str, Any]:
    endpoint = {"Aliases": ["web"]}
    return {
        "Id": "0123456789abcdef",
        "HostConfig": {"KernelMemoryTCP": 0},
        "Config": {"OnBuild": None},
        "NetworkSettings": {"Networks": {"net": endpoint, "bridge": {"Aliases": None}}},
    }


def test_an_image_has_its_own_config_alone_since_1_52() -> None:
    assert older.image(_image(), (1, 52)) == _image()
    shown = older.image(_image(), (1, 51))
    assert shown["Config"]["Env"] is None
    assert "Hostname" not in shown["Config"]
    assert (shown["Parent"], shown["DockerVersion"]) == ("", "")


def test_an_image_of_1_44_has_the_config_of_a_container() -> None:
    assert older.image(_image(), (1, 49))["Config"]["Hostname"] == ""
    assert "ContainerConfig" not in older.image(_image(), (1, 45))
    shown = older.image(_image(), (1, 44))
    assert shown["ContainerConfig"]["Volumes"] == {"/v": {}}
    assert "VirtualSize" not in shown
    shown = older.image(_image(), (1, 43))
    assert (shown["VirtualSize"], shown["Created"]) == (5, "0001-01-01T00:00:00Z")


def test_nameless_images_had_names_until_1_42() -> None:
    assert older.images([_image()], (1, 43))[0]["RepoTags"] == []
    shown = older.images([_image()], (1, 42))[0]
    assert (shown["RepoTags"], shown["RepoDigests"]) == (["<none>:<none>"], ["<none>@<none>"])


def test_a_container_had_its_short_id_as_an_alias_until_1_44() -> None:
    networks = older.container(_container(), (1, 45))["NetworkSettings"]["Networks"]
    assert networks["net"]["Aliases"] == ["web"]
    networks = older.container(_container(), (1, 44))["NetworkSettings"]["Networks"]
    assert networks["net"]["Aliases"] == ["web", "0123456789ab"]
    assert networks["bridge"]["Aliases"] is None


def test_members_of_a_container_that_were_taken_away() -> None:
    shown = older.container(_container(), (1, 52))
    assert "OnBuild" not in shown["Config"]
    assert shown["HostConfig"] == {}
    shown = older.container(_container(), (1, 41))
    assert shown["Config"] == {"OnBuild": None}
    assert shown["HostConfig"] == {"KernelMemory": 0, "KernelMemoryTCP": 0}


def test_members_of_the_information_that_were_taken_away() -> None:
    def asked(version: tuple[int, int]) -> dict[str, Any]:
        commits = {f"{name}Commit": {"ID": "x"} for name in ("Containerd", "Runc", "Init")}
        return older.info({"RegistryConfig": {}, **commits}, version)

    assert asked((1, 50)).keys() == asked((1, 56)).keys()
    assert asked((1, 49))["BridgeNfIptables"] is False
    assert asked((1, 49))["RuncCommit"] == {"ID": "x"}
    assert asked((1, 48))["RuncCommit"] == {"ID": "x", "Expected": "x"}
    assert "AllowNondistributableArtifactsCIDRs" in asked((1, 48))["RegistryConfig"]


def test_disk_usage_in_its_three_forms() -> None:
    def asked(version: tuple[int, int], *, verbose: bool = False) -> dict[str, Any]:
        items = [_image()]
        section = {"TotalCount": 1, "Items": items}
        records = [{"ID": "r", "Parents": ["p"]}]
        given = {"LayersSize": 5, "Images": items, "BuildCache": records, "ImageUsage": section}
        return older.disk_usage(given, version, verbose=verbose)

    assert set(asked((1, 51))) == {"LayersSize", "Images", "BuildCache"}
    assert set(asked((1, 52))) == {"LayersSize", "Images", "BuildCache", "ImageUsage"}
    assert asked((1, 52))["ImageUsage"] == {"TotalCount": 1}
    assert asked((1, 52), verbose=True) == {"ImageUsage": {"TotalCount": 1, "Items": [_image()]}}
    assert asked((1, 41))["BuildCache"][0]["Parent"] == "p"
    assert asked((1, 41))["BuilderSize"] == 0


@pytest.mark.parametrize(
    ("agent", "version"),
    [("docker-compose/1.29.2 Linux/6.1", (1, 41)), ("compose/v2.30", (1, 56)), ("", (1, 56))],
)
def test_what_a_client_understands(agent: str, version: tuple[int, int]) -> None:
    assert versions.meant((1, 56), agent) == version
