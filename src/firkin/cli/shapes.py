"""The types of what the engine sends about an object, for ``inspect --format``.

A template can tell a map from a struct, an empty list from nothing, and a field that was left out
from one that doesn't exist: ``{{if .State.Health}}`` works for a container without a health check,
``{{index .Config.Labels "x"}}`` is empty without such a label, ``{{.Config.Lables}}`` is an error.
JSON alone doesn't say which is which; the Engine API's types do, and they are written down here.

``SCHEMA`` holds one type a line: its name, then its fields in order as ``Name type``. Where the
JSON name differs it follows a colon; a name alone with a ``+`` is an embedded type, whose fields
are read as if they were the outer type's own. Types are written as in Go: ``[]T``, ``map[T]`` (the
key is a string; in ``ports[T]`` it is a type of its own), ``*T``, ``time``, ``any`` (left as it
came), or the name of a line. In JSON a field with ``!`` is there even if the engine did not send
it, one with ``?`` is not there if it is zero.
"""

from __future__ import annotations

from firkin.cli import named
from firkin.cli.template import values
from firkin.cli.template.values import NIL, Map, NilList, Struct

SCHEMA = """
container +base, Mounts []mount, Config *config, NetworkSettings *netset, \
ImageManifestDescriptor *descriptor
base ID:Id string, Created string, Path string, Args []string, State *state, Image string, \
ResolvConfPath string, HostnamePath string, HostsPath string, LogPath string, Name string, \
RestartCount int, Driver string, Platform string, MountLabel string, ProcessLabel string, \
AppArmorProfile string, ExecIDs []string, HostConfig *hostconfig, GraphDriver graph, \
SizeRw *int, SizeRootFs *int
state Status string, Running bool, Paused bool, Restarting bool, OOMKilled bool, Dead bool, \
Pid int, ExitCode int, Error string, StartedAt string, FinishedAt string, Health *health
health Status string, FailingStreak int, Log []*healthlog
healthlog Start time, End time, ExitCode int, Output string
graph Data map[string], Name string
mount Type string, Name string?, Source string, Destination string, Driver string?, Mode string, \
RW bool, Propagation string
config Hostname string, Domainname string, User string, AttachStdin bool, AttachStdout bool, \
AttachStderr bool, ExposedPorts ports[empty], Tty bool, OpenStdin bool, StdinOnce bool, \
Env []string, Cmd []string, Healthcheck *healthcheck, ArgsEscaped bool, Image string, \
Volumes map[empty], WorkingDir string, Entrypoint []string, NetworkDisabled bool, \
MacAddress string, OnBuild []string, Labels map[string], StopSignal string, StopTimeout *int, \
Shell []string
empty
healthcheck Test []string, Interval duration, Timeout duration, StartPeriod duration, \
StartInterval duration, Retries int
hostconfig Binds []string, ContainerIDFile string, LogConfig logconfig, NetworkMode netmode, \
PortBindings ports[[]binding], RestartPolicy restart, AutoRemove bool, VolumeDriver string, \
VolumesFrom []string, ConsoleSize []int, Annotations map[string], CapAdd []string, \
CapDrop []string, CgroupnsMode cgroupnsmode, DNS:Dns []string, DNSOptions:DnsOptions []string, \
DNSSearch:DnsSearch []string, ExtraHosts []string, GroupAdd []string, IpcMode ipcmode, \
Cgroup string, Links []string, OomScoreAdj int, PidMode pidmode, Privileged bool, \
PublishAllPorts bool, ReadonlyRootfs bool, SecurityOpt []string, StorageOpt map[string], \
Tmpfs map[string], UTSMode hostmode, UsernsMode hostmode, ShmSize int, Sysctls map[string], \
Runtime string, Isolation isolation, +resources, Mounts []hostmount, MaskedPaths []string, \
ReadonlyPaths []string, Init *bool
logconfig Type string, Config map[string]
binding HostIP:HostIp string, HostPort string
restart Name string, MaximumRetryCount int
resources CPUShares:CpuShares int, Memory int, NanoCPUs:NanoCpus int, CgroupParent string, \
BlkioWeight int, BlkioWeightDevice []*weight, BlkioDeviceReadBps []*throttle, \
BlkioDeviceWriteBps []*throttle, BlkioDeviceReadIOps []*throttle, \
BlkioDeviceWriteIOps []*throttle, CPUPeriod:CpuPeriod int, CPUQuota:CpuQuota int, \
CPURealtimePeriod:CpuRealtimePeriod int, CPURealtimeRuntime:CpuRealtimeRuntime int, \
CpusetCpus string, CpusetMems string, Devices []device, DeviceCgroupRules []string, \
DeviceRequests []request, KernelMemory int?, KernelMemoryTCP int?, MemoryReservation int, \
MemorySwap int, MemorySwappiness *int, OomKillDisable *bool, PidsLimit *int, Ulimits []*ulimit, \
CPUCount:CpuCount int!, CPUPercent:CpuPercent int!, IOMaximumIOps int!, IOMaximumBandwidth int!
weight Path string, Weight int
throttle Path string, Rate int
device PathOnHost string, PathInContainer string, CgroupPermissions string
request Driver string, Count int, DeviceIDs []string, Capabilities [][]string, Options map[string]
ulimit Name string, Hard int, Soft int
hostmount Type string, Source string, Target string, ReadOnly bool, Consistency string, \
BindOptions *any, VolumeOptions *any, ImageOptions *any, TmpfsOptions *any, ClusterOptions *any
netset +netbase, +netdefault, Networks map[*endpoint]
netbase Bridge string, SandboxID string, SandboxKey string, Ports ports[[]binding], \
HairpinMode bool, LinkLocalIPv6Address string, LinkLocalIPv6PrefixLen int, \
SecondaryIPAddresses []address, SecondaryIPv6Addresses []address
netdefault EndpointID string, Gateway string, GlobalIPv6Address string, \
GlobalIPv6PrefixLen int, IPAddress string, IPPrefixLen int, IPv6Gateway string, MacAddress string
address Addr string, PrefixLen int
endpoint IPAMConfig *ipamconfig, Links []string, Aliases []string, MacAddress string, \
DriverOpts map[string], GwPriority int, NetworkID string, EndpointID string, Gateway string, \
IPAddress string, IPPrefixLen int, IPv6Gateway string, GlobalIPv6Address string, \
GlobalIPv6PrefixLen int, DNSNames []string
ipamconfig IPv4Address string, IPv6Address string, LinkLocalIPs []string
image ID:Id string, RepoTags []string, RepoDigests []string, Parent string, Comment string, \
Created string, Container string, ContainerConfig *config, DockerVersion string, Author string, \
Config *imageconfig, Architecture string, Variant string, Os string, OsVersion string, \
Size int, VirtualSize int, GraphDriver graph, RootFS rootfs, Metadata metadata, \
Descriptor *descriptor, Manifests []any
imageconfig +ociconfig, +dockerconfig
ociconfig User string?, ExposedPorts ports[empty]?, Env []string?, Entrypoint []string?, \
Cmd []string?, Volumes map[empty]?, WorkingDir string?, Labels map[string]?, \
StopSignal string?, ArgsEscaped bool?
dockerconfig Healthcheck *healthcheck?, OnBuild []string?, Shell []string?
rootfs Type string, Layers []string
metadata LastTagTime time
descriptor MediaType:mediaType string, Digest:digest string, Size:size int, URLs:urls []string?, \
Annotations:annotations map[string]?, Data:data any?, Platform:platform *ociplatform?, \
ArtifactType:artifactType string?
ociplatform Architecture:architecture string, OS:os string, OSVersion:os.version string?, \
OSFeatures:os.features []string?, Variant:variant string?
network Name string, ID:Id string, Created time, Scope string, Driver string, EnableIPv4 bool, \
EnableIPv6 bool, IPAM ipam, Internal bool, Attachable bool, Ingress bool, ConfigFrom source, \
ConfigOnly bool, Containers map[member], Options map[string], Labels map[string], Peers []peer, \
Services map[any]
ipam Driver string, Options map[string], Config []pool
pool Subnet string, IPRange string, Gateway string, AuxAddress:AuxiliaryAddresses map[string]
source Network string
member Name string, EndpointID string, MacAddress string, IPv4Address string, IPv6Address string
peer Name string, IP string
volume ClusterVolume *any, CreatedAt string, Driver string, Labels map[string], \
Mountpoint string, Name string, Options map[string], Scope string, Status map[any], \
UsageData *usage
usage RefCount int, Size int
event Status:status string, ID:id string, From:from string, Type string, Action string, \
Actor actor, Scope:scope string, Time:time int, TimeNano:timeNano int
actor ID string, Attributes map[string]
version Client versionclient, Server *versionserver
versionclient Platform named, Version string, APIVersion:ApiVersion string, \
DefaultAPIVersion string, GitCommit string, GoVersion string, PythonVersion string, Os string, \
Arch string, BuildTime string, Context string
versionserver Platform named, Components []component, Version string, \
APIVersion:ApiVersion string, MinAPIVersion string, GitCommit string, GoVersion string, \
Os string, Arch string, KernelVersion string, Experimental bool, BuildTime string?
named Name string
context +contextmeta, TLSMaterial map[[]string], Storage storage
contextmeta Name string, Metadata any, Endpoints map[place]
place Host string, SkipTLSVerify bool
storage MetadataPath string, TLSPath string
info +sysinfo, ServerErrors []string?, UserName string?, ClientInfo any, ClientErrors []string?
sysinfo ID string, Containers int, ContainersRunning int, ContainersPaused int, \
ContainersStopped int, Images int, Driver string, DriverStatus [][]string, \
SystemStatus [][]string?, Plugins plugins, MemoryLimit bool, SwapLimit bool, KernelMemory bool?, \
KernelMemoryTCP bool?, CPUCfsPeriod:CpuCfsPeriod bool, CPUCfsQuota:CpuCfsQuota bool, \
CPUShares bool, CPUSet bool, PidsLimit bool, IPv4Forwarding bool, Debug bool, NFd int, \
OomKillDisable bool, NGoroutines int, SystemTime string, LoggingDriver string, \
CgroupDriver string, CgroupVersion string?, NEventsListener int, KernelVersion string, \
OperatingSystem string, OSVersion string, OSType string, Architecture string, \
IndexServerAddress string, RegistryConfig *registries, NCPU int, MemTotal int, \
GenericResources []any, DockerRootDir string, HTTPProxy:HttpProxy string, \
HTTPSProxy:HttpsProxy string, NoProxy string, Name string, Labels []string, \
ExperimentalBuild bool, ServerVersion string, Runtimes map[runtimeinfo], DefaultRuntime string, \
Swarm swarm, LiveRestoreEnabled bool, Isolation string, InitBinary string, \
ContainerdCommit commit, RuncCommit commit, InitCommit commit, SecurityOptions []string, \
ProductLicense string?, DefaultAddressPools []addresspool?, FirewallBackend *firewall?, \
CDISpecDirs []string, Containerd *any?, Warnings []string
plugins Volume []string, Network []string, Authorization []string, Log []string
registries AllowNondistributableArtifactsCIDRs []string, \
AllowNondistributableArtifactsHostnames []string, InsecureRegistryCIDRs []string, \
IndexConfigs map[*index], Mirrors []string, ExtraFields map[any]
index Name string, Mirrors []string, Secure bool, Official bool
swarm NodeID string, NodeAddr string, LocalNodeState string, ControlAvailable bool, Error string, \
RemoteManagers []any, Nodes int?, Managers int?, Cluster *any?, Warnings []string?
commit ID string, Expected string
addresspool Base string, Size int
firewall Driver string, Info [][]string
runtimeinfo +runtimespec, Status:status map[string]?
runtimespec Path:path string?, Args:runtimeArgs []string?, Type:runtimeType string?, \
Options:options map[any]?
summary ID:Id string, Names []string, Image string, ImageID string, \
ImageManifestDescriptor *descriptor, Command string, Created int, Ports []port, SizeRw int, \
SizeRootFs int, Labels map[string], State string, Status string, HostConfig hostsummary, \
NetworkSettings *netsummary, Mounts []mount
port IP string, PrivatePort int, PublicPort int, Type string
hostsummary NetworkMode string, Annotations map[string]
netsummary Networks map[*endpoint]
imagesummary Containers int, Created int, ID:Id string, Labels map[string], ParentID:ParentId \
string, Descriptor *descriptor, Manifests []any, RepoDigests []string, RepoTags []string, \
SharedSize int, Size int, VirtualSize int
step Comment string, Created int, CreatedBy string, ID:Id string, Size int, Tags []string
component Name string, Version string, Details map[string]
"""

_SCALARS: dict[str, object] = {"string": "", "int": 0, "bool": False, "float": 0.0, "any": None}

_lines: dict[str, list[tuple[str, str, str]]] = {}


def kinds() -> frozenset[str]:
    """The names that ``shape`` takes."""
    return frozenset(_types())


def shape(value: object, kind: str) -> object:
    """``value``, decoded JSON, as the Go value of type ``kind``.

    A part of ``value`` that isn't of the type it should be stays as it is: an engine may know
    more than this client.
    """
    if kind in _SCALARS:
        return _SCALARS[kind] if value is None else value
    if kind in named.KINDS:
        return named.KINDS[kind](value or "") if value is None or isinstance(value, str) else value
    if kind[0] == "*":
        made = NIL if value is None else shape(value, kind[1:])
        if isinstance(made, Struct):
            made.pointer = True
        return made
    if kind.startswith("[]"):
        if isinstance(value, list):
            return [shape(item, kind[2:]) for item in value]
        return NilList() if value is None else value
    if kind.startswith(("map[", "ports[")):
        if value is not None and not isinstance(value, dict):
            return value
        name, _, inner = kind[:-1].partition("[")
        key_of = named.Port if name == "ports" else str
        items: dict[str, object] = {
            key_of(key): shape(item, inner) for key, item in (value or {}).items()
        }
        key_type = "string" if name == "map" else "nat.Port"
        zero = None if inner == "any" else shape(None, inner)
        return Map(items, zero, NIL if value is None else value, key_type)
    if kind == "time":
        return moment(value)
    if kind == "duration":
        return _duration(value)
    if value is not None and not isinstance(value, dict):
        return value
    raw = None if value is None else dict(value)
    made = _struct(value or {}, kind, raw)
    if raw:
        known = _json_names(kind)
        for name in [name for name in raw if name not in known]:
            raw[name] = raw.pop(name)  # what this client does not know comes last
    return made


def _json_names(kind: str) -> set[str]:
    """The JSON names of a type's fields, those of embedded types too."""
    names: set[str] = set()
    for _, json_name, declared in _types()[kind]:
        names |= _json_names(declared[1:]) if declared[0] == "+" else {json_name}
    return names


def _struct(value: dict[str, object], kind: str, raw: dict[str, object] | None) -> Struct:
    """A struct of ``value``. ``raw`` is what its JSON is: what came, in the order of the fields,
    with maps sorted and times without needless zeros."""
    fields: dict[str, object] = {}
    shown: list[str] = []
    for name, json_name, declared in _types()[kind]:
        field_kind = declared.rstrip("!?")
        if field_kind[0] == "+":
            inner = _struct(value, field_kind[1:], raw)
            fields.update((key, item) for key, item in inner.items() if key not in fields)
            fields[name] = inner
        else:
            field = fields[name] = shape(value.get(json_name), field_kind)
            if raw is not None and (json_name in raw or declared[-1] == "!"):
                plain = raw.pop(json_name, field)
                if plain is not None and isinstance(field, Map | Struct | list):
                    plain = values.plain(field)
                elif field_kind == "time" and isinstance(plain, str) and plain.endswith("Z"):
                    plain = _cut_fraction(plain[:-1]) + "Z"
                if plain or declared[-1] != "?":
                    raw[json_name] = plain  # at the end: so they get into the order of the fields
        shown.append(name)
    return Struct(f"*{kind}", fields, raw, shown)


_EMBEDDED = {
    "base": "ContainerJSONBase",
    "netbase": "NetworkSettingsBase",
    "netdefault": "DefaultNetworkSettings",
    "resources": "Resources",
    "contextmeta": "Metadata",
    "runtimespec": "Runtime",
    "sysinfo": "Info",
    "ociconfig": "ImageConfig",
    "dockerconfig": "DockerOCIImageConfigExt",
}


def _types() -> dict[str, list[tuple[str, str, str]]]:
    """``SCHEMA`` by name: (field, its JSON name, its type); parsed when first needed."""
    if not _lines:
        for line in SCHEMA.strip().split("\n"):
            kind, _, rest = line.partition(" ")
            fields: list[tuple[str, str, str]] = []
            for declared in filter(None, rest.split(", ")):
                if declared[0] == "+":
                    fields.append((_EMBEDDED[declared[1:]], "", declared))
                    continue
                names, _, field_kind = declared.partition(" ")
                name, _, json_name = names.partition(":")
                fields.append((name, json_name or name, field_kind))
            _lines[kind] = fields
    return _lines


def moment(value: object) -> object:
    """A moment as Go prints it: ``2006-01-02 15:04:05.999 +0000 UTC``."""
    if value is None:
        return "0001-01-01 00:00:00 +0000 UTC"
    if not isinstance(value, str) or "T" not in value:
        return value
    date, _, clock = value.partition("T")
    if clock.endswith("Z"):
        return f"{date} {_cut_fraction(clock[:-1])} +0000 UTC"
    if clock[-6:-5] in ("+", "-"):
        offset = clock[-6:].replace(":", "")
        name = "UTC" if offset == "+0000" else offset
        return f"{date} {_cut_fraction(clock[:-6])} {offset} {name}"
    return value


def _cut_fraction(clock: str) -> str:
    return clock.rstrip("0").rstrip(".") if "." in clock else clock


def _duration(value: object) -> object:
    """Nanoseconds as Go prints a duration: ``1h30m0s``, ``1.5s``, ``300ms``."""
    if value is None:
        value = 0
    if not isinstance(value, int):
        return value
    sign, left = ("-", -value) if value < 0 else ("", value)
    if left < 1_000_000_000:
        for size, unit in ((1_000_000, "ms"), (1_000, "µs"), (1, "ns")):
            if left >= size:
                return f"{sign}{_decimal(left, size)}{unit}"
        return "0s"
    minutes, rest = divmod(left, 60_000_000_000)
    text = f"{_decimal(rest, 1_000_000_000)}s"
    if minutes:
        text = f"{minutes % 60}m{text}"
    if minutes >= 60:
        text = f"{minutes // 60}h{text}"
    return sign + text


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = str(unit + rest)[1:].rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
