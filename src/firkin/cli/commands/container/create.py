"""``firkin create``, and the part of ``run`` that makes the container."""

from __future__ import annotations

import os

from firkin.cli import errors, flags, terminal
from firkin.cli.opts import body, proxies, runflags
from firkin.client import api, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a container without starting it",
    runflags.FLAGS,
    flags.at_least(1),
    interspersed=False,
)

PULL_POLICIES = ("always", "missing", "never")


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    request = body.build(values, args)
    cli.print(create(cli, values, request))
    return 0


def create(cli: context.Cli, values: flags.Values, request: dict[str, Any]) -> str:
    """Create the container, after a pull if that is needed and wanted; returns its ID."""
    policy = values.text("pull") or "missing"
    if policy not in PULL_POLICIES:
        raise errors.CliError(
            f'invalid pull option: \'{policy}\': must be one of "always", "missing" or "never"',
            errors.FLAG_STATUS,
        )
    image = request["Image"]
    if not image:
        raise errors.CliError("invalid reference format: the image's name is empty")
    platform = values.text("platform") or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    if platform:
        from firkin.cli import platforms

        platforms.check(platform, "error parsing specified platform: ")
    if request["Tty"] and (size := terminal.size()):
        request["HostConfig"]["ConsoleSize"] = list(size)
    proxies.apply(cli, request)
    config = b""
    if values.flag("use-api-socket"):
        from firkin.cli import apisocket

        config = apisocket.prepare(cli, request)
    cidfile = _CidFile(values.text("cidfile"))
    try:
        if policy == "always":
            _pull(cli, image, platform, values.flag("quiet"))
        name = values.text("name")
        if values.flag("replace") and not name:
            raise errors.CliError("--replace needs a --name to replace", errors.FLAG_STATUS)
        try:
            created = _create(cli, values, request, platform)
        except api.APIError as error:
            if error.status != 404 or policy != "missing":
                raise
            cli.warn(f"Unable to find image '{_with_tag(image)}' locally")
            _pull(cli, image, platform, values.flag("quiet"))
            created = _create(cli, values, request, platform)
        identity = str(created["Id"])
        cidfile.write(identity)
    finally:
        cidfile.close()
    if config:
        from firkin.cli import apisocket

        apisocket.deliver(cli, identity, config)
    for warning in created.get("Warnings") or ():
        cli.warn(f"WARNING: {warning}")
    return identity


def _create(
    cli: context.Cli, values: flags.Values, request: dict[str, Any], platform: str
) -> dict[str, Any]:
    """Create; with ``--replace`` the present owner of the name goes when nothing else is wrong."""
    name = values.text("name")
    while True:
        try:
            return containers.create(cli.client, request, name=name, platform=platform)
        except api.APIError as error:
            taken = error.status == 409 and "is already in use by container" in error.message
            if not (taken and values.flag("replace")):
                raise
        try:
            containers.remove(cli.client, name, force=True, volumes=True)
        except api.APIError as error:
            if error.status != 404:
                raise


class _CidFile:
    """The file of ``--cidfile``: made before the container, and gone again if there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._written = False
        if not path:
            return
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            raise errors.CliError(
                f"container ID file found, make sure the other container isn't running or "
                f"delete {path}",
                errors.FLAG_STATUS,
            ) from None
        except OSError as error:
            raise errors.CliError(
                f"failed to create the container ID file: open {path}: "
                + (error.strerror or str(error)).lower(),
                errors.FLAG_STATUS,
            ) from None

    def write(self, identity: str) -> None:
        if self._fd >= 0:
            os.write(self._fd, identity.encode())
            self._written = True

    def close(self) -> None:
        if self._fd < 0:
            return
        os.close(self._fd)
        if not self._written:
            os.unlink(self._path)


def split_image(image: str) -> tuple[str, str]:
    """An image's name, and its tag or digest; ``latest`` without either."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    head, slash, last = name.rpartition("/")
    base, colon, tag = last.partition(":")
    return head + slash + base, tag if colon else "latest"


def _with_tag(image: str) -> str:
    name, tag = split_image(image)
    return image if "@" in image else f"{name}:{tag}"


def _pull(cli: context.Cli, image: str, platform: str, quiet: bool) -> None:
    """Have the engine pull the image, with its progress on standard error."""
    from firkin.cli.commands.image import pull

    try:
        pull.fetch(cli, _with_tag(image), platform=platform, quiet=quiet, to_stderr=True)
    except errors.CliError as error:
        raise errors.CliError(str(error), errors.FLAG_STATUS) from None
