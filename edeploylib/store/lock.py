"""One decision at a time, by a lock that the kernel drops with its holder."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Semaphore, Thread

from edeploylib.errors import LockTimeout, StoreError
from edeploylib.store.disk import create

# Threads wait on after their callers have given up: so many at most.
_waiters = Semaphore(64)

# Bytes of the line that says who holds a lock.
_LINE = 120


@contextmanager
def locked(path: str, timeout: float, who: str) -> Iterator[None]:
    """Hold the lock file for the block; the file says who holds it and since when.

    Raises LockTimeout, which names the holder, when ``timeout`` seconds have
    passed, and StoreError if the file cannot be opened.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            descriptor = create(path)
        except OSError as error:
            raise StoreError(f'cannot open the lock file {path}: {error.strerror}') from None
        try:
            _acquire(descriptor, path, deadline, timeout)
            if _is_still(descriptor, path):
                _sign(descriptor, who)
                try:
                    yield
                finally:
                    _write(descriptor, '')
                return
        finally:
            os.close(descriptor)


def _is_still(descriptor: int, path: str) -> bool:
    """Whether the file is the one of that path: somebody may have deleted it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _acquire(descriptor: int, path: str, deadline: float, timeout: float) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        pass
    except OSError as error:
        raise StoreError(f'cannot lock {path}: {error.strerror}') from None
    if not _wait(descriptor, deadline):
        holder = os.pread(descriptor, _LINE, 0).decode(errors='replace').strip()
        raise LockTimeout(
            f'the lock {path} was not free within {timeout:g} s: held by {holder or "another"}'
        )


def _wait(descriptor: int, deadline: float) -> bool:
    """Wait for the kernel in a thread, which alone can be given up on."""
    if not _waiters.acquire(timeout=_left(deadline)):
        return False
    # A second descriptor of the same open file: a thread that gets the lock
    # after its caller has gone drops it by closing the last one.
    waiting = os.dup(descriptor)
    acquired = Event()

    def wait() -> None:
        try:
            fcntl.flock(waiting, fcntl.LOCK_EX)
            acquired.set()
        except OSError:
            pass  # never acquired: the caller's deadline says so
        finally:
            os.close(waiting)
            _waiters.release()

    Thread(target=wait, daemon=True).start()
    return acquired.wait(_left(deadline))


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0)


def _sign(descriptor: int, who: str) -> None:
    since = time.strftime('%Y-%m-%d %H:%M:%S %z')
    by = f' for {who[:60]}' if who else ''
    _write(descriptor, f'pid {os.getpid()}{by} since {since}')


def _write(descriptor: int, holder: str) -> None:
    """Over the whole of what the one before has written."""
    with suppress(OSError):  # a full disk keeps nobody from holding the lock
        os.pwrite(descriptor, holder.encode()[:_LINE].ljust(_LINE) + b'\n', 0)
