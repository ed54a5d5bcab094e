"""``builder.gc`` of daemon.json: from its words to the builder's rules."""

from __future__ import annotations

import msgspec

from firkin import errdefs
from firkin.builder import cachefilter, gc
from firkin.engine import quantities, times

_DEFAULT = "10%"


class Rule(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A rule of a policy."""

    all: bool = False
    filter: list[str] = []
    keep_storage: str = ""
    reserved_space: str = ""
    max_used_space: str = ""
    min_free_space: str = ""


class GC(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """``builder.gc``."""

    enabled: bool = True
    default_keep_storage: str = ""
    default_reserved_space: str = ""
    default_max_used_space: str = ""
    default_min_free_space: str = ""
    policy: list[Rule] = []


class Builder(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """``builder``."""

    gc: GC = msgspec.field(default_factory=GC)
    entitlements: dict[str, object] = {}
    history: dict[str, object] = {}


def check(config: Builder) -> None:
    """Raises ``InvalidParameter`` for what can't be used, naming the key."""
    if any(value is not None for value in config.entitlements.values()):
        raise errdefs.InvalidParameter(
            "builder.entitlements: not supported: each build asks for what it needs (--allow), and "
            "an authorization plug-in can refuse it"
        )
    if config.history:
        raise errdefs.InvalidParameter(
            "builder.history: not supported: the engine keeps no history of builds"
        )
    found = config.gc
    for key, text in (
        ("defaultKeepStorage", found.default_keep_storage),
        ("defaultReservedSpace", found.default_reserved_space),
        ("defaultMaxUsedSpace", found.default_max_used_space),
        ("defaultMinFreeSpace", found.default_min_free_space),
    ):
        quantities.check(text, f"builder.gc.{key}")
    for number, rule in enumerate(found.policy):
        where = f"builder.gc.policy[{number}]"
        for key, text in (
            ("keepStorage", rule.keep_storage),
            ("reservedSpace", rule.reserved_space),
            ("maxUsedSpace", rule.max_used_space),
            ("minFreeSpace", rule.min_free_space),
        ):
            quantities.check(text, f"{where}.{key}")
        _filters(rule, where)


def _filters(rule: Rule, where: str) -> gc.Rule:
    """The rule without its bounds. All of its filters have to match."""
    unused = 0.0
    selectors = []
    for text in rule.filter:
        key, equals, value = text.partition("=")
        value = value.removeprefix("=")
        if key in ("unused-for", "until"):
            unused = times.duration(value, f"{where}.filter")
        else:
            selectors.append(f'{key}=="{value}"' if equals else key)
    joined = ",".join(selectors)
    try:
        cachefilter.parse([joined])
    except errdefs.InvalidParameter as error:
        raise errdefs.InvalidParameter(f"{where}.filter: {error}, and unused-for") from None
    return gc.Rule(all=rule.all, unused=unused, filters=(joined,) if joined else ())


def rules(config: Builder, directory: str) -> list[gc.Rule]:
    """The rules for a data root; none when the collection is off. Blocks."""
    found = config.gc
    if not found.enabled:
        return []
    reserved = found.default_reserved_space or found.default_keep_storage
    if not found.policy:
        made = gc.default(quantities.parse(reserved or _DEFAULT, directory))
        bounds = (
            quantities.parse(found.default_max_used_space, directory),
            quantities.parse(found.default_min_free_space, directory),
        )
        if any(bounds):
            most, least_free = bounds
            made = [
                *made[:1],
                *(
                    msgspec.structs.replace(
                        rule,
                        max_used=most,
                        min_free=least_free,
                        reserved=rule.reserved if reserved else 0,
                    )
                    for rule in made[1:]
                ),
            ]
        return made
    return [
        msgspec.structs.replace(
            _filters(rule, "builder.gc.policy"),
            reserved=quantities.parse(rule.reserved_space or rule.keep_storage, directory),
            max_used=quantities.parse(rule.max_used_space, directory),
            min_free=quantities.parse(rule.min_free_space, directory),
        )
        for rule in found.policy
    ]
