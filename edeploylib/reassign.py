"""Another profile, or entry, for a machine by the operator's word, such that it lasts."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edeploylib.claims import Claim, Holders, includes
from edeploylib.cmdb import Cmdb, NoEntry
from edeploylib.errors import NotPossible
from edeploylib.identity import Machine
from edeploylib.inventory import Inventory
from edeploylib.match import match
from edeploylib.release import Desk, Ruling, Step, check_left, known
from edeploylib.select import (
    INSTALLING,
    Assignment,
    Changes,
    Decision,
    Taken,
    changes_of,
    check_clear,
    claims_of,
    given,
    identify_machine,
    select,
)
from edeploylib.state import ProfileName, State


class Wish(NamedTuple):
    """The entry that a machine is to have: by its place, or by one of its values."""

    place: int = -1
    key: str = ''
    value: str = ''

    def __str__(self) -> str:
        return f'{self.key}={self.value!r}' if self.key else f'entry {self.place}'

    def indices(self, cmdb: Cmdb) -> Sequence[int]:
        if not self.key:
            return [self.place] if 0 <= self.place < len(cmdb) else []
        entries = enumerate(cmdb.entries)
        return [index for index, entry in entries if includes(entry, {self.key: self.value})]


def reassign(
    id: int,
    profile: str,
    inventory: Inventory,
    world: Desk,
    ignored_macs: Iterable[str] = (),
    wish: Wish | None = None,
    retire: bool = False,
) -> Ruling:
    """Give a machine a profile, and an entry, by the operator's word.

    ``inventory`` is what the machine uploaded last. What is given is what the
    same upload will be answered from now on: else NotPossible is raised, with the
    reason and what could be done. Nothing, if it is what the machine holds.

    With ``retire``, the unit of the profile that it leaves is not given back.
    """
    ignored_macs = tuple(ignored_macs)
    machine = known(id, world)
    _check_is_of(machine, inventory, world, ignored_macs)
    state, held, name = world.state(), world.assignment(machine), ProfileName(profile)
    _check_may_take(name, state, held)
    taken = _granted(machine, name, inventory, world, wish)
    changes = changes_of(world, state, held, taken.assignment, taken.cmdb)
    if retire and held and held.holds_unit and held.profile != name:
        after = state.take(name)
        changes = changes._replace(state=after if after is not state else None)
    answer = {**taken.match.variables, **taken.entry}
    then = select(inventory, _Afterwards(world, changes, taken.assignment), ignored_macs)
    if then.profile != name or then.variables != answer:
        raise _would_not_last(machine, name, then, held, changes.state or state)
    is_same = held is not None and taken.assignment == held._replace(status=INSTALLING)
    if is_same and held and held.holds_unit and changes.state is None and not changes.cmdbs:
        return Ruling()
    step = Step(
        machine._replace(name=inventory.sysname),
        taken.assignment.status,
        name,
        taken.assignment,
        answer,
        (*_gained(taken.assignment), *taken.contradictions),
        inventory=inventory.digest,
    )
    return Ruling((step,), changes._replace(assignment=None))


def _check_is_of(
    machine: Machine, inventory: Inventory, world: Desk, ignored_macs: Iterable[str]
) -> None:
    owner = identify_machine(inventory, world, ignored_macs).machine
    if owner is None or owner.id != machine.id:
        raise NotPossible(
            f'the saved inventory {inventory.sysname} is not that of {machine}',
            hint='another machine has uploaded under that name since: upload again first',
        )


def _check_may_take(profile: ProfileName, state: State, held: Assignment | None) -> None:
    if profile not in state.quotas:
        listed = ', '.join(state.quotas) or 'none'
        raise NotPossible(f'the state has no profile {profile!r}, it lists {listed}')
    if not (held and held.profile == profile and held.holds_unit):
        check_left(profile, state)


def _gained(assignment: Assignment) -> Iterable[str]:
    if assignment.claim is not None:
        yield f'{assignment.profile}: entry {assignment.claim.position} given'


def _granted(
    machine: Machine, profile: ProfileName, inventory: Inventory, world: Desk, wish: Wish | None
) -> Taken:
    found = match(world.spec(profile), inventory)
    if found is None:
        raise NotPossible(
            f'{machine} cannot be {profile!r}: its spec does not match the saved inventory',
            hint='python -m edeploylib.match tells why',
        )
    world.configure(profile)
    cmdb = world.cmdb(profile)
    if cmdb is None:
        if wish is not None:
            raise NotPossible(f'profile {profile!r} has no CMDB, and so no {wish}')
        return Taken(found, None, {}, Assignment(machine.id, profile, INSTALLING))
    claims = claims_of(world, profile)
    holders = cmdb.holders(claims.values())
    if wish is None:
        check_clear(machine.id, profile, holders)
        index = cmdb.find(found.variables, found.keys, machine.id, holders)
        if isinstance(index, NoEntry):
            raise NotPossible(f'{profile!r} has no entry for {machine}: {index.reason}')
    else:
        index = _wished(machine, wish, cmdb, holders)
        if not includes(cmdb.entries[index], found.keys):
            keys = ' and '.join(f'{key}={value!r}' for key, value in found.keys.items())
            raise NotPossible(f'{wish} of {profile!r} is not for {machine}: it has not {keys}')
    return given(machine.id, profile, found, cmdb, index, claims, holders)


def _wished(machine: Machine, wish: Wish, cmdb: Cmdb, holders: Holders) -> int:
    """The index of the entry that is wished for; raises NotPossible if it cannot be had."""
    indices = wish.indices(cmdb)
    if len(indices) != 1:
        many = f'{len(indices)} entries have' if indices else 'no entry has'
        found = f'{many} {wish}' if wish.key else f'there is no {wish}'
        raise NotPossible(f'{found}: expected one of {len(cmdb)}, counted from 0')
    (index,) = indices
    holder = holders.held.get(index, machine.id)
    if holder != machine.id:
        raise NotPossible(
            f'entry {index} is held by machine {holder}',
            hint=f'edeployctl release {holder} frees it',
        )
    others = holders.doubtful.get(index, frozenset()) - {machine.id}
    if others and machine.id not in holders.doubtful[index]:
        raise NotPossible(
            f'it is unclear whether machine {" or ".join(map(str, sorted(others)))} holds '
            f'entry {index}',
            hint=f'edeployctl reassign {min(others)} decides it, or release',
        )
    if cmdb.entries[index].get('used') and not (
        index in holders.held or machine.id in holders.doubtful.get(index, ())
    ):
        raise NotPossible(
            f'entry {index} is used, by no machine that is known',
            hint="if that is no longer so, delete its 'used'",
        )
    return index


class _Afterwards:
    """The world as the machine's next upload finds it once the changes are made."""

    def __init__(self, world: Desk, changes: Changes, assignment: Assignment) -> None:
        self._world = world
        self._changes = changes
        self._assignment = assignment
        self.spec = world.spec
        self.configure = world.configure
        self.machines = world.machines

    def state(self) -> State:
        changed = self._changes.state
        return self._world.state() if changed is None else State.parse(changed.render())

    def cmdb(self, profile: ProfileName) -> Cmdb | None:
        changed = self._changes.cmdbs.get(profile)
        return self._world.cmdb(profile) if changed is None else Cmdb.parse(changed.render())

    def assignment(self, machine: Machine) -> Assignment | None:
        if machine.id == self._assignment.machine:
            return self._assignment
        return self._world.assignment(machine)

    def claims(self, profile: ProfileName) -> list[Claim]:
        mine = self._assignment.claim if self._assignment.profile == profile else None
        others = self._others(self._world.claims(profile))
        return sorted([*others, mine] if mine else others)

    def orphans(self, listed: Iterable[ProfileName]) -> list[Claim]:
        return self._others(self._world.orphans(tuple(listed)))

    def _others(self, claims: Iterable[Claim]) -> list[Claim]:
        return [claim for claim in claims if claim.machine != self._assignment.machine]


def _would_not_last(
    machine: Machine, profile: ProfileName, then: Decision, held: Assignment | None, state: State
) -> NotPossible:
    if then.profile == profile:
        return NotPossible(
            f'{machine} would get another entry of {profile!r} at its next upload',
            hint='the keys of the spec, or a doubtful entry, decide otherwise',
        )
    if then.profile is None:
        reasons = '; '.join(map(str, then.refusals))
        return NotPossible(f'no profile would take {machine} at its next upload: {reasons}')
    quota = state.quotas[then.profile]
    message = (
        f'{machine} would leave {profile!r} at its next upload: {then.profile!r} '
        f'stands before it in the state, has {quota} left, and takes the machine'
    )
    own = bool(held and held.profile == then.profile and held.holds_unit)
    if own and quota == 1:
        hint = 'with --retire-unit, the unit that it leaves is not given back'
    else:
        also = ', and use --retire-unit' if own else ''
        hint = f'put {profile!r} before it; or set its quota to 0{also}'
    return NotPossible(message, hint=hint)
