"""What an operator decides of machines that the ledger knows.

Each function reads a ``Desk`` and returns a ``Ruling``, which carries its
changes; nothing has happened until a store records it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from edeploylib.claims import Claim
from edeploylib.cmdb import Cmdb
from edeploylib.errors import NotPossible, UnknownMachine
from edeploylib.identity import Key, Machine
from edeploylib.literal import Value
from edeploylib.select import (
    FAILED,
    INSTALLED,
    RELEASED,
    Assignment,
    Changes,
    World,
    claims_of,
    failed,
)
from edeploylib.state import ProfileName, State


class Desk(World, Protocol):
    """A world whose machines can be asked for by their number too."""

    def machine(self, id: int) -> Machine | None: ...

    def last_note(self, machine: int) -> int: ...


class Step(NamedTuple):
    """What is recorded of one machine.

    ``what`` is its new status, or what was done to it. ``assignment`` is what
    it holds then, None if that is as it was. ``inventory`` is the digest of
    what the decision was made of, if that was an inventory.
    """

    machine: Machine
    what: str
    profile: ProfileName | None = None
    assignment: Assignment | None = None
    variables: Mapping[str, Value] = {}
    notes: tuple[str, ...] = ()
    lost: tuple[Key, ...] = ()
    is_forgotten: bool = False
    inventory: str = ''


class Ruling(NamedTuple):
    """``changes`` are those of the operator's files; each step has its assignment."""

    steps: tuple[Step, ...] = ()
    changes: Changes = Changes()


class Seen(NamedTuple):
    """What the operator saw of a machine when he decided, and the journal's last line on it."""

    held: tuple[ProfileName, str] | None
    note: int | None = None


FORGOTTEN = 'forgotten'


def release(
    ids: Iterable[int],
    world: Desk,
    forget: bool = False,
    seen: Mapping[int, Seen] | None = None,
) -> Ruling:
    """Free what machines hold: their entries, and their units of quota.

    An entry is as it was before, but for what was edited by hand since. With
    ``forget``, the machines are no longer known at all. Raises UnknownMachine,
    and NotPossible if one is no longer as it was ``seen``.
    """
    machines = [known(id, world) for id in dict.fromkeys(ids)]
    held = {machine.id: world.assignment(machine) for machine in machines}
    for machine in machines:
        if seen is not None and machine.id in seen:
            _check_unchanged(machine, held[machine.id], seen[machine.id], world)
    leaving = [one for one in held.values() if one is not None]
    before = world.state()
    state = before
    for former in leaving:
        state = _given_back(state, former)
    cmdbs, notes = _freed(world, leaving)
    steps = tuple(
        _leave(machine, held[machine.id], before, notes.get(machine.id, ''), forget)
        for machine in machines
        if forget or held[machine.id] is not None
    )
    return Ruling(steps, Changes(state if state is not before else None, cmdbs))


def _leave(
    machine: Machine, held: Assignment | None, state: State, note: str, forget: bool
) -> Step:
    losses = [*_unit_lost(held, state), *([note] if note else [])] if held else []
    step = Step(machine, RELEASED, notes=tuple(losses))
    if held is not None:
        step = step._replace(profile=held.profile, assignment=held._replace(status=RELEASED))
    if forget:
        step = step._replace(what=FORGOTTEN, lost=tuple(sorted(machine.keys)), is_forgotten=True)
    return step


def fail(ids: Iterable[int], world: Desk) -> Ruling:
    """What the machines' own failure reports do: their units are given back, their entries kept.

    Nothing of one whose failure is known already. Raises NotPossible if one holds no profile.
    """
    before = world.state()
    state, steps = before, []
    for machine, held in _holding(ids, world):
        if held.holds_unit:
            changes, note = failed(held, state)
            state = state if changes.state is None else changes.state
            assignment = held._replace(status=FAILED)
            steps.append(Step(machine, FAILED, held.profile, assignment, notes=(note,)))
    return Ruling(tuple(steps), Changes(state if state is not before else None))


def installed(ids: Iterable[int], world: Desk) -> Ruling:
    """The machines are installed; one whose failure was noted takes a unit again.

    Raises NotPossible if one holds no profile, or if there is no unit left for it.
    """
    before = world.state()
    state, steps = before, []
    for machine, held in _holding(ids, world):
        if held.status == INSTALLED:
            continue
        if not held.holds_unit and held.profile in state.quotas:
            check_left(held.profile, state)
            state = state.take(held.profile)
        assignment = held._replace(status=INSTALLED)
        steps.append(Step(machine, INSTALLED, held.profile, assignment))
    return Ruling(tuple(steps), Changes(state if state is not before else None))


def forget_key(keys: Iterable[Key], world: Desk) -> Ruling:
    """The machines that have the keys are no longer known by them."""
    steps: dict[int, Step] = {}
    for key in dict.fromkeys(keys):
        for machine in world.machines([key]):
            step = steps.get(machine.id, Step(machine, 'key forgotten'))
            steps[machine.id] = step._replace(lost=(*step.lost, key))
    return Ruling(tuple(_noted(step) for step in steps.values()))


def _noted(step: Step) -> Step:
    notes = [f'no longer known by {key}' for key in step.lost]
    if not step.machine.keys - set(step.lost):
        notes.append(f'it has no key left: edeployctl release --forget {step.machine.id} ends it')
    return step._replace(notes=tuple(notes))


def known(id: int, world: Desk) -> Machine:
    machine = world.machine(id)
    if machine is None:
        raise UnknownMachine(f'there is no machine {id}')
    return machine


def _holding(ids: Iterable[int], world: Desk) -> list[tuple[Machine, Assignment]]:
    found = []
    for id in dict.fromkeys(ids):
        machine = known(id, world)
        held = world.assignment(machine)
        if held is None:
            raise NotPossible(f'{machine} holds no profile')
        found.append((machine, held))
    return found


def _check_unchanged(machine: Machine, held: Assignment | None, seen: Seen, world: Desk) -> None:
    if seen.note is not None and world.last_note(machine.id) != seen.note:
        raise NotPossible(f'{machine} has been heard of meanwhile: nothing has been changed')
    now = (held.profile, held.status) if held else None
    if now != seen.held:
        both = (seen.held, now)
        was, is_now = (f'{one[1]} as {one[0]!r}' if one else 'released' for one in both)
        raise NotPossible(f'{machine} was {was}, and is {is_now} by now: nothing has been changed')


def check_left(profile: ProfileName, state: State) -> None:
    if not state.has_left(profile):
        raise NotPossible(
            f'the quota of {profile!r} is spent', hint='raise it in the state, or free a unit'
        )


def _given_back(state: State, held: Assignment) -> State:
    if held.holds_unit and held.profile in state.quotas:
        return state.give_back(held.profile)
    return state


def _unit_lost(held: Assignment, state: State) -> Iterable[str]:
    if held.holds_unit:
        quota = state.quotas.get(held.profile)
        if quota is None:
            yield f'the state has no profile {held.profile!r} to give the unit back to'
        elif isinstance(quota, int):
            yield f'a unit of {held.profile!r} given back'


def _freed(
    world: Desk, leaving: Iterable[Assignment]
) -> tuple[dict[ProfileName, Cmdb], dict[int, str]]:
    """The CMDBs with the entries of machines as they were before, and a word on each.

    Of a profile that was renamed, it is the CMDB in which the entry is found.
    """
    listed = world.state().quotas
    left = {held.machine: (held.profile, held.claim) for held in leaving if held.claim}
    cmdbs: dict[ProfileName, Cmdb] = {}
    notes: dict[int, str] = {}
    for profile in dict.fromkeys([*(own for own, _ in left.values()), *listed]):
        may = {id: its[1] for id, its in left.items() if its[0] == profile or its[0] not in listed}
        cmdb = world.cmdb(profile) if may else None
        if cmdb is None:
            continue
        after, found = _freed_in(profile, cmdb, may, claims_of(world, profile))
        notes.update(found)
        left = {id: its for id, its in left.items() if id not in found}
        if after is not cmdb:
            cmdbs[profile] = after
    gone = {id: f'{own}: its entry is no longer there' for id, (own, _) in left.items()}
    return cmdbs, {**notes, **gone}


def _freed_in(
    profile: ProfileName, cmdb: Cmdb, leaving: Mapping[int, Claim], claims: Mapping[int, Claim]
) -> tuple[Cmdb, dict[int, str]]:
    """A CMDB without what machines hold of it, and a word on each that held something."""
    notes: dict[int, str] = {}
    holders = cmdb.holders(claims.values())
    for index, machine in holders.held.items():
        if machine in leaving:
            cmdb = cmdb.release(index, leaving[machine])
            notes[machine] = f'{profile}: entry {index} freed'
    for machine in leaving.keys() - notes.keys():
        unclear = [index for index, its in holders.doubtful.items() if machine in its]
        if unclear:
            notes[machine] = (
                f'{profile}: it was unclear which of the entries {unclear} it held: '
                "they are left as they are, delete 'used' where nobody does"
            )
    return cmdb, notes
