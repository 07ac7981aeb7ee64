"""What uploads would do, one after another, in a world of the memory.

The decisions are those of ``select``; all else here does what a store does
with one, without a file.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from edeploylib.claims import Claim
from edeploylib.cmdb import Cmdb
from edeploylib.errors import EdeployError
from edeploylib.generate import Entry
from edeploylib.identity import Key, Machine
from edeploylib.inventory import Inventory
from edeploylib.select import Assignment, Decision, select
from edeploylib.spec import Spec
from edeploylib.state import ProfileName, State
from edeploylib.store.snapshot import Snapshot
from edeploylib.store.texts import Texts

T = TypeVar('T')


class Files(Texts):
    """A snapshot's files, each parsed when it is first asked for, or its error kept."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(self._load_once, snapshot.folder)
        self.snapshot = snapshot
        self._made: dict[str, object] = {}

    def _load_once(self, name: str, parse: Callable[[str | bytes, str], T]) -> T | None:
        if name not in self._made:
            self._made[name] = self._attempt(name, parse)
        made = self._made[name]
        if isinstance(made, EdeployError):
            raise made.with_traceback(None)
        return made  # type: ignore[return-value]

    def _attempt(self, name: str, parse: Callable[[str | bytes, str], T]) -> object:
        text = self.snapshot.texts.get(name)
        if text is None or isinstance(text, EdeployError):
            return text
        try:
            return parse(text, f'{self.snapshot.folder}/{name}')
        except EdeployError as error:
            return error

    def with_state(self, state: State) -> 'Files':
        """The same with another state; what is parsed already stays so."""
        other = Files(self.snapshot)
        other._made = {**self._made, 'state': state}
        return other


@dataclass(frozen=True)
class Fate:
    """What became of one upload.

    ``decision`` is None where ``error`` kept it from being made. ``before`` is
    what the machine held when it came, ``after`` what it holds then.
    """

    inventory: Inventory
    decision: Decision | None = None
    error: EdeployError | None = None
    before: Assignment | None = None
    after: Assignment | None = None

    @property
    def profile(self) -> ProfileName | None:
        return self.decision.profile if self.decision else None

    @property
    def entry(self) -> Entry | None:
        """The CMDB entry as the machine finds it."""
        claim = self.after.claim if self.profile and self.after else None
        return claim.after if claim else None

    @property
    def is_kept(self) -> bool:
        """Whether the machine had the profile already."""
        held = self.before
        return held is not None and held.holds_unit and held.profile == self.profile


class Simulation:
    """A world that begins as the snapshot of its files, and changes with each upload."""

    def __init__(self, files: Files, ignored_macs: Iterable[str] = ()) -> None:
        self._files = files
        self._ignored_macs = frozenset(ignored_macs)
        self._state: State | None = None
        self._cmdbs: dict[ProfileName, Cmdb] = {}
        snapshot = files.snapshot
        self._machines = {machine.id: machine for machine in snapshot.machines}
        self._owners = {key: one.id for one in snapshot.machines for key in one.keys}
        self._held: dict[int, Assignment] = {}
        self._claims: dict[ProfileName, dict[int, Claim]] = {}
        self._last = max(snapshot.last, *self._machines, 0)
        for assignment in snapshot.assignments:
            self._hold(assignment)

    def state(self) -> State:
        return self._files.state() if self._state is None else self._state

    def spec(self, profile: ProfileName) -> Spec:
        return self._files.spec(profile)

    def configure(self, profile: ProfileName) -> str:
        return self._files.configure(profile)

    def cmdb(self, profile: ProfileName) -> Cmdb | None:
        return self._cmdbs[profile] if profile in self._cmdbs else self._files.cmdb(profile)

    def machines(self, keys: Iterable[Key]) -> list[Machine]:
        ids = {self._owners[key] for key in keys if key in self._owners}
        return [self._machines[id] for id in sorted(ids)]

    def assignment(self, machine: Machine) -> Assignment | None:
        return self._held.get(machine.id)

    def claims(self, profile: ProfileName) -> list[Claim]:
        return [claim for _, claim in sorted(self._claims.get(profile, {}).items())]

    def orphans(self, listed: Collection[ProfileName]) -> list[Claim]:
        gone = [profile for profile in self._claims if profile not in listed]
        return [claim for profile in gone for claim in self.claims(profile)]

    def decide(self, inventory: Inventory) -> Fate:
        """What an upload would get now; nothing changes, so ``after`` is as before."""
        try:
            decision = select(inventory, self, self._ignored_macs)
        except EdeployError as error:
            return Fate(inventory, error=error)
        machine = decision.identity.machine
        held = self._held.get(machine.id) if machine else None
        return Fate(inventory, decision, before=held, after=held)

    def upload(self, inventory: Inventory) -> Fate:
        """Decide as an upload would, and apply what is decided."""
        fate = self.decide(inventory)
        if fate.decision is None or fate.decision.profile is None:
            return fate
        return replace(fate, after=self._applied(fate.decision))

    def _applied(self, decision: Decision) -> Assignment | None:
        changes = decision.changes
        id = self._learned(decision)
        if changes.state is not None:
            self._state = changes.state
        self._cmdbs.update(changes.cmdbs)
        if changes.assignment is not None:
            claim = changes.assignment.claim
            self._hold(
                changes.assignment._replace(machine=id, claim=claim and claim._replace(machine=id))
            )
        return self._held.get(id)

    def _learned(self, decision: Decision) -> int:
        machine = decision.identity.machine
        if machine is None:
            self._last += 1
            machine = Machine(self._last, decision.name, frozenset())
        moved = [key for key, _ in decision.identity.moved]
        for key, former in decision.identity.moved:
            other = self._machines[former.id]
            self._machines[former.id] = other._replace(keys=other.keys - {key})
        keys = machine.keys.union(decision.identity.learned, moved)
        self._machines[machine.id] = Machine(machine.id, decision.name, keys)
        self._owners.update(dict.fromkeys([*decision.identity.learned, *moved], machine.id))
        return machine.id

    def _hold(self, assignment: Assignment) -> None:
        """What the machine held before is no longer its own."""
        before = self._held.get(assignment.machine)
        if before is not None:
            self._claims.get(before.profile, {}).pop(assignment.machine, None)
        self._held[assignment.machine] = assignment
        if assignment.claim is not None:
            its = self._claims.setdefault(assignment.profile, {})
            its[assignment.machine] = assignment.claim


def simulate(
    files: Files,
    inventories: Iterable[Inventory],
    ignored_macs: Iterable[str] = (),
    told: Callable[[int], None] = lambda count: None,
) -> tuple[list[Fate], Simulation]:
    """What uploads would do in this order, and the world after them.

    ``told`` hears how many are done.
    """
    world = Simulation(files, ignored_macs)
    fates = []
    for number, inventory in enumerate(inventories, 1):
        fates.append(world.upload(inventory))
        told(number)
    return fates, world
