"""What machines send only to be kept: logs, and the results of health checks.

A client's name for a file is cleaned to a safe alphabet. Folders are opened
without following links below the one that the settings name, and files are
replaced, never followed: nothing is written elsewhere.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from edeploylib.errors import SettingsError, StoreError, UploadError
from edeploylib.inventory import Inventory
from edeploylib.settings import Settings
from edeploylib.store.lock import locked

_LONGEST_NAME = 150
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def save_log(filename: str, content: IO[bytes], settings: Settings, who: str = '') -> str:
    """Save a machine's ``*.log.gz`` in LOGDIR; returns the name that it has there.

    An older one of that name is kept as ``NAME.YYYYmmddHHMMSS.log.gz``, by the
    time that it was saved. Raises SettingsError if there is no LOGDIR,
    StoreError, and LockTimeout.
    """
    top = _top(settings.logdir, 'LOGDIR', settings)
    stem = _clean(filename.replace('\\', '/').rpartition('/')[2].removesuffix('.log.gz'))
    name = f'{stem or "unknown"}.log.gz'
    with (
        locked(f'{top}/.lock', settings.lock_timeout, who),
        _opened(top, []) as folder,
        _staged(f'{top}/{name}', folder, iter(lambda: content.read(1 << 16), b'')) as staged,
    ):
        with suppress(FileNotFoundError):
            saved = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
            former = _free(stem or 'unknown', saved, folder)
            os.rename(name, former, src_dir_fd=folder, dst_dir_fd=folder)
        os.rename(staged, name, src_dir_fd=folder, dst_dir_fd=folder)
    return name


def save_health(
    session: str, inventory: Inventory, settings: Settings, now: float | None = None
) -> str:
    """Save the result of a health check; returns its path under HEALTHDIR.

    That is ``SESSION/YYYY_MM_DD-HHhMM/SYSNAME.hw``, of the minute in local time.
    Raises UploadError for a session without a letter or digit, and as ``save_log``.
    """
    top = _top(settings.healthdir, 'HEALTHDIR', settings)
    folders = [_clean(session), time.strftime('%Y_%m_%d-%Hh%M', time.localtime(now))]
    if not folders[0]:
        raise UploadError(f'expected a session with a letter or digit, found {session!a:.99}')
    name = f'{inventory.sysname}.hw'
    path = '/'.join([*folders, name])
    with (
        locked(f'{top}/.lock', settings.lock_timeout, name),
        _opened(top, folders) as folder,
        _staged(f'{top}/{path}', folder, [inventory.render().encode()]) as staged,
    ):
        os.rename(staged, name, src_dir_fd=folder, dst_dir_fd=folder)
    return path


def _clean(text: str) -> str:
    """A text in the alphabet of file names; no dots at its ends, so that it is no path."""
    return re.sub(r'[^A-Za-z0-9._-]', '', text)[:_LONGEST_NAME].strip('.-')


def _top(folder: str, setting: str, settings: Settings) -> str:
    if not folder:
        raise SettingsError(
            f'expected {setting} in section [{settings.section}] of the settings file'
        )
    with _reported(folder), suppress(FileExistsError):
        os.mkdir(folder)
    return folder


@contextmanager
def _opened(top: str, below: Iterable[str]) -> Iterator[int]:
    """The descriptor of a folder, made where it is missing."""
    path = top
    with _reported(path):
        folder = os.open(top, _FOLDER & ~os.O_NOFOLLOW)
    try:
        for name in below:
            path = f'{path}/{name}'
            with _reported(path):
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=folder)
                inner = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _staged(path: str, folder: int, chunks: Iterable[bytes]) -> Iterator[str]:
    """Content beside its file, safely on the disk, for the block to put in its place."""
    beside = f'.{os.path.basename(path)}.new'
    with _reported(path):
        try:
            with suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(beside, flags, 0o644, dir_fd=folder), 'wb') as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            yield beside
            os.fsync(folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside, dir_fd=folder)
            raise


def _free(stem: str, saved: float, folder: int) -> str:
    """The name of a file of that time, or of the next second that none has."""
    there = set(os.listdir(folder))
    second = int(saved)
    while True:
        stamp = time.strftime('%Y%m%d%H%M%S', time.localtime(second))
        if f'{stem}.{stamp}.log.gz' not in there:
            return f'{stem}.{stamp}.log.gz'
        second += 1


@contextmanager
def _reported(path: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f'cannot write {path}: {error.strerror or error}') from None
