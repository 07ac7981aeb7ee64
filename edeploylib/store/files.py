"""The store of a running service: CONFIGDIR, HWDIR, LOCKFILE and the ledger."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

from edeploylib.identity import Key, Machine
from edeploylib.inventory import Inventory
from edeploylib.select import Assignment, Decision
from edeploylib.settings import Settings
from edeploylib.state import ProfileName
from edeploylib.store.cache import parsed
from edeploylib.store.disk import publish, stage, write
from edeploylib.store.ledger import Ledger
from edeploylib.store.lock import locked
from edeploylib.store.texts import Texts

T = TypeVar('T')


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
                write(left)
                ledger.written()
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

    def assignments(self, profile: ProfileName) -> list[Assignment]:
        return self._ledger.assignments(profile)

    def orphans(self, listed: Collection[ProfileName]) -> list[Assignment]:
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
        texts = self._texts(decision)
        staged = stage(texts)
        self._ledger.record(decision, texts)
        publish(staged, texts)
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
