"""What was made of a file, kept for as long as the file is the same."""

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from edeploylib.errors import StoreError

T = TypeVar('T')

# Device, inode, size, and the times of the last change, which some tools set
# back, and of the last change to that.
_Identity = tuple[int, int, int, int, int]

# A file that has changed so lately may change again within one tick of its
# file system's clock, and keep its identity.
_SETTLED = 2_000_000_000
_MOST = 10_000


class Parsed(Generic[T]):
    """What was made of a file, and the SHA-256 of its content."""

    __slots__ = ('digest', 'value')

    def __init__(self, value: T, digest: str) -> None:
        self.value = value
        self.digest = digest


_kept: dict[tuple[str, object], tuple[_Identity, Parsed[Any]]] = {}


def parsed(path: str, parse: Callable[[str | bytes, str], T]) -> Parsed[T] | None:
    """``parse(content, path)``, of now or of before; None if there is no such file.

    Raises StoreError if the file cannot be read.
    """
    try:
        known = _kept.get((path, parse))
        if known is not None and known[0] == _identity(os.stat(path)):
            return known[1]
        for _ in range(3):  # again, if it changes while it is read
            with open(path, 'rb') as file:
                now = time.time_ns()
                before = os.fstat(file.fileno())
                content = file.read()
                after = os.fstat(file.fileno())
            if _identity(before) == _identity(after):
                break
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f'cannot read {path}: {error.strerror}') from None
    found = Parsed(parse(content, path), hashlib.sha256(content).hexdigest())
    identity = _identity(after)
    if identity == _identity(before) and max(identity[3:]) + _SETTLED < now:
        if len(_kept) >= _MOST:
            _kept.clear()
        _kept[path, parse] = (identity, found)
    return found


def _identity(stat: os.stat_result) -> _Identity:
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
