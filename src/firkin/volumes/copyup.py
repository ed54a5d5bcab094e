"""Filling a new volume with what the image has at its mount point (copy-up)."""

from __future__ import annotations

import os
import stat

from firkin.linux import syscalls


def copy_up(rootfs: str, path: str, volume: str) -> None:
    """Copy ``path`` inside ``rootfs`` into the directory ``volume`` if that is empty.

    Ownership, modes, times, extended attributes and hard links inside the tree are kept; symbolic
    links are copied as links, and none of them is followed out of ``rootfs``.
    """
    if os.listdir(volume):
        return
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            source = syscalls.openat2(
                root, path, os.O_RDONLY | os.O_DIRECTORY, resolve=syscalls.RESOLVE_IN_ROOT
            )
        except (FileNotFoundError, NotADirectoryError):
            return
    finally:
        os.close(root)
    target = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _copy_directory(source, target, {}, target)
    finally:
        os.close(source)
        os.close(target)


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _copy_directory(
    source: int, target: int, links: dict[tuple[int, int], str], top: int, prefix: str = ""
) -> None:
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        identity = (status.st_dev, status.st_ino)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target)
            inner_source = os.open(name, _DIRECTORY, dir_fd=source)
            inner_target = os.open(name, _DIRECTORY, dir_fd=target)
            try:
                _copy_directory(inner_source, inner_target, links, top, f"{prefix}{name}/")
            finally:
                os.close(inner_source)
                os.close(inner_target)
            continue
        if status.st_nlink > 1 and identity in links:
            os.link(links[identity], name, src_dir_fd=top, dst_dir_fd=target, follow_symlinks=False)
            continue
        links[identity] = prefix + name
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
            os.utime(
                name,
                ns=(status.st_atime_ns, status.st_mtime_ns),
                dir_fd=target,
                follow_symlinks=False,
            )
        elif kind == stat.S_IFREG:
            _copy_file(source, target, name)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO):
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target)
    _copy_metadata(source, target)


def _copy_file(source: int, target: int, name: str) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        writing = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target
        )
        try:
            while os.sendfile(writing, reading, None, 1 << 30):
                pass
            _copy_metadata(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_metadata(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    for attribute in os.listxattr(source):
        if not attribute.startswith("trusted.overlay"):
            try:
                os.setxattr(target, attribute, os.getxattr(source, attribute))
            except OSError:
                continue  # an attribute that the volume's file system has not
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
