"""A store without files, for tests and for trying a configuration."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from edeploylib.claims import Claim
from edeploylib.errors import LockTimeout, StoreError
from edeploylib.identity import Key, Machine
from edeploylib.inventory import Inventory
from edeploylib.select import RELEASED, Assignment, Changes, Decision
from edeploylib.state import ProfileName
from edeploylib.store.texts import Texts

if TYPE_CHECKING:
    from edeploylib.release import Ruling

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
        self.rulings: list[Ruling] = []
        self.errors: list[str] = []
        self.last_id = 0
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
        return [self._machine(id) for id in ids]

    def machine(self, id: int) -> Machine | None:
        return self._machine(id) if id in self._store.names else None

    def last_note(self, machine: int) -> int:
        return len(self._store.journal) + len(self._store.rulings)

    def _machine(self, id: int) -> Machine:
        keys = frozenset(key for key, owner in self._store.owners.items() if owner == id)
        return Machine(id, self._store.names[id], keys)

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

    def refuse(self, reason: str) -> None:
        self._store.errors.append(reason)

    def commit(self, decision: Decision) -> None:
        if self.is_over:
            raise StoreError('the transaction is over')
        self._store.journal.append(decision)
        if decision.profile is None:
            return
        store, changes = self._store, decision.changes
        machine = decision.identity.machine
        if machine is None:
            store.last_id += 1
        id = machine.id if machine else store.last_id
        store.names[id] = decision.name
        moved = (key for key, _ in decision.identity.moved)
        store.owners.update(dict.fromkeys([*decision.identity.learned, *moved], id))
        self._write(changes)
        if changes.assignment is not None:
            claim = changes.assignment.claim
            store.held[id] = changes.assignment._replace(
                machine=id, claim=claim and claim._replace(machine=id)
            )

    def rule(self, ruling: 'Ruling') -> None:
        if self.is_over:
            raise StoreError('the transaction is over')
        store = self._store
        store.rulings.append(ruling)
        self._write(ruling.changes)
        for step in ruling.steps:
            for key in step.lost:
                del store.owners[key]
            if step.assignment is not None:
                store.held[step.machine.id] = step.assignment
                if step.assignment.status == RELEASED:
                    del store.held[step.machine.id]
            if step.is_forgotten:
                del store.names[step.machine.id]

    def _write(self, changes: Changes) -> None:
        files = self._store.files
        if changes.state is not None:
            files['state'] = changes.state.render()
        for profile, cmdb in changes.cmdbs.items():
            if cmdb.is_synthetic:
                files[f'{profile}.cmdb.orig'] = cmdb.text
            files[f'{profile}.cmdb'] = cmdb.render()
