"""A store without files, for tests and for trying a configuration."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from edeploylib.claims import Claim
from edeploylib.errors import LockTimeout, StoreError
from edeploylib.identity import Key, Machine
from edeploylib.inventory import Inventory
from edeploylib.select import Assignment, Decision
from edeploylib.state import ProfileName
from edeploylib.store.texts import Texts

T = TypeVar('T')


class MemoryStore:
    """``files`` are the texts of CONFIGDIR by name; commits change them there."""

    def __init__(self, files: Mapping[str, str], lock_timeout: float = 60) -> None:
        self.files = dict(files)
        self.inventories: dict[str, Inventory] = {}
        self.names: dict[int, str] = {}
        self.owners: dict[Key, int] = {}
        self.held: dict[int, Assignment] = {}
        self.journal: list[Decision] = []
        self._lock = threading.Lock()
        self._lock_timeout = lock_timeout

    @contextmanager
    def transaction(self, who: str = '') -> Iterator['MemoryTransaction']:
        if not self._lock.acquire(timeout=self._lock_timeout):
            raise LockTimeout(f'the store is in use since more than {self._lock_timeout:g} s')
        world = MemoryTransaction(self)
        try:
            yield world
        finally:
            world.is_over = True
            self._lock.release()


class MemoryTransaction(Texts):
    def __init__(self, store: MemoryStore) -> None:
        super().__init__(self._parsed, 'memory')
        self._store = store
        self.is_over = False

    def _parsed(self, name: str, parse: Callable[[str | bytes, str], T]) -> T | None:
        text = self._store.files.get(name)
        return None if text is None else parse(text, f'memory/{name}')

    def machines(self, keys: Iterable[Key]) -> list[Machine]:
        store = self._store
        ids = sorted({store.owners[key] for key in keys if key in store.owners})
        return [
            Machine(id, store.names[id], frozenset(k for k, o in store.owners.items() if o == id))
            for id in ids
        ]

    def assignment(self, machine: Machine) -> Assignment | None:
        return self._store.held.get(machine.id)

    def claims(self, profile: ProfileName) -> list[Claim]:
        return [
            held.claim
            for held in self._store.held.values()
            if held.profile == profile and held.claim
        ]

    def orphans(self, listed: Collection[ProfileName]) -> list[Claim]:
        gone = {held.profile for held in self._store.held.values()} - set(listed)
        return [claim for profile in gone for claim in self.claims(profile)]

    def save(self, inventory: Inventory) -> None:
        self._store.inventories[inventory.sysname] = inventory

    def commit(self, decision: Decision) -> None:
        if self.is_over:
            raise StoreError('the transaction is over')
        self._store.journal.append(decision)
        if decision.profile is None:
            return
        store, changes = self._store, decision.changes
        machine = decision.identity.machine
        id = machine.id if machine else len(store.names) + 1
        store.names[id] = decision.name
        moved = (key for key, _ in decision.identity.moved)
        store.owners.update(dict.fromkeys([*decision.identity.learned, *moved], id))
        if changes.state is not None:
            store.files['state'] = changes.state.render()
        for profile, cmdb in changes.cmdbs.items():
            if cmdb.is_synthetic:
                store.files[f'{profile}.cmdb.orig'] = cmdb.text
            store.files[f'{profile}.cmdb'] = cmdb.render()
        if changes.assignment is not None:
            claim = changes.assignment.claim
            store.held[id] = changes.assignment._replace(
                machine=id, claim=claim and claim._replace(machine=id)
            )
