"""Tags: fields, labels, functions, and templates that can't be."""

from __future__ import annotations

import msgspec
import pytest

from firkin import errdefs
from firkin.logger import tags

INFO = msgspec.structs.replace(
    tags.EXAMPLE, id="0123456789abcdef" * 4, name="web", image_id="sha256:" + "fe" * 32,
    image="busybox:1", args=("sh", "-c", "true"), hostname="host", labels={"tier": "front"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{.ImageName}}/{{.Name}}/{{.ID}}", "busybox:1/web/0123456789ab"),
        ("{{ .ImageID }}", "fe" * 6),
        ("{{.ImageFullID}}", "sha256:" + "fe" * 32),
        ("{{.ContainerName}} {{.Command}} {{.Hostname}}", "/web sh -c true host"),
        ("{{.Name | upper}}-{{lower .DaemonName}}", "WEB-firkin"),
        ("{{truncate .FullID 4}}", "0123"),
        ('{{.ContainerLabels.tier}}{{index .ContainerLabels "none"}}', "front"),
        ('{{index .ContainerLabels "tier" | title}}', "Front"),
        ('{{"text"}}', "text"),
    ],
)
def test_rendered(template: str, expected: str) -> None:
    assert tags.render(template, INFO) == expected


@pytest.mark.parametrize(
    "template",
    ["{{.Foo}}", "{{}}", "{{.Name | shout}}", "{{truncate .ID many}}", "{{upper}}", "{{.Name .ID}}",
     "{{if .Name}}x{{end}}", "{{index .ContainerLabels}}", "{{.Name |}}"],
)  # fmt: skip
def test_refused(template: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="is unknown: there are"):
        tags.render(template, INFO)
