"""What lists, ``inspect`` and their like print: to the byte what the official client prints."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import normal
import pytest

from rig import Engine

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="needs the official client"),
]


LISTS = """
ps
ps -a
ps -aq
ps -a --no-trunc
ps -as
ps -l
ps -n 2
ps -lq
ps -a --format json
ps -a --format raw
ps -aq --format raw
ps -as --format raw
ps -a --format table
ps -a --format pretty
ps -a --format 'table {{.ID}}\\t{{.Names}}\\t{{.Ports}}'
ps -a --format '{{.Names}}: {{.Image}} {{.Status}} {{.State}} {{.Labels}}'
ps -a --format '{{json .}}'
ps -a --format '{{.Names}} {{.Mounts}} {{.LocalVolumes}} {{.Networks}} {{.Size}}'
ps -a --format '{{.Label "a"}}|{{upper .Names}}|{{.CreatedAt}}'
ps -a --format 'table {{.Names}}\\t{{.Label "com.x"}}'
ps -a --format '{{range $i, $x := split .Names "e"}}{{$i}}{{$x}},{{end}}{{pad .State 2 3}}|'
ps -a --format '{{if eq .State "running"}}{{title .Names}}{{else}}-{{end}}{{truncate .ID 3}}'
ps -a --format '{{with .Labels}}{{.}}{{end}} {{println .Names | printf "%q"}}'
ps -a --no-trunc --format '{{.ID}} {{.Command}}'
ps -a --format '{{.Foo}}'
ps -a --format '{{'
ps -a --format '{{foo .}}'
ps -f status=exited
ps -f name=we -q
ps -f label=a=b
ps -af exited=3 --format '{{.Names}}'
ps -f foo=bar
ps -f status=nonsense
ps -f foo
ps -n x
ps -f volume=v1 --format '{{.Names}}'
ps -f publish=9443/udp --format '{{.Names}}'
ps -f ancestor=busybox --format '{{.Names}}'
ps -af before=web --format '{{.Names}}'
ps -f network=bridge --format '{{.Names}}'
ps -af since=nosuch
container ls -a
container ps -a
container list -q
images
images -q
images -a
images --digests
images --no-trunc
images --format json
images --format 'table {{.Repository}}\\t{{.Tag}}\\t{{.Size}}'
images --format '{{.ID}} {{.Repository}}:{{.Tag}} {{.CreatedSince}} {{.CreatedAt}} {{.Size}}'
images --format '{{.Containers}} {{.SharedSize}} {{.UniqueSize}} {{.VirtualSize}} {{.Digest}}'
images --format '{{.Foo}}'
images busybox
images nosuch
images -f dangling=true
images -f foo=1
images -f label=x
image ls
image list
image ls --digests -q
volume ls
volume ls -q
volume ls --format json
volume ls --format '{{.Name}} {{.Driver}} {{.Labels}} {{.Mountpoint}} {{.Scope}} {{.Links}}'
volume ls --format 'table {{.Name}}\\t{{.Size}}'
volume ls -f label=a
volume ls -f dangling=true -q
volume ls -f foo=1
network ls
network ls -q
network ls --no-trunc
network ls --format json
network ls --format '{{.Name}} {{.Driver}} {{.Scope}} {{.IPv6}} {{.Internal}} {{.Labels}}'
network ls -f driver=bridge
network ls -f type=custom
network ls -f foo=1
history busybox
history -q busybox
history --no-trunc busybox
history --format json busybox
history --format '{{.ID}} {{.CreatedBy}} {{.Size}} {{.Comment}}' busybox
history -H=false busybox
history nosuch
port web 443/udp
port web 9000
port nosuch
port fresh
port web 80/sctp
logs web
logs --since 1h web
logs --details web
logs nosuch
logs --until 2020-01-01T00:00:00 web
logs --tail 1 web
logs -t --tail 1 web
logs --tail x web
events --since 1h --until 0s --format json
events --since 1h --until 0s
events --since 1h --until 0s -f type=volume
events --since 1h --until 0s --format '{{.Type}} {{.Action}} {{.Actor.ID}}' -f container=web
events --since 1h --until 0s --format '{{.Foo}}'
system df
system df -v
system df --format json
system df --format '{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}'
system df --format 'table {{.Type}}\\t{{.Size}}'
version --format '{{.Server.Version}} {{.Server.APIVersion}} {{.Server.MinAPIVersion}}'
version --format '{{range .Server.Components}}{{.Name}} {{.Version}} {{end}}'
version --format '{{json .Server.Components}}'
version -f '{{.Client.Context}} {{.Client.APIVersion}} {{.Client.Os}}/{{.Client.Arch}}'
info --format '{{.Containers}} {{.ContainersRunning}} {{.Images}} {{.Driver}} {{.OSType}}'
info --format '{{json .Plugins}}'
info --format '{{.Plugins.Volume}} {{.Swarm.LocalNodeState}} {{.Name}} {{.MemTotal}}'
top web -o pid,comm
wait done
"""

INSPECTS = """
inspect web
inspect busybox
inspect v1
inspect bridge
inspect web busybox v1 bridge
inspect nosuch
inspect web nosuch
inspect --type container busybox
inspect --type image web
inspect --type foo web
inspect --type volume v1
inspect --type volume web
inspect --type network bridge
inspect -s web -f '{{.SizeRw}}'
inspect -s busybox
inspect -s --type volume v1
inspect -f '{{.State.Status}} {{.Name}} {{.Id}}' web
inspect -f '{{.State.Status}} {{.Name}} {{.ID}}' web
inspect -f '{{json .Config}}' web
inspect -f '{{json .HostConfig.PortBindings}}' web
inspect -f '{{.Config}}' web
inspect -f '{{.HostConfig.PortBindings}}' web
inspect -f '{{range $k, $v := .NetworkSettings.Ports}}{{$k}} {{len $v}} {{end}}' web
inspect -f '{{range .Mounts}}{{.Source}}:{{.Destination}} {{end}}' web
inspect -f '{{.State.Health}}' web
inspect -f '{{.NetworkSettings.Networks.bridge.IPAddress}}' web
inspect -f '{{index .Config.Labels "com.x"}}' web
inspect -f '{{.Foo}}' web
inspect -f '{{' web
inspect -f json web
container inspect web
container inspect nosuch
container inspect -f '{{.State.ExitCode}}' web done
container inspect -s -f '{{.SizeRootFs}}' web
image inspect busybox
image inspect busybox -f '{{.RepoTags}} {{.Config.Cmd}} {{.Size}}'
image inspect nosuch
volume inspect v1
volume inspect v1 vol2
volume inspect nosuch
volume inspect v1 nosuch -f '{{.Name}} {{.Labels}} {{.Options}}'
network inspect bridge
network inspect nosuch
network inspect bridge host
network inspect -v bridge
network inspect -f '{{.Name}} {{range .IPAM.Config}}{{.Subnet}}{{end}} {{.Options}}' bridge
network inspect -f '{{len .Containers}}' bridge
"""


@pytest.mark.parametrize("line", [*LISTS.strip().split("\n"), *INSPECTS.strip().split("\n")])
def test_says_the_same(world: Engine, line: str) -> None:
    ours, theirs = normal.both(world, shlex.split(line.replace("\\\\t", "\\t")))
    assert ours == theirs


def test_info_differs_in_the_clients_alone(world: Engine) -> None:
    ours, theirs = normal.both(world, ["info"])
    assert ours.status == theirs.status == 0
    assert _server_part(ours.stdout) == _server_part(theirs.stdout)
    assert ours.stderr == theirs.stderr


def _server_part(text: str) -> list[str]:
    lines = text.partition("\nServer:\n")[2].splitlines()
    assert len(lines) > 20
    # Docker's client shows the runtimes in no order at all.
    return [line if not line.startswith(" Runtimes:") else " Runtimes:" for line in lines]


def test_a_format_of_the_configuration_counts(world: Engine, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"psFormat": "{{.Names}}!", "imagesFormat": "{{.Tag}}?", "volumesFormat": "{{.Name}}#",'
        ' "networksFormat": "{{.Driver}}$"}'
    )
    for words in (["ps", "-a"], ["ps", "-aq"], ["images"], ["volume", "ls"], ["network", "ls"]):
        ours, theirs = normal.both(world, ["--config", str(tmp_path), *words])
        assert ours == theirs
        assert ours.status == 0
