"""The store of a running service: CONFIGDIR, HWDIR, LOCKFILE and the ledger."""

import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

from edeploylib.cmdb import Claim, Cmdb
from edeploylib.errors import EditedMeanwhile
from edeploylib.identity import Key, Machine
from edeploylib.inventory import Inventory
from edeploylib.select import Assignment, Changes, Decision
from edeploylib.settings import Settings
from edeploylib.state import ProfileName, State
from edeploylib.store.cache import parsed
from edeploylib.store.disk import discard, publish, read, stage, write
from edeploylib.store.ledger import Ledger, Unwritten
from edeploylib.store.lock import locked
from edeploylib.store.texts import Texts

T = TypeVar('T')

_log = logging.getLogger('edeploylib')


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
            _recover(ledger)
            yield FileTransaction(settings, ledger)


class FileTransaction(Texts):
    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        super().__init__(self._parsed, settings.configdir)
        self._settings = settings
        self._ledger = ledger

    def _parsed(self, name: str, parse: Callable[[str | bytes, str], T]) -> T | None:
        return parsed(os.path.join(self._settings.configdir, name), parse)

    def machines(self, keys: Iterable[Key]) -> list[Machine]:
        return self._ledger.machines(keys)

    def assignment(self, machine: Machine) -> Assignment | None:
        return self._ledger.assignment(machine)

    def claims(self, profile: ProfileName) -> list[Claim]:
        return self._ledger.claims(profile)

    def orphans(self, listed: Collection[ProfileName]) -> list[Claim]:
        return self._ledger.orphans(listed)

    def save(self, inventory: Inventory) -> None:
        """As HWDIR/SYSNAME.hw."""
        path = os.path.join(self._settings.hwdir, f'{inventory.sysname}.hw')
        write({path: inventory.render().encode()})

    def commit(self, decision: Decision) -> None:
        """Write the files beside, commit the ledger, then rename the files.

        What a crash leaves undone after the ledger's commit is done by the
        next transaction.
        """
        if decision.profile is None:
            return
        unwritten = dict(self._unwritten(decision.changes))
        texts = {path: its.text for path, its in unwritten.items()}
        originals = {path: path.partition('.cmdb.orig')[0] + '.cmdb' for path in texts}
        staged = stage(texts, {path: of for path, of in originals.items() if '.cmdb.orig' in path})
        try:
            self._ledger.record(decision, unwritten)
        except BaseException:
            discard(staged.values())
            raise
        publish(staged, texts)
        if texts:
            self._ledger.written()

    def _unwritten(self, changes: Changes) -> Iterator[tuple[str, Unwritten]]:
        """The files to write: path, text and what the text replaces.

        Raises EditedMeanwhile if that is not what the decision was made of.
        """
        texts: dict[str, Cmdb | State] = {
            f'{profile}.cmdb': cmdb for profile, cmdb in changes.cmdbs.items()
        }
        if changes.state is not None:
            texts['state'] = changes.state
        for name, changed in texts.items():
            path = os.path.realpath(os.path.join(self._settings.configdir, name))
            there = read(path)
            if there != changed.text.encode():
                raise EditedMeanwhile(f'{path} was edited while an upload was being decided')
            if isinstance(changed, Cmdb) and changed.is_synthetic:
                yield _free(f'{path}.orig'), Unwritten(None, there)
            yield path, Unwritten(_digest(there), changed.render().encode())


def _recover(ledger: Ledger) -> None:
    """Do what the last holder left undone that died between its commit and its files.

    A file that has been edited since is the operator's.
    """
    left = ledger.unwritten()
    if not left:
        return
    texts = {}
    for path, (base, text) in left.items():
        there = read(path)
        if there is None and not os.path.isdir(os.path.dirname(path)):
            _log.warning('unwritten=%r kept=%r', path, 'its folder is gone')
        elif (None if there is None else _digest(there)) == base:
            texts[path] = text
        elif there != text:
            _log.warning('unwritten=%r kept=%r', path, 'it was edited after a crash')
    write(texts)
    ledger.written()


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _free(path: str) -> str:
    """The path, or the first numbered one that no file has."""
    numbered = (f'{path}.{number}' for number in itertools.count(2))
    return next(
        one for one in (path, *itertools.islice(numbered, 1000)) if not os.path.exists(one)
    )
