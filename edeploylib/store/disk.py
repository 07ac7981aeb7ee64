"""Files written whole or not at all."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from edeploylib.errors import StoreError


def create(path: str, mode: int = 0o664) -> int:
    """The descriptor of a file, to read and write, made if there is none.

    One that root makes belongs to its folder's owner, so that the web server
    can go on with it. Raises OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    is_new = not os.path.exists(path)
    descriptor = os.open(path, flags, mode)
    if is_new:
        _give_to_owner(descriptor, path)
    return descriptor


def _give_to_owner(descriptor: int, path: str) -> None:
    if os.geteuid() == 0:
        folder = os.stat(os.path.dirname(path) or '.')
        os.fchown(descriptor, folder.st_uid, folder.st_gid)


def read(path: str) -> bytes | None:
    """A file's content; None if there is no such file, not even its folder."""
    try:
        with open(path, 'rb') as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f'cannot read {path}: {error.strerror}') from None


def write(texts: Mapping[str, bytes], is_due: Callable[[str], bool] = bool) -> None:
    """Write each text to its path, durably; raises StoreError."""
    publish(stage(texts), texts, is_due)


def stage(texts: Mapping[str, bytes], like: Mapping[str, str] | None = None) -> dict[str, str]:
    """Each text beside its file, under a name of its own, safely on the disk.

    It has the mode and owner of the file that it replaces, or of the one that
    ``like`` names for it. A file whose folder is not writable is left out: it
    is written in place.
    """
    staged: dict[str, str] = {}
    for path, text in texts.items():
        folder, name = os.path.split(path)
        beside = os.path.join(folder, f'.{name}.new')
        try:
            _write_new(beside, text, (like or {}).get(path, path))
            staged[path] = beside
        except OSError as error:
            if isinstance(error, PermissionError) and os.access(path, os.W_OK):
                continue
            discard([*staged.values(), beside])
            raise _cannot_write(path, error) from None
    return staged


def discard(staged: Iterable[str]) -> None:
    """Remove what was staged and is not to be."""
    for beside in staged:
        with suppress(OSError):
            os.unlink(beside)


def _write_new(beside: str, text: bytes, like: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(beside)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(beside, flags, 0o644), 'wb') as file:
        _keep_owner(file.fileno(), like)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _keep_owner(descriptor: int, path: str) -> None:
    """Give a new file the mode and owner of the one that it replaces."""
    try:
        old = os.stat(path)
    except FileNotFoundError:
        _give_to_owner(descriptor, path)
        return
    os.fchmod(descriptor, old.st_mode & 0o777)
    with suppress(PermissionError):
        os.fchown(descriptor, old.st_uid, old.st_gid)


def publish(
    staged: Mapping[str, str], texts: Mapping[str, bytes], is_due: Callable[[str], bool] = bool
) -> None:
    """Put staged texts in their places, and the others over theirs.

    ``is_due`` is asked of each path in the last moment: what somebody has
    written there meanwhile stays.
    """
    folders = set()
    for path, text in texts.items():
        if not is_due(path):
            discard(staged[path] for path in [path] if path in staged)
            continue
        try:
            if path in staged:
                os.rename(staged[path], path)
                folders.add(os.path.dirname(path))
            else:
                _write_in_place(path, text)
        except OSError as error:
            raise _cannot_write(path, error) from None
    for folder in folders:
        _sync_folder(folder)


def _write_in_place(path: str, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    with open(descriptor, 'wb') as file:
        size = os.fstat(descriptor).st_size
        try:
            os.posix_fallocate(descriptor, 0, max(len(text), 1))
        except OSError:
            # A full disk is told before anything is overwritten.
            os.ftruncate(descriptor, size)
            raise
        file.write(text)
        file.truncate()
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    finally:
        os.close(descriptor)


def _cannot_write(path: str, error: OSError) -> StoreError:
    hint = 'the folder, or the file, must be writable for the user of the web server'
    return StoreError(
        f'cannot write {path}: {error.strerror or error}',
        hint=hint if isinstance(error, PermissionError) else '',
    )
