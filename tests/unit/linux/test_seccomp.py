"""The compiled filter: what is refused, and that it depends on the section."""

from __future__ import annotations

import pytest

from firkin.linux import seccomp
from firkin.oci import seccomp as profiles


def test_default_profile_compiles_to_whole_instructions() -> None:
    section = profiles.profile([], "x86_64", (6, 1))
    program = seccomp.compile_filter(section)
    assert len(program) > 1000
    assert len(program) % 8 == 0
    assert program == seccomp.compile_filter(section)
    assert program != seccomp.compile_filter(profiles.profile(["CAP_SYS_ADMIN"], "x86_64", (6, 1)))


@pytest.mark.parametrize(
    "section",
    [
        {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]},
        {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x"},
        {"defaultAction": "SCMP_ACT_NOTIFY"},
    ],
)
def test_what_only_a_runtime_can_do_is_refused(section: dict[str, object]) -> None:
    with pytest.raises(seccomp.Unsupported):
        seccomp.compile_filter(section)
