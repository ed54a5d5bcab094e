"""Statements about a build: how it was made (SLSA provenance) and what is in it (SPDX).

Both are in-toto statements (https://in-toto.io/Statement/v0.1) about the image's manifest. Values
of build arguments are in the provenance with mode=max only; secrets never are. The list of packages
comes from the databases that Debian's and Alpine's package managers keep in the file system.
"""

from __future__ import annotations

import datetime
import os
import re
from typing import Any

import firkin
from firkin.builder import graph, request, select
from firkin.linux import regular
from firkin.types import image as types

_STATEMENT = "https://in-toto.io/Statement/v0.1"
_PROVENANCE = "https://slsa.dev/provenance/v0.2"
_SPDX = "https://spdx.dev/Document"
_LIMIT = 64 << 20


def _subject(image: types.Image, names: list[str], platform: str) -> list[dict[str, Any]]:
    digest = {"sha256": image.manifest.removeprefix("sha256:")}
    return [
        {"name": f"pkg:docker/{name}?platform={platform}", "digest": digest}
        for name in names or [image.manifest]
    ]


def provenance(
    wanted: request.Request, image: types.Image, names: list[str], platform: str,
    vertices: list[graph.Vertex], base: types.Image | None, *, full: bool, begun: float,
    ended: float,
) -> dict[str, Any]:  # fmt: skip
    """The provenance statement. ``full`` is mode=max: with steps and build arguments."""
    materials = []
    if base is not None:
        name = next((vertex.op.name for vertex in vertices if isinstance(vertex.op, graph.Image)),
                    base.id)  # fmt: skip
        materials.append({
            "uri": f"pkg:docker/{name}?platform={platform}",
            "digest": {"sha256": base.manifest.removeprefix("sha256:")},
        })  # fmt: skip
    parameters: dict[str, Any] = {"frontend": "dockerfile.v0"}
    if full:
        parameters["args"] = {f"build-arg:{name}": value for name, value in wanted.args.items()}
        parameters["args"].update({f"label:{n}": v for n, v in wanted.labels.items()})
    else:
        parameters["args"] = {}
    if wanted.target:
        parameters["args"]["target"] = wanted.target
    times: dict[str, Any] = {}
    if wanted.epoch is None:
        times = {"buildStartedOn": _time(begun), "buildFinishedOn": _time(ended)}
    predicate: dict[str, Any] = {
        "builder": {"id": ""},
        "buildType": "https://mobyproject.org/buildkit@v1",
        "invocation": {
            "configSource": {"entryPoint": wanted.filename},
            "parameters": parameters,
            "environment": {"platform": platform},
        },
        "materials": materials,
        "metadata": {
            **times,
            "completeness": {"parameters": full, "environment": True, "materials": False},
            "reproducible": False,
            "https://mobyproject.org/buildkit@v1#metadata": {},
        },
    }
    if full:
        predicate["buildConfig"] = {
            "llbDefinition": [{"id": f"step{at}", "name": one.name}
                              for at, one in enumerate(vertices)]
        }  # fmt: skip
    return {
        "_type": _STATEMENT, "predicateType": _PROVENANCE,
        "subject": _subject(image, names, platform), "predicate": predicate,
    }  # fmt: skip


def sbom(
    root: str, image: types.Image, names: list[str], platform: str, moment: float
) -> dict[str, Any]:
    """The SPDX statement of the file system at ``root``. Blocks."""
    packages = [
        {
            "name": name, "SPDXID": f"SPDXRef-{kind}-{_safe(name)}-{_safe(version)}",
            "versionInfo": version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                "referenceLocator": f"pkg:{kind}/{name}@{version}",
            }],
        }
        for kind, name, version in sorted(set(_packages(root)))
    ]  # fmt: skip
    return {
        "_type": _STATEMENT, "predicateType": _SPDX,
        "subject": _subject(image, names, platform),
        "predicate": {
            "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
            "name": names[0] if names else image.id,
            "documentNamespace": f"https://firkin.invalid/spdx/{image.manifest[7:]}",
            "creationInfo": {
                "created": _time(moment), "creators": [f"Tool: firkin-{firkin.__version__}"],
            },
            "packages": packages,
        },
    }  # fmt: skip


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", text)


def _read(root: str, path: str) -> str:
    try:
        return regular.read(root, path, _LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""


def _packages(root: str) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    texts = [_read(root, "var/lib/dpkg/status")]
    for name in _names(root, "var/lib/dpkg/status.d"):
        texts.append(_read(root, f"var/lib/dpkg/status.d/{name}"))
    for text in texts:
        for block in text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n")
                          if ": " in line and not line.startswith(" "))  # fmt: skip
            if "installed" in fields.get("Status", "installed") and "Package" in fields:
                found.append(("deb", fields["Package"], fields.get("Version", "")))
    for block in _read(root, "lib/apk/db/installed").split("\n\n"):
        fields = dict(line.split(":", 1) for line in block.split("\n") if ":" in line)
        if "P" in fields:
            found.append(("apk", fields["P"], fields.get("V", "")))
    for base in ("usr/lib/python3/dist-packages", "usr/local/lib"):
        found += _python(root, base)
    return found


def _names(root: str, path: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(root, select.resolve(root, path))))
    except OSError:
        return []


def _python(root: str, base: str) -> list[tuple[str, str, str]]:
    places = [base]
    if base.endswith("/lib"):
        places = [
            f"{base}/{name}/{kind}"
            for name in _names(root, base)
            if name.startswith("python")
            for kind in ("dist-packages", "site-packages")
        ]
    found = []
    for place in places:
        for name in _names(root, place):
            if name.endswith((".dist-info", ".egg-info")):
                bare = name.rpartition(".")[0]
                package, _, version = bare.partition("-")
                found.append(("pypi", package.lower().replace("_", "-"), version))
    return found


def _time(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
