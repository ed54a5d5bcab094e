"""SIGHUP: the configuration is read again, and what can change while the engine runs changes.

That is what Docker reloads too. Everything else keeps its value until the next start, which the log
says. A file with a mistake changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from firkin import errdefs
from firkin.engine import config as configuration
from firkin.engine import core as engine
from firkin.engine import defaults, flags, logbook, registries
from firkin.linux import systemd

log = logging.getLogger(__name__)

Hook = Callable[[configuration.Config], None]

_REGISTRIES = (
    "insecure_registries", "registry_mirrors", "mirrors", "proxies",
    "max_concurrent_downloads", "max_concurrent_uploads", "max_download_attempts",
)  # fmt: skip
_CHANGEABLE = (
    "authorization_plugins", "builder", "data_root_collect", "data_root_quota",
    "data_root_reserve", "debug", "default_runtime", "features", "labels", "live_restore",
    "log_level", "runtimes", "shutdown_timeout", *_REGISTRIES,
    *defaults.Defaults.__struct_fields__,
)  # fmt: skip


def reload(core: engine.Core, words: list[str], hooks: Sequence[Hook] = ()) -> None:
    """Read the configuration of the command line ``words`` again and apply what differs.

    Each of ``hooks`` is then called with the new configuration, whatever has changed. One that
    raises ``FirkinError`` has changed nothing.
    """
    systemd.notify("RELOADING=1")
    try:
        _apply(core, words, hooks)
    finally:
        systemd.notify("READY=1")


def _apply(core: engine.Core, words: list[str], hooks: Sequence[Hook]) -> None:
    try:
        wanted = flags.parse(words)
        found = registries.settings(wanted) if wanted is not None else None
    except (errdefs.FirkinError, OSError) as error:
        log.error("reload: %s; nothing was changed", error)
        return
    if wanted is None:
        return
    for name in configuration.Config.__struct_fields__:
        before, after = getattr(core.config, name), getattr(wanted, name)
        if before == after:
            continue
        shown = name.replace("_", "-")
        if name in _CHANGEABLE:
            setattr(core.config, name, after)
            log.info("reload: %s is now %r", shown, after)
        else:
            log.warning("reload: %s keeps %r until the engine is started again", shown, before)
    if found is not None and found != core.images.registries.settings:
        core.images.configure(found)
    logbook.quiet(core.config)
    for hook in hooks:
        try:
            hook(core.config)
        except errdefs.FirkinError as error:
            log.error("reload: %s; what was there stays", error)
    core.events.publish("daemon", "reload", core.engine_id, {"name": core.host.hostname})
