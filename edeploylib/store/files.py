"""The store of a running service: CONFIGDIR, HWDIR, LOCKFILE and the ledger."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress

from edeploylib.errors import StoreError
from edeploylib.identity import Key, Machine
from edeploylib.inventory import Inventory
from edeploylib.select import Assignment, Decision
from edeploylib.settings import Settings
from edeploylib.state import ProfileName
from edeploylib.store.ledger import Ledger
from edeploylib.store.lock import locked
from edeploylib.store.texts import Texts


class FileStore:
    """One section of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @contextmanager
    def transaction(self, who: str = '') -> Iterator['FileTransaction']:
        settings = self._settings
        with (
            locked(settings.lockfile, settings.lock_timeout, who),
            closing(Ledger(settings.ledger, settings.section)) as ledger,
        ):
            left = ledger.unwritten()
            if left:
                # The last holder died between its commit and its files.
                _write(left)
                ledger.written()
            yield FileTransaction(settings, ledger)


class FileTransaction(Texts):
    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        super().__init__(self._file, settings.configdir)
        self._settings = settings
        self._ledger = ledger

    def _file(self, name: str) -> bytes | None:
        path = os.path.join(self._settings.configdir, name)
        try:
            with open(path, 'rb') as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f'cannot read {path}: {error.strerror}') from None

    def machines(self, keys: Iterable[Key]) -> list[Machine]:
        return self._ledger.machines(keys)

    def assignment(self, machine: Machine) -> Assignment | None:
        return self._ledger.assignment(machine)

    def assignments(self, profile: ProfileName) -> list[Assignment]:
        return self._ledger.assignments(profile)

    def save(self, inventory: Inventory) -> None:
        """As HWDIR/SYSNAME.hw."""
        path = os.path.join(self._settings.hwdir, f'{inventory.sysname}.hw')
        _write({path: inventory.render().encode()})

    def commit(self, decision: Decision) -> None:
        """Write the files beside, commit the ledger, then rename the files.

        What a crash leaves undone after the ledger's commit is done by the
        next transaction.
        """
        if decision.profile is None:
            return
        texts = self._texts(decision)
        staged = _stage(texts)
        self._ledger.record(decision, texts)
        _publish(staged, texts)
        if texts:
            self._ledger.written()

    def _texts(self, decision: Decision) -> dict[str, bytes]:
        texts: dict[str, str] = {}
        for profile, cmdb in decision.changes.cmdbs.items():
            if cmdb.is_synthetic:
                texts[f'{profile}.cmdb.orig'] = cmdb.text
            texts[f'{profile}.cmdb'] = cmdb.render()
        if decision.changes.state is not None:
            texts['state'] = decision.changes.state.render()
        folder = self._settings.configdir
        return {
            os.path.realpath(os.path.join(folder, name)): text.encode()
            for name, text in texts.items()
        }


def _write(texts: Mapping[str, bytes]) -> None:
    _publish(_stage(texts), texts)


def _stage(texts: Mapping[str, bytes]) -> dict[str, str]:
    """Each text beside its file, under a name of its own, safely on the disk.

    A file whose folder is not writable is left out: it is written in place.
    """
    staged: dict[str, str] = {}
    for path, text in texts.items():
        folder, name = os.path.split(path)
        beside = os.path.join(folder, f'.{name}.new')
        try:
            with suppress(FileNotFoundError):
                os.unlink(beside)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(beside, flags, 0o644)
        except OSError as error:
            if isinstance(error, PermissionError) and os.access(path, os.W_OK):
                continue
            raise _cannot_write(path, error) from None
        try:
            with open(descriptor, 'wb') as file:
                _keep_owner(descriptor, path)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
        except OSError as error:
            for unused in (*staged.values(), beside):
                with suppress(OSError):
                    os.unlink(unused)
            raise _cannot_write(path, error) from None
        staged[path] = beside
    return staged


def _keep_owner(descriptor: int, path: str) -> None:
    """Give a new file the mode and owner of the one that it replaces."""
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return
    os.fchmod(descriptor, old.st_mode & 0o7777)
    with suppress(PermissionError):
        os.fchown(descriptor, old.st_uid, old.st_gid)


def _publish(staged: Mapping[str, str], texts: Mapping[str, bytes]) -> None:
    folders = set()
    for path, text in texts.items():
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
    return StoreError(f'cannot write {path}: {error.strerror or error}')
