"""System call filters: the default one, and those users bring in Docker's profile format.

A Docker profile is a runtime-spec ``linux.seccomp`` with conditions: a rule applies if all of its
``includes`` hold and none of its ``excludes``; ``archMap`` gives the architectures by the native
one. Both functions here evaluate the conditions for one container and give the plain form.

A profile comes from the API, so it is checked here in full: the runtime would report an unknown
action only when the container starts, and in its own words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from firkin import errdefs
from firkin.oci import seccomp_rules as rules
from firkin.oci.tables import words

ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"
EPERM = 1
ENOSYS = 38

_ACTIONS = frozenset(words("KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG", "SCMP_ACT_"))
_OPERATORS = frozenset(words("NE LT LE EQ GE GT MASKED_EQ", "SCMP_CMP_"))
_FLAGS = frozenset(words("TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_"))
_MAX_PROFILE = 1 << 20


class _Condition(msgspec.Struct, rename={"min_kernel": "minKernel"}):
    caps: list[str] | None = None
    arches: list[str] | None = None
    min_kernel: str = ""


class _Argument(msgspec.Struct, rename={"value_two": "valueTwo"}):
    index: int
    op: str
    value: int = 0
    value_two: int = 0


class _Rule(msgspec.Struct, rename={"errno_ret": "errnoRet"}):
    action: str = ""
    names: list[str] | None = None
    name: str = ""
    args: list[_Argument | None] | None = None
    errno_ret: int | None = None
    includes: _Condition | None = None
    excludes: _Condition | None = None


class _ArchEntry(msgspec.Struct, rename={"sub": "subArchitectures"}):
    architecture: str = ""
    sub: list[str] | None = None


class _Profile(msgspec.Struct, rename="camel"):
    default_action: str = ""
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    arch_map: list[_ArchEntry] | None = None
    flags: list[str] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[_Rule] | None = None


def kernel_version(release: str) -> tuple[int, int]:
    """Major and minor of a kernel release or ``minKernel`` text, such as "6.1.0-18-amd64"."""
    parts = release.split("-", 1)[0].split(".")
    try:
        return int(parts[0]), int("".join(c for c in parts[1] if c.isdigit()) or "0")
    except (ValueError, IndexError) as error:
        raise errdefs.InvalidParameter(
            f'"{release[:80]}" is not a kernel version; it should look like 5.10'
        ) from error


def _arch(machine: str) -> rules.Arch | None:
    return rules.ARCHES.get(machine)


def _allow(names: tuple[str, ...], *args: dict[str, Any]) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": list(names), "action": ALLOW}
    if args:
        rule["args"] = list(args)
    return rule


def _when(index: int, op: str, value: int, value_two: int = 0) -> dict[str, Any]:
    return {"index": index, "value": value, "valueTwo": value_two, "op": "SCMP_CMP_" + op}


def profile(caps: Collection[str], arch: str, kernel: tuple[int, int]) -> dict[str, Any]:
    """The default filter for a container with the bounding set ``caps``.

    ``arch`` is the machine (``uname -m``, or the image-spec's name); of an unknown one the runtime
    filters the native calls only. ``kernel`` is the running kernel's version.
    """
    known = _arch(arch)
    go = known.go if known else ""
    names = set(rules.ALWAYS)
    if kernel >= rules.PTRACE_SAFE_KERNEL:
        names.update(rules.PTRACE)
    for arches, calls in rules.BY_ARCH:
        if go in arches:
            names.update(calls)
    for capability, calls in rules.BY_CAPABILITY.items():
        if capability in caps:
            names.update(calls)

    syscalls = [_allow(tuple(sorted(names)))]
    syscalls.append(_allow(("socket",), _when(0, "LT", rules.SOCKET_BELOW)))
    syscalls += [_allow(("socket",), _when(0, "EQ", n)) for n in rules.SOCKET_FAMILIES]
    syscalls += [_allow(("personality",), _when(0, "EQ", n)) for n in rules.PERSONALITIES]
    if "CAP_SYS_ADMIN" not in caps:
        flags = 1 if go == "s390x" else 0  # s390 passes the stack first
        syscalls.append(_allow(("clone",), _when(flags, "MASKED_EQ", rules.CLONE_NAMESPACES)))
        syscalls.append({"names": ["clone3"], "action": ERRNO, "errnoRet": ENOSYS})
    result: dict[str, Any] = {"defaultAction": ERRNO, "defaultErrnoRet": EPERM}
    if known:
        result["architectures"] = [known.native, *known.compatible]
    result["syscalls"] = syscalls
    return result


def _bad(what: str) -> errdefs.InvalidParameter:
    return errdefs.InvalidParameter(f"invalid seccomp profile: {what}")


def _check_errno(number: int | None, where: str) -> None:
    if number is not None and not 0 <= number <= 4095:
        raise _bad(f"the errno {number} of {where} is not between 0 and 4095")


def _applies(
    rule: _Rule, caps: Collection[str], arch: rules.Arch | None, kernel: tuple[int, int]
) -> bool:
    """Whether the rule's conditions hold.

    All included capabilities are needed; one excluded capability is enough to drop the rule.
    """
    go = arch.go if arch else ""
    names = {go, "x86"} if go == "386" else {go}
    needs, without = rule.includes, rule.excludes
    if needs is not None:
        if needs.arches and names.isdisjoint(needs.arches):
            return False
        if not all(capability in caps for capability in needs.caps or ()):
            return False
        if needs.min_kernel and kernel < kernel_version(needs.min_kernel):
            return False
    if without is not None:
        if not names.isdisjoint(without.arches or ()):
            return False
        if any(capability in caps for capability in without.caps or ()):
            return False
        if without.min_kernel and kernel >= kernel_version(without.min_kernel):
            return False
    return True


def _arguments(rule: _Rule, where: str) -> Iterator[dict[str, Any]]:
    for argument in rule.args or ():
        if argument is None:
            continue
        if not 0 <= argument.index <= 5:
            raise _bad(f"{where} looks at argument {argument.index}; they go from 0 to 5")
        if argument.op not in _OPERATORS:
            raise _bad(f'{where} compares with "{argument.op[:40]}", which does not exist')
        for value in (argument.value, argument.value_two):
            if not 0 <= value < 2**64:
                raise _bad(f"{where} compares with {value}, which does not fit 64 bits")
        yield {
            "index": argument.index,
            "value": argument.value,
            "valueTwo": argument.value_two,
            "op": argument.op,
        }


def _translate(rule: _Rule, number: int) -> dict[str, Any]:
    names = rule.names or []
    if rule.name:
        if names:
            raise _bad("a rule has both 'name' and 'names'; use one of them")
        names = [rule.name]
    if not names or not all(names):
        raise _bad(f"rule {number} names no system call")
    where = f"the rule for {names[0][:40]}"
    if rule.action not in _ACTIONS:
        raise _bad(f'the action "{rule.action[:40]}" of {where} does not exist')
    _check_errno(rule.errno_ret, where)
    result: dict[str, Any] = {"names": names, "action": rule.action}
    if rule.errno_ret is not None:
        result["errnoRet"] = rule.errno_ret
    arguments = list(_arguments(rule, where))
    if arguments:
        result["args"] = arguments
    return result


def _architectures(given: _Profile, arch: rules.Arch | None) -> list[str]:
    if given.architectures and given.arch_map:
        raise _bad("it has both 'architectures' and 'archMap'; use one of them")
    chosen = list(given.architectures or ())
    for entry in given.arch_map or ():
        if arch is not None and entry.architecture == arch.native:
            chosen = [entry.architecture, *(entry.sub or ())]
            break
    for name in chosen:
        if not name.startswith("SCMP_ARCH_"):
            raise _bad(f'the architecture "{name[:40]}" does not exist')
    return chosen


def from_docker_json(
    text: str, caps: Collection[str], arch: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """Translate a profile in Docker's format for one container; the arguments are ``profile``'s.

    Raises ``InvalidParameter`` for text that is not such a profile. All rules are checked, also
    those whose conditions do not hold.
    """
    if len(text) > _MAX_PROFILE:
        raise _bad(f"it is longer than {_MAX_PROFILE} characters")
    try:
        given = msgspec.json.decode(text, type=_Profile)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise _bad(f"decoding it as JSON failed: {error}") from error
    known = _arch(arch)
    if given.default_action not in _ACTIONS:
        raise _bad(f'the defaultAction "{given.default_action[:40]}" does not exist')
    _check_errno(given.default_errno_ret, "defaultErrnoRet")
    result: dict[str, Any] = {"defaultAction": given.default_action}
    if given.default_errno_ret is not None:
        result["defaultErrnoRet"] = given.default_errno_ret
    architectures = _architectures(given, known)
    if architectures:
        result["architectures"] = architectures
    for flag in given.flags or ():
        if flag not in _FLAGS:
            raise _bad(f'the flag "{flag[:60]}" does not exist')
    if given.flags:
        result["flags"] = given.flags
    if given.listener_path:
        raise _bad("a notification listener (listenerPath) is a path of the host; remove it")
    rules_kept = []
    for number, rule in enumerate(given.syscalls or ()):
        translated = _translate(rule, number)
        if _applies(rule, caps, known, kernel):
            rules_kept.append(translated)
    result["syscalls"] = rules_kept
    return result
