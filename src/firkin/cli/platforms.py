"""``--platform``: what can be one, before anything is asked of the engine.

``os[/architecture[/variant]]``, or an architecture alone; a version in brackets may follow the os.
The names that may stand alone are those of Go, with the spellings that image tools take for them.
"""

from __future__ import annotations

from firkin import errdefs

_SYSTEMS = frozenset(
    (
        "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux",
        "macos", "nacl", "netbsd", "openbsd", "plan9", "solaris", "windows", "zos",
    )
)  # fmt: skip
_ARCHITECTURES = frozenset(
    (
        "386", "aarch64", "amd64", "amd64p32", "arm", "arm64", "arm64be", "armbe", "armel", "armhf",
        "i386", "loong64", "mips", "mips64", "mips64le", "mips64p32", "mips64p32le", "mipsle",
        "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64", "wasm",
        "x86-64", "x86_64",
    )
)  # fmt: skip
_MOST = 3
_PART = 'platform specifier component must match "^[A-Za-z0-9_.-]+$"'
_SYSTEM = (
    "OSAndVersion specifier component must match "
    '"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.-]*)\\\\))?$"'
)


def check(text: str, start: str) -> None:
    """Raise InvalidParameter for what is no platform, with ``start`` before the reason.

    The words are the official client's.
    """
    if not text:
        return
    parts = text.split("/")
    if len(parts) > _MOST:
        raise _wrong(f'{start}"{text}": cannot parse platform specifier')
    name, bracket, version = parts[0].partition("(")
    if not _made_of(name, "_-") or (bracket and not _made_of(version[:-1] + "x", "_-.")):
        raise _wrong(f'{start}"{parts[0]}" is an invalid OS component of "{text}": {_SYSTEM}')
    for part in parts[1:]:
        if not _made_of(part, "_-."):
            raise _wrong(f'{start}"{part}" is an invalid component of "{text}": {_PART}')
    name = name.lower()
    if len(parts) == 1 and name not in _SYSTEMS and name not in _ARCHITECTURES:
        raise _wrong(f'{start}"{text}": unknown operating system or architecture')


def _made_of(text: str, more: str) -> bool:
    return text != "" and all(char.isascii() and (char.isalnum() or char in more) for char in text)


def _wrong(message: str) -> errdefs.InvalidParameter:
    return errdefs.InvalidParameter(f"{message}: invalid argument")
