"""Which machines could have what: all that the order of arrivals does not change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edeploylib.claims import Claim, Holders, includes
from edeploylib.cmdb import Cmdb
from edeploylib.errors import EdeployError, UnclearEntry
from edeploylib.identity import Identity, Key, keys_of
from edeploylib.inventory import Inventory, Scalar
from edeploylib.match import Match, match
from edeploylib.select import Assignment, World, check_clear, identify_machine
from edeploylib.simulate import Files, Simulation
from edeploylib.state import ProfileName


@dataclass(frozen=True)
class Group:
    """Entries of a CMDB for which the same machines compete.

    ``free`` are held by nobody; ``all`` are these and what machines that come
    hold now. Both are None for a profile without CMDB. ``label`` names the
    keys, if there are any.
    """

    profile: ProfileName
    label: str = ''
    free: int | None = None
    all: int | None = None


@dataclass(frozen=True)
class Offer:
    """What a profile that a machine matches has for it: the first of these groups.

    ``has_unit`` and ``has_entry``: the machine holds these already.
    """

    groups: tuple[int, ...]
    has_unit: bool = False
    has_entry: bool = False


@dataclass(frozen=True)
class Candidate:
    """A machine that comes: what it could have, by profile, or the error that it would meet.

    ``conflict`` is why it cannot be told which machine it is. ``twins`` are the
    indices of others that share a key with it, or with a machine that has one.
    """

    inventory: Inventory
    offers: Mapping[ProfileName, Offer | EdeployError] = field(default_factory=dict)
    held: Assignment | None = None
    conflict: EdeployError | None = None
    twins: tuple[int, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether the conflict is there whoever comes first."""
        return self.conflict is not None and not self.twins

    @property
    def error(self) -> EdeployError | None:
        """The first that it could meet."""
        errors = (one for one in self.offers.values() if isinstance(one, EdeployError))
        return self.conflict or next(errors, None)


@dataclass(frozen=True)
class Offers:
    """``left`` has the quotas of the state, in its order, None for ``'*'``.

    ``units`` are those that machines that come hold now. ``unclear`` are
    profiles whose CMDB has been edited so that it does not fit the ledger.
    """

    candidates: tuple[Candidate, ...]
    groups: tuple[Group, ...]
    left: Mapping[ProfileName, int | None]
    units: Mapping[ProfileName, int]
    unclear: frozenset[ProfileName]

    def quota(self, profile: ProfileName) -> int | None:
        """The units that there are for the machines that come."""
        left = self.left[profile]
        return None if left is None else left + self.units.get(profile, 0)

    def has_entry(self, offer: Offer) -> bool:
        """Whether there is an entry that could be the machine's."""
        return offer.has_entry or any(self.groups[number].all != 0 for number in offer.groups)


def find_offers(
    files: Files, inventories: Sequence[Inventory], ignored_macs: Iterable[str] = ()
) -> Offers:
    """What each profile with quota could give each machine; raises StateError, StoreError."""
    ignored = frozenset(ignored_macs)
    world = Simulation(files, ignored)
    found = [_identified(inventory, world, ignored) for inventory in inventories]
    twins = _twins([_names(inventory, world, ignored) for inventory in inventories])
    held = [
        world.assignment(one.machine) if isinstance(one, Identity) and one.machine else None
        for one in found
    ]
    coming = {
        one.machine.id for one in found if isinstance(one, Identity) and one.machine is not None
    }
    units: dict[ProfileName, int] = {}
    for one in {it.machine: it for it in held if it and it.holds_unit}.values():
        units[one.profile] = units.get(one.profile, 0) + 1
    quotas = world.state().quotas
    left = {name: quota if isinstance(quota, int) else None for name, quota in quotas.items()}
    groups: list[Group] = []
    unclear: set[ProfileName] = set()
    offers: list[dict[ProfileName, Offer | EdeployError]] = [{} for _ in inventories]
    for profile in quotas:
        if left[profile] == 0 and not units.get(profile):
            continue  # spent: nobody reads it
        desk = _Desk(world, profile, coming, groups)
        for its, inventory, assignment in zip(offers, inventories, held, strict=True):
            offer = desk.offer(inventory, assignment)
            if offer is not None:
                its[profile] = _unless_stuck(offer, profile, assignment, world)
        if desk.is_unclear:
            unclear.add(profile)
    candidates = tuple(
        Candidate(inventory, its, assignment, _conflict(identity), others)
        for inventory, its, assignment, identity, others in zip(
            inventories, offers, held, found, twins, strict=True
        )
    )
    return Offers(candidates, tuple(groups), left, units, frozenset(unclear))


def _unless_stuck(
    offer: Offer | EdeployError, profile: ProfileName, held: Assignment | None, world: Simulation
) -> Offer | EdeployError:
    """The offer, or what keeps a machine from leaving the profile that it holds."""
    if held is None or held.claim is None or held.profile == profile:
        return offer
    listed = world.state().quotas
    try:
        for left in [held.profile] if held.profile in listed else listed:
            world.cmdb(left)
    except EdeployError as error:
        return error
    return offer


def _identified(
    inventory: Inventory, world: World, ignored: frozenset[str]
) -> Identity | EdeployError:
    try:
        return identify_machine(inventory, world, ignored)
    except EdeployError as error:
        return error


def _conflict(identity: Identity | EdeployError) -> EdeployError | None:
    return identity if isinstance(identity, EdeployError) else None


def _names(inventory: Inventory, world: World, ignored: frozenset[str]) -> set[Key | int]:
    keys = keys_of(inventory, ignored)
    return {*keys, *(machine.id for machine in world.machines(keys))}


def _twins(names: Sequence[set[Key | int]]) -> list[tuple[int, ...]]:
    """For each, the others that share a name with it."""
    having: dict[Key | int, list[int]] = {}
    for index, its in enumerate(names):
        for name in its:
            having.setdefault(name, []).append(index)
    return [
        tuple(sorted({other for name in its for other in having[name]} - {index}))
        for index, its in enumerate(names)
    ]


class _Desk:
    """One profile, as it gives entries; its files are read when a machine matches."""

    def __init__(
        self, world: Simulation, profile: ProfileName, coming: set[int], groups: list[Group]
    ) -> None:
        self._world = world
        self._profile = profile
        self._coming = coming
        self._groups = groups
        self._numbers: dict[object, int] = {}
        self._tables: dict[tuple[str, ...], dict[tuple[str, ...], list[int]]] = {}
        self._entries: tuple[Cmdb, Holders, list[int]] | None = None
        self.is_unclear = False

    def offer(self, inventory: Inventory, held: Assignment | None) -> Offer | EdeployError | None:
        try:
            found = match(self._world.spec(self._profile), inventory)
            if found is None:
                return None
            self._world.configure(self._profile)
            cmdb = self._world.cmdb(self._profile)
        except EdeployError as error:
            return error
        has_unit = held is not None and held.holds_unit and held.profile == self._profile
        if cmdb is None:
            return Offer((self._number(None, Group(self._profile)),), has_unit, True)
        try:
            return self._of_entries(cmdb, found, held, has_unit)
        except UnclearEntry as error:
            return error

    def _of_entries(
        self, cmdb: Cmdb, found: Match, held: Assignment | None, has_unit: bool
    ) -> Offer:
        cmdb, holders, used = self._entries = self._entries or self._read(cmdb)
        mine = holders.index_of(held.machine) if held else None
        if held:
            check_clear(held.machine, self._profile, holders)
        if found.keys:
            has_entry = mine is not None and includes(cmdb.entries[mine], found.keys)
            return Offer((self._keyed(cmdb, holders, found.keys),), has_unit, has_entry)
        # An entry that is prepared for the machine, though marked as used.
        prepared = [
            self._number(index, Group(self._profile, f'entry {index}', 1, 1))
            for index in used
            if found.variables and includes(cmdb.entries[index], found.variables)
        ]
        return Offer((*prepared, self._pool(cmdb, holders)), has_unit, mine is not None)

    def _read(self, cmdb: Cmdb) -> tuple[Cmdb, Holders, list[int]]:
        orphans = self._world.orphans(self._world.state().quotas)
        claims = {claim.machine: claim for claim in (*orphans, *self._world.claims(self._profile))}
        holders = cmdb.holders(claims.values())
        self.is_unclear = bool(holders.doubtful) or _is_missing(claims, holders)
        used = [
            index
            for index, entry in enumerate(cmdb.entries)
            if entry.get('used') and index not in holders.held and index not in holders.doubtful
        ]
        return cmdb, holders, used

    def _pool(self, cmdb: Cmdb, holders: Holders) -> int:
        if '' not in self._numbers:
            entries = enumerate(cmdb.entries)
            unused = [index for index, entry in entries if not entry.get('used')]
            held = [index for index, machine in holders.held.items() if machine in self._coming]
            self._number('', self._group('', {*unused, *held}, holders))
        return self._numbers['']

    def _keyed(self, cmdb: Cmdb, holders: Holders, keys: Mapping[str, Scalar]) -> int:
        values = tuple(map(str, keys.values()))
        if values not in self._numbers:
            table = self._table(cmdb, tuple(keys))
            label = ' and '.join(f'{name}={value!r}' for name, value in keys.items())
            self._number(values, self._group(label, table.get(values, ()), holders))
        return self._numbers[values]

    def _table(self, cmdb: Cmdb, names: tuple[str, ...]) -> dict[tuple[str, ...], list[int]]:
        if names not in self._tables:
            table: dict[tuple[str, ...], list[int]] = {}
            for index, entry in enumerate(cmdb.entries):
                there = [entry.get(name, ()) for name in names]
                if not any(isinstance(value, list | tuple | dict) for value in there):
                    table.setdefault(tuple(map(str, there)), []).append(index)
            self._tables[names] = table
        return self._tables[names]

    def _group(self, label: str, indices: Iterable[int], holders: Holders) -> Group:
        clear = [index for index in indices if index not in holders.doubtful]
        free = sum(index not in holders.held for index in clear)
        held = sum(holders.held.get(index) in self._coming for index in clear)
        return Group(self._profile, label, free, free + held)

    def _number(self, name: object, group: Group) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._groups)
            self._groups.append(group)
        return self._numbers[name]


def _is_missing(claims: Mapping[int, Claim], holders: Holders) -> bool:
    return bool(claims.keys() - set(holders.held.values()))
