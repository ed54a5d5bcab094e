"""Answers as earlier versions of the API have them.

Handlers make the newest form; the functions here turn it, in place, into what a client of an
earlier version reads. What a version added stays, since clients skip members that they don't know;
what a version took away, or gave another meaning, comes back. The rules are those of the public
version history of the Engine API.
"""

from __future__ import annotations

from typing import Any

Version = tuple[int, int]
Object = dict[str, Any]

_OF_CONTAINERS: Object = {
    "Hostname": "", "Domainname": "", "AttachStdin": False, "AttachStdout": False,
    "AttachStderr": False, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Image": "",
}  # fmt: skip
"""Members that only a container's config can set, which images showed empty before 1.50."""

_OF_IMAGES: Object = {
    "User": "", "Env": None, "Cmd": None, "Volumes": None, "WorkingDir": "", "Entrypoint": None,
    "OnBuild": None, "Labels": None,
}  # fmt: skip
"""Members of an image's config that were shown without a value before 1.52."""

_OF_BUILDERS: Object = {"Parent": "", "Comment": "", "DockerVersion": "", "Author": ""}
_NO_TIME = "0001-01-01T00:00:00Z"


def image(shown: Object, version: Version) -> Object:
    """ImageInspect."""
    if version < (1, 52):
        for key, nothing in _OF_BUILDERS.items():
            shown.setdefault(key, nothing)
        shown["Config"] = {**_OF_IMAGES, **shown["Config"]}
    if version < (1, 50):
        shown["Config"] = {**_OF_CONTAINERS, **shown["Config"]}
    if version < (1, 45):
        shown["Container"] = ""
        shown["ContainerConfig"] = dict(shown["Config"])
    if version < (1, 44):
        shown["VirtualSize"] = shown["Size"]
        shown.setdefault("Created", _NO_TIME)
    return shown


def images(shown: list[Object], version: Version) -> list[Object]:
    """ImageList, and the images of SystemDataUsage."""
    for item in shown:
        if version < (1, 44):
            item["VirtualSize"] = item["Size"]
        if version < (1, 43):
            item["RepoTags"] = item["RepoTags"] or ["<none>:<none>"]
            item["RepoDigests"] = item["RepoDigests"] or ["<none>@<none>"]
    return shown


def container(shown: Object, version: Version) -> Object:
    """ContainerInspect."""
    host, config = shown["HostConfig"], shown["Config"]
    kernel_tcp = host.pop("KernelMemoryTCP", 0)
    if version >= (1, 52) and not config["OnBuild"]:
        config.pop("OnBuild")
    if version < (1, 52) and kernel_tcp:
        host["KernelMemoryTCP"] = kernel_tcp
    if version < (1, 45):
        for name, endpoint in shown["NetworkSettings"]["Networks"].items():
            if name not in ("bridge", "host", "none"):
                endpoint["Aliases"] = [*(endpoint["Aliases"] or ()), shown["Id"][:12]]
    if version < (1, 42):
        host |= {"KernelMemory": 0, "KernelMemoryTCP": kernel_tcp}
    return shown


def info(shown: Object, version: Version) -> Object:
    """SystemInfo."""
    if version < (1, 50):
        shown |= {"BridgeNfIptables": False, "BridgeNfIp6tables": False}
    if version < (1, 49):
        shown["RegistryConfig"] |= {
            "AllowNondistributableArtifactsCIDRs": None,
            "AllowNondistributableArtifactsHostnames": None,
        }
        for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
            shown[name]["Expected"] = shown[name]["ID"]
    return shown


_FLAT = ("LayersSize", "Images", "Containers", "Volumes", "BuildCache")


def disk_usage(shown: Object, version: Version, *, verbose: bool) -> Object:
    """SystemDataUsage: sections since 1.52, of which the objects are shown if ``verbose``; members
    that are lists of objects until then. Later versions need not have these, but scripts that ask
    in the newest version read them; they are left out if ``verbose``."""
    flat = {key: shown.pop(key) for key in _FLAT if key in shown}
    sections = {key: shown.pop(key) for key in list(shown) if key.endswith("Usage")}
    if version >= (1, 52):
        if verbose:
            return {**sections, **shown}
        for section in sections.values():
            section.pop("Items")
        return {**flat, **sections, **shown}
    if "Images" in flat:
        images(flat["Images"], version)
    if version < (1, 42):
        flat["BuilderSize"] = 0
        for record in flat.get("BuildCache", ()):
            record["Parent"] = (record["Parents"] or [""])[0]
    return {**flat, **shown}
