"""What the web server's user may not do with the files, by owner, group and mode.

Access lists, capabilities and read-only mounts are not looked at.
"""

from collections.abc import Iterable, Iterator, Mapping
from posixpath import dirname
from typing import NamedTuple

from edeploylib.check.findings import Finding
from edeploylib.errors import Place

READ, WRITE, PASS = 4, 2, 1


class User(NamedTuple):
    name: str
    uid: int
    gids: frozenset[int]


class Inode(NamedTuple):
    """``mode`` are the permission bits."""

    mode: int
    uid: int
    gid: int
    is_folder: bool


class Need(NamedTuple):
    """``path`` is absolute and without links; ``bits`` are those of the file itself.

    ``why`` says what for, as the end of a sentence.
    """

    path: str
    bits: int
    why: str


Inodes = Mapping[str, Inode]


def may(user: User, inode: Inode, bits: int) -> bool:
    """Whether the user has these permissions: by the first class that it belongs to."""
    if user.uid == 0:
        return inode.is_folder or not bits & PASS
    shift = 6 if user.uid == inode.uid else 3 if inode.gid in user.gids else 0
    return (inode.mode >> shift) & bits == bits


def _barrier(user: User, path: str, inodes: Inodes) -> str | None:
    """The uppermost folder above the path that the user cannot pass."""
    above = []
    while dirname(path) != path:
        path = dirname(path)
        above.append(path)
    for folder in reversed(above):
        if folder in inodes and not may(user, inodes[folder], PASS):
            return folder
    return None


def check_permissions(user: User, needs: Iterable[Need], inodes: Inodes) -> Iterator[Finding]:
    """What of it is not there is none of this check's business."""
    said: set[tuple[str, str]] = set()
    for finding in _lacking(user, needs, inodes):
        if (finding.code, finding.place.origin) not in said:
            said.add((finding.code, finding.place.origin))
            yield finding


def _lacking(user: User, needs: Iterable[Need], inodes: Inodes) -> Iterator[Finding]:
    for need in needs:
        barrier = _barrier(user, need.path, inodes)
        if barrier is not None:
            message = f'user {user.name!r} cannot pass it, {_owned(inodes[barrier])}'
            yield Finding('not-readable', Place(barrier), message, f'chmod a+x {barrier}')
            continue
        inode = inodes.get(need.path)
        if inode is None or may(user, inode, need.bits):
            continue
        if not may(user, inode, need.bits & ~WRITE):
            message = f'user {user.name!r} cannot read it, {_owned(inode)}'
            yield Finding('not-readable', Place(need.path), message)
        else:
            message = f'user {user.name!r} cannot write it, {_owned(inode)}: {need.why}'
            hint = f'chown {user.name}: {need.path}'
            yield Finding('not-writable', Place(need.path), message, hint)


def _owned(inode: Inode) -> str:
    return f'which has mode {inode.mode:04o}, user {inode.uid} and group {inode.gid}'
