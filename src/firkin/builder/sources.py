"""Files from elsewhere: by HTTP, and from Git repositories."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import hashlib
import os
import re
import shlex
import urllib.parse
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp

from firkin import errdefs
from firkin.builder import graph, request, trees
from firkin.linux import process

if TYPE_CHECKING:
    from firkin.builder import steps

_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=30, sock_read=120)
_GIT_TIMEOUT = 1800.0
_SSH = (
    "ssh -F none -o BatchMode=yes -o IdentityFile=none -o StrictHostKeyChecking=accept-new "
    "-o UserKnownHostsFile={}"
)
"""Keys come from the client's agent alone: those of this host's root are not the Dockerfile's."""

_SHA = re.compile(r"[0-9a-f]{40}")
_GIT_URL = re.compile(
    r"(?:git://|git@[^/:]+:|ssh://|https?://[^#?]+\.git(?:[?#]|$)|file://.*\.git)"
)


def is_git(text: str) -> bool:
    """Whether the source of an ADD, or a context, is a Git repository."""
    return bool(_GIT_URL.match(text)) or text.startswith("github.com/")


def is_url(text: str) -> bool:
    """Whether it is something to download."""
    return text.startswith(("http://", "https://"))


def parse_git(text: str) -> graph.Checkout:
    """``URL#ref:subdir``, or the same as a query (``?ref= subdir= checksum= keep-git-dir=``)."""
    if text.startswith("github.com/"):
        text = "https://" + text
    url, _, fragment = text.partition("#")
    ref, _, subdir = fragment.partition(":")
    keep, checksum = False, ""
    base, question, query = url.partition("?")
    if question:
        known = urllib.parse.parse_qs(query, keep_blank_values=True)
        for name, values in known.items():
            value = values[-1]
            if name in ("ref", "branch", "tag"):
                ref = value
            elif name == "subdir":
                subdir = value
            elif name in ("commit", "checksum"):
                checksum = value
            elif name == "keep-git-dir":
                keep = value.lower() in ("", "1", "true")
            elif name not in ("submodules", "fetch-by-commit"):
                raise errdefs.InvalidParameter(f"unexpected query parameter {name!r} in {text!r}")
        url = base
    if ".." in subdir.split("/"):
        raise errdefs.InvalidParameter(f"the sub-directory of {text!r} leads out of the repository")
    return graph.Checkout(
        url=url, ref=ref, subdir=subdir.strip("/"), keep_git_dir=keep, checksum=checksum
    )


def credentials(url: str, token: str) -> str:
    """A Git configuration that sends ``token`` to ``url``.

    The URL is the Dockerfile's: as it stands in a section's name it must not begin another section,
    since a configuration can name programs. Raises ``InvalidParameter`` for control characters.
    """
    if any(ord(c) < 32 or ord(c) == 127 for c in url + token):
        raise errdefs.InvalidParameter(
            f"the Git URL {url!r} or its token GIT_AUTH_TOKEN has control characters"
        )
    section, value = (text.replace("\\", "\\\\").replace('"', '\\"') for text in (url, token))
    return f'[http "{section}"]\n\textraHeader = "Authorization: Bearer {value}"\n'


@contextlib.asynccontextmanager
async def download(
    workshop: steps.Workshop, op: graph.Download, secrets: request.Secrets
) -> AsyncIterator[trees.Tree]:
    """A tree with the file at a URL, which is verified when a checksum is known."""
    async with workshop.trees.place() as place:
        path = os.path.join(place, op.filename)
        headers = {"Accept-Encoding": "identity", "User-Agent": "firkin-builder"}
        host = urllib.parse.urlsplit(op.url).hostname or ""
        for name, form in ((f"HTTP_AUTH_HEADER_{host}", "{}"), (f"HTTP_AUTH_TOKEN_{host}",
                                                                  "Bearer {}")):  # fmt: skip
            if (value := await secrets.get(name)) is not None:
                headers["Authorization"] = form.format(value.decode("utf-8", "replace").strip())
                break
        found = await fetch(op.url, path, headers)
        if op.checksum and found.lower() != op.checksum.lower():
            raise errdefs.InvalidParameter(
                f"digest mismatch sha256:{found}: sha256:{op.checksum} was expected of {op.url}"
            )
        yield trees.Tree(root=place)


async def fetch(url: str, path: str, headers: dict[str, str] | None = None) -> str:
    """Download to a file of mode 0600, with the time of Last-Modified; returns its SHA-256.

    Raises ``InvalidParameter`` when the server has no such file.
    """
    hasher = hashlib.sha256()
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False, trust_env=True) as http,
            http.get(url, headers=headers) as answer,
        ):
            if answer.status != 200:
                raise errdefs.InvalidParameter(
                    f"cannot download {url}: the server answered {answer.status} {answer.reason}"
                )
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb", buffering=0) as file:
                async for data in answer.content.iter_chunked(1 << 20):
                    hasher.update(data)
                    await asyncio.to_thread(file.write, data)
            modified = answer.headers.get("Last-Modified", "")
    except (aiohttp.ClientError, TimeoutError, UnicodeError) as error:
        raise errdefs.InvalidParameter(f"cannot download {url}: {error}") from error
    seconds = 0.0
    with contextlib.suppress(ValueError, TypeError):
        seconds = email.utils.parsedate_to_datetime(modified).timestamp()
    os.utime(path, (seconds, seconds))
    return hasher.hexdigest()


async def _git(*words: str, cwd: str, env: dict[str, str]) -> str:
    result = await process.run(["git", "-C", cwd, *words], timeout=_GIT_TIMEOUT, env=env)
    if result.code:
        raise errdefs.InvalidParameter(f"git {words[0]} failed: {process.complaint(result)}")
    return result.stdout.decode("utf-8", "replace").strip()


@contextlib.asynccontextmanager
async def checkout(
    workshop: steps.Workshop, op: graph.Checkout, wanted: request.Request
) -> AsyncIterator[trees.Tree]:
    """A tree with a commit of a repository, or a directory of it."""
    async with workshop.trees.place() as place:
        home = os.path.join(place, "home")
        work = os.path.join(place, "work")
        os.mkdir(home)
        os.mkdir(work)
        env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": home,
            "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
            "GIT_SSH_COMMAND": _SSH.format(shlex.quote(os.path.join(home, "known_hosts"))),
            "GIT_ALLOW_PROTOCOL": "http:https:git:ssh",
        }  # fmt: skip
        for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            if name in os.environ:
                env[name] = os.environ[name]
        if (agent := await wanted.agents.socket("default")) is not None:
            env["SSH_AUTH_SOCK"] = agent
        token = await wanted.secrets.get("GIT_AUTH_TOKEN")
        if token is not None:
            # In a file, not in an argument: arguments can be seen by everybody.
            words = token.decode("utf-8", "replace").strip()
            with open(os.path.join(home, ".gitconfig"), "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(credentials(op.url, words))
        await _git("init", "-q", cwd=work, env=env)
        await _git("remote", "add", "origin", "--", op.url, cwd=work, env=env)
        ref = op.ref or "HEAD"
        if ref.startswith("-"):
            raise errdefs.InvalidParameter(f"invalid Git ref {ref!r}")
        try:
            await _git("fetch", "-q", "--depth=1", "origin", ref, cwd=work, env=env)
        except errdefs.InvalidParameter as error:
            # Servers may refuse to hand out a commit by its id alone, and those that only have
            # files know no depth.
            if _SHA.fullmatch(ref):
                await _git("fetch", "-q", "--tags", "origin", cwd=work, env=env)
                await _git("update-ref", "FETCH_HEAD", ref, cwd=work, env=env)
            elif "shallow" in str(error):
                await _git("fetch", "-q", "origin", ref, cwd=work, env=env)
            else:
                raise
        await _git("checkout", "-q", "--force", "--detach", "FETCH_HEAD", cwd=work, env=env)
        commit = await _git("rev-parse", "HEAD", cwd=work, env=env)
        if op.checksum and not commit.startswith(op.checksum.lower()):
            raise errdefs.InvalidParameter(
                f"{op.url}: {ref} is the commit {commit}, {op.checksum} was expected"
            )
        if os.path.exists(os.path.join(work, ".gitmodules")):
            await _git("submodule", "update", "-q", "--init", "--recursive", "--depth=1",
                       cwd=work, env=env)  # fmt: skip
        root = os.path.join(work, op.subdir) if op.subdir else work
        top = os.path.realpath(work)
        inside = os.path.commonpath((top, os.path.realpath(root))) == top
        if not inside or not os.path.isdir(root):
            raise errdefs.InvalidParameter(f"{op.url} has no directory {op.subdir!r} at {ref}")
        keep = op.keep_git_dir and not op.subdir
        await asyncio.to_thread(_settle, work, root, keep)
        yield trees.Tree(root=root, commit=commit)


def _settle(work: str, root: str, keep: bool) -> None:
    """Modes 0644 and 0755; .git only where it is wanted. Blocks."""
    import shutil

    if not keep:
        shutil.rmtree(os.path.join(work, ".git"))
    for path, directories, names in os.walk(root):
        for name in directories:
            if not os.path.islink(os.path.join(path, name)):
                os.chmod(os.path.join(path, name), 0o755)
        for name in names:
            full = os.path.join(path, name)
            if not os.path.islink(full):
                os.chmod(full, 0o755 if os.access(full, os.X_OK) and
                         os.stat(full).st_mode & 0o100 else 0o644)  # fmt: skip
