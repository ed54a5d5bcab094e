"""Every parser of what people write: any text gives a value or the error promised for it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firkin import errdefs, reference
from firkin.cli import errors as cli_errors
from firkin.cli import units
from firkin.cli.opts import (
    devices,
    environment,
    filters,
    limits,
    mounts,
    networks,
    policies,
    ports,
    text,
)
from firkin.engine import filters as engine_filters
from firkin.engine import times
from firkin.engine.containers import mounts as engine_mounts
from firkin.engine.containers import netmode
from firkin.images import filters as image_filters
from firkin.oci import user

_PIECES = st.sampled_from(
    [
        "80", "65536", "0", "-1", "tcp", "udp", "sctp", "/", ":", "-", ",", "=", ".", "@", "[", "]",
        "::1", "127.0.0.1", "a", "abc", "A", "ro", "rw", "z", "type", "bind", "volume", "source",
        "target", "src", "dst", "readonly", "true", "k", "m", "g", "kb", "ms", "s", "h", "1h30m",
        "1.5", "sha256:", "0" * 64, "latest", " ", "\t", '"', "\\", "\0", "é", "🐳", "%", "*",
        "nofile", "always", "on-failure", "unless-stopped", "9" * 40, "1e9", "nan", "inf",
        "2020-01-01", "T10:00:00Z", "+01:00",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=40), st.lists(_PIECES, max_size=8).map("".join))
"""Any text, and text made of what the grammars are made of."""

CLIENT: list[Callable[[str], Any]] = [
    lambda value: ports.publish([value]),
    lambda value: ports.expose([value]),
    lambda value: mounts.volumes([value]),
    lambda value: mounts.tmpfs([value]),
    mounts.mount,
    networks.network,
    networks.mac,
    networks.dns_server,
    networks.dns_search,
    networks.extra_host,
    networks.link,
    limits.size,
    limits.swap_size,
    limits.duration,
    limits.nano_cpus,
    limits.ulimit,
    limits.sysctl,
    limits.weight_device,
    limits.rate_device,
    limits.operations_device,
    devices.gpus,
    devices.cgroup_rule,
    environment.variable,
    environment.label,
    filters.check,
    policies.restart,
    policies.attach,
    lambda value: policies.storage([value]),
    text.fields,
    text.is_ip,
]

SHARED: list[Callable[[str], Any]] = [
    units.parse_size,
    units.parse_duration,
    lambda value: units.parse_moment(value, 1e9),
    reference.parse,
    lambda value: reference.combine(value),
    lambda value: reference.combine("busybox", value),
    reference.validate_digest,
    lambda value: times.parse(value, "since"),
    image_filters.moment,
    lambda value: image_filters.flag({"dangling": [value]}, "dangling"),
    lambda value: engine_filters.Filters.parse(value, {"name"}),
    netmode.parse_port,
    netmode.network_of,
    lambda value: engine_mounts.parse_bind(value),
    lambda value: user.resolve(value, "root:x:0:0::/:/bin/sh\nbad\n", "root:x:0:\n\n:::"),
    lambda value: user.resolve("nobody", value, value),
]


@pytest.mark.parametrize("parser", CLIENT, ids=range(len(CLIENT)))
@settings(max_examples=60, deadline=None)
@given(value=TEXTS)
def test_client(parser: Callable[[str], Any], value: str) -> None:
    """A flag's value: ``ValueError`` is shown with the flag's name, a ``CliError`` as it is."""
    try:
        parser(value)
    except (ValueError, cli_errors.CliError, errdefs.InvalidParameter) as error:
        assert not isinstance(error, UnicodeError) and str(error)


@pytest.mark.parametrize("parser", SHARED, ids=range(len(SHARED)))
@settings(max_examples=60, deadline=None)
@given(value=TEXTS)
def test_engine(parser: Callable[[str], Any], value: str) -> None:
    try:
        parser(value)
    except errdefs.InvalidParameter as error:
        assert str(error)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.one_of(st.binary(max_size=60), TEXTS.map(lambda t: t.encode("utf-8", "replace"))))
def test_env_files(tmp_path: pathlib.Path, data: bytes) -> None:
    path = tmp_path / "env"
    path.write_bytes(data)
    try:
        environment.variables([str(path)], [])
    except (ValueError, cli_errors.CliError) as error:
        assert not isinstance(error, UnicodeError) and str(error)


@settings(max_examples=200, deadline=None)
@given(value=TEXTS)
def test_a_reference_reads_back_as_itself(value: str) -> None:
    try:
        found = reference.parse(value)
    except errdefs.InvalidParameter:
        return
    assert reference.parse(str(found)) == found
    assert str(reference.parse(found.familiar)) == str(found)


@settings(max_examples=200, deadline=None)
@given(amount=st.integers(0, 1 << 50))
def test_a_size_reads_back(amount: int) -> None:
    assert units.parse_size(str(amount)) == amount
    shown = units.parse_size(units.human_size_binary(amount))
    assert abs(shown - amount) <= max(amount / 500, 1)
