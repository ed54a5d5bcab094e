"""Published and exposed ports: ``-p`` in its short and its ``key=value`` form, ``--expose``.

The short form is ``[[address:][host]:]container[/protocol]``, where both ports may be ranges. Equal
ranges are paired; a host range for a single container port means "any free one of these".
"""

from __future__ import annotations

from firkin.cli import flags
from firkin.cli.opts import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    Binding = dict[str, str]
    Bindings = dict[str, list[Binding]]

_UNPARSED = "strconv.ParseUint: parsing {}: {}"
PROTOCOLS = ("tcp", "udp", "sctp")


def publish(values: list[str]) -> Bindings:
    """Every ``-p`` as the API's PortBindings, by ``port/protocol``."""
    bindings: Bindings = {}
    for value in values:
        short = _shorten(value) if "=" in value else value
        for port, binding in _parse(short):
            known = bindings.setdefault(port, [])
            if binding not in known:
                known.append(binding)
    return bindings


def expose(values: list[str]) -> list[str]:
    """Every port of ``--expose`` as ``port/protocol``."""
    found: list[str] = []
    for value in values:
        if ":" in value:
            raise ValueError(
                f"invalid port format for --expose: {value} (to publish a port there is -p)"
            )
        ports, protocol = _split_protocol(value)
        first, last = _exposed(ports, value)
        found += [f"{port}/{protocol}" for port in range(first, last + 1)]
    return found


def _exposed(ports: str, value: str) -> tuple[int, int]:
    """First and last port of a range; the words are those of the official client."""
    start = f"invalid range format for --expose: {value}, error: "
    if not ports:
        raise ValueError(start + "empty string specified for ports")
    first, dash, last = ports.partition("-")
    numbers: list[int] = []
    for digits in (first, last) if dash else (first,):
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(start + _UNPARSED.format(flags.quoted(digits), "invalid syntax"))
        if len(digits.lstrip("0")) > 5 or int(digits) > 65535:
            raise ValueError(start + _UNPARSED.format(flags.quoted(digits), "value out of range"))
        numbers.append(int(digits))
    if numbers[-1] < numbers[0]:
        raise ValueError(f"{start}invalid range specified for port: {ports}")
    return numbers[0], numbers[-1]


def _shorten(value: str) -> str:
    known = {"target": "", "published": "", "protocol": "tcp", "mode": "ingress"}
    for field in text.fields(value):
        key, _, setting = field.partition("=")
        if key.lower() not in known:
            raise ValueError(
                f"unknown key {key!r} in the port {value!r}; "
                "known are target, published, protocol and mode"
            )
        known[key.lower()] = setting
    if known["mode"] not in ("host", "ingress"):
        raise ValueError(f"invalid mode {known['mode']!r} in the port {value!r}")
    if not known["target"]:
        raise ValueError(f"no target port specified in {value!r}")
    published = known["published"] + ":" if known["published"] else ""
    return f"{published}{known['target']}/{known['protocol']}"


def _parse(value: str) -> list[tuple[str, Binding]]:
    address, host, container = _split(value)
    container, protocol = _split_protocol(container)
    if not container:
        raise ValueError(f"no port specified: {value or '<empty>'}")
    first, last = _range(container, "containerPort")
    if not host:
        low = high = None
    else:
        low, high = _range(host, "hostPort")
    count = last - first
    if low is not None and high is not None and high - low != count and count:
        raise ValueError(
            f"invalid ranges specified for container and host Ports: {container} and {host}"
        )
    found: list[tuple[str, Binding]] = []
    for offset in range(count + 1):
        if low is None:
            shown = ""
        elif not count and high != low:
            shown = f"{low}-{high}"
        else:
            shown = str(low + offset)
        binding = {"HostIp": address, "HostPort": shown}
        found.append((f"{first + offset}/{protocol}", binding))
    return found


def _split(value: str) -> tuple[str, str, str]:
    """Address, host port and container port; all but the last may be empty."""
    rest, _, container = value.rpartition(":")
    address, _, host = rest.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address and not text.is_ip(address):
        raise ValueError(f"invalid IP address: {address} (in {value!r})")
    return address, host, container


def _split_protocol(value: str) -> tuple[str, str]:
    ports, slash, protocol = value.partition("/")
    protocol = protocol.lower() if slash and protocol else "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol} (want tcp, udp or sctp)")
    return ports, protocol


def _range(value: str, what: str) -> tuple[int, int]:
    first, dash, last = value.partition("-")
    low = _port(first, value, what)
    high = _port(last, value, what) if dash else low
    if high < low:
        raise ValueError(f"invalid {what}: {value}: the range ends before it starts")
    return low, high


def _port(digits: str, value: str, what: str) -> int:
    if digits.isascii() and digits.isdigit() and len(digits) < 6 and int(digits) < 65536:
        return int(digits)
    raise ValueError(f"invalid {what}: {value} (want a number up to 65535)")
