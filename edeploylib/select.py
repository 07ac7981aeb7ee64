"""The one place where a machine's fate is decided.

``select`` and ``fail`` read a ``World`` and return a ``Decision``, which
carries its changes; nothing has happened until a store commits them.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import NamedTuple, Protocol

from edeploylib.claims import Claim, Holders
from edeploylib.cmdb import Cmdb, NoEntry
from edeploylib.errors import SearchLimitExceeded, UnclearEntry
from edeploylib.generate import Entry
from edeploylib.identity import Identity, Key, Machine, identify, keys_of
from edeploylib.inventory import Inventory
from edeploylib.literal import Value
from edeploylib.match import Match, match
from edeploylib.spec import Spec
from edeploylib.state import ProfileName, State

# What the ledger says of a machine's assignment. That a machine is installed,
# the operator says.
INSTALLING = 'installing'
INSTALLED = 'installed'
FAILED = 'failed'
RELEASED = 'released'

# The place of a machine that the ledger does not know yet.
NEW = 0


class Assignment(NamedTuple):
    """What one machine holds.

    While ``status`` is installing or installed it holds a unit of the profile's
    quota; once it has failed, only its entry is kept for it. ``claim`` is its
    CMDB entry, None for a profile without CMDB.
    """

    machine: int
    profile: ProfileName
    status: str
    claim: Claim | None = None

    @property
    def holds_unit(self) -> bool:
        return self.status in (INSTALLING, INSTALLED)


class World(Protocol):
    """The operator's files and the ledger, as they stand at one instant.

    Files are read when they are asked for. A broken one raises the
    ``FormatError`` of its kind, a missing one ``MissingFile``.
    """

    def state(self) -> State: ...

    def spec(self, profile: ProfileName) -> Spec: ...

    def configure(self, profile: ProfileName) -> str: ...

    def cmdb(self, profile: ProfileName) -> Cmdb | None:
        """None: the profile has no CMDB."""

    def machines(self, keys: Iterable[Key]) -> Iterable[Machine]:
        """The machines that have one of the keys."""

    def assignment(self, machine: Machine) -> Assignment | None: ...

    def claims(self, profile: ProfileName) -> Iterable[Claim]:
        """What is held of the profile's CMDB, or kept for a machine that failed."""

    def orphans(self, listed: Collection[ProfileName]) -> Iterable[Claim]:
        """What is held of profiles that the state no longer lists."""


class Refusal(NamedTuple):
    """Why a profile did not take the machine; ``spec`` if that does not match."""

    profile: ProfileName
    reason: str
    spec: Spec | None = None

    def __str__(self) -> str:
        return f'{self.profile}: {self.reason}'


class Changes(NamedTuple):
    """What to write: None and absent are left as they are."""

    state: State | None = None
    cmdbs: Mapping[ProfileName, Cmdb] = {}
    assignment: Assignment | None = None


class Decision(NamedTuple):
    """The outcome for one upload.

    ``profile`` is None where no profile took the machine; ``refusals`` then
    has all of them in the order of the state, else those before ``profile``,
    whose ``spec`` matched. ``contradictions`` are edits of its CMDB that do not
    fit the ledger.
    """

    name: str
    identity: Identity
    profile: ProfileName | None = None
    spec: Spec | None = None
    variables: Mapping[str, Value] = {}
    refusals: tuple[Refusal, ...] = ()
    changes: Changes = Changes()
    note: str = ''
    contradictions: tuple[str, ...] = ()


def select(inventory: Inventory, world: World, ignored_macs: Iterable[str] = ()) -> Decision:
    """The first profile, in the order of the state, that can take the machine.

    A profile takes it if it has quota, its spec matches, and it can give an
    entry of its CMDB. Raises what keeps it from deciding: IdentityConflict,
    UnclearEntry, SearchLimitExceeded, or the error of a broken file.
    """
    identity = identify_machine(inventory, world, ignored_macs)
    held = world.assignment(identity.machine) if identity.machine else None
    state = world.state()
    refusals: list[Refusal] = []
    for profile in state.quotas:
        # A profile that M holds already counts as having one more.
        holds = held is not None and held.profile == profile
        if not (state.has_left(profile) or (holds and held and held.holds_unit)):
            # A spent quota skips the profile without reading it.
            refusals.append(Refusal(profile, 'its quota is spent'))
            continue
        machine = identity.machine.id if identity.machine else NEW
        taken = _take(inventory, profile, machine, world)
        if isinstance(taken, Refusal):
            refusals.append(taken)
            continue
        found, cmdb, entry, new, contradictions = taken
        return Decision(
            name=inventory.sysname,
            identity=identity,
            profile=profile,
            spec=world.spec(profile),
            variables={**found.variables, **entry},
            refusals=tuple(refusals),
            changes=changes_of(world, state, held, new, cmdb),
            contradictions=contradictions,
        )
    return Decision(inventory.sysname, identity, refusals=tuple(refusals))


def fail(
    inventory: Inventory, profile: str, world: World, ignored_macs: Iterable[str] = ()
) -> Decision:
    """What a machine's report that a profile's configuration failed changes.

    A failure report by M for the profile that it holds gives the quota back
    once: M no longer holds the unit, but its entry stays reserved for it. Any
    other failure report changes nothing; the decision's ``note`` says why.
    """
    identity = identify_machine(inventory, world, ignored_macs)
    held = world.assignment(identity.machine) if identity.machine else None
    decision = Decision(inventory.sysname, identity)
    if held is None:
        return decision._replace(note=f'ignored: this machine holds no profile, not {profile!r}')
    if held.profile != profile:
        return decision._replace(
            note=f'ignored: this machine holds profile {held.profile!r}, not {profile!r}'
        )
    if not held.holds_unit:
        return decision._replace(note=f'ignored: the failure of {profile!r} is known already')
    changes, note = failed(held, world.state())
    return decision._replace(profile=held.profile, changes=changes, note=note)


def failed(held: Assignment, state: State) -> tuple[Changes, str]:
    """What the failure of a profile that a machine holds a unit of changes, in words too."""
    given_back = state.give_back(held.profile) if held.profile in state.quotas else state
    is_same = given_back is state
    quota = 'there is no quota to give back' if is_same else 'its quota given back'
    return (
        Changes(None if is_same else given_back, assignment=held._replace(status=FAILED)),
        f'the failure of {held.profile!r} is noted, {quota}',
    )


def identify_machine(
    inventory: Inventory, world: World, ignored_macs: Iterable[str] = ()
) -> Identity:
    """The machine that an inventory is of; raises IdentityConflict."""
    keys = keys_of(inventory, ignored_macs)
    return identify(keys, world.machines(keys))


class Taken(NamedTuple):
    """What a profile gives a machine, with the CMDB as it is then."""

    match: Match
    cmdb: Cmdb | None
    entry: Entry
    assignment: Assignment
    contradictions: tuple[str, ...] = ()


def _take(
    inventory: Inventory, profile: ProfileName, machine: int, world: World
) -> Taken | Refusal:
    """What the profile would give the machine, or why it cannot take it.

    A missing or broken spec stops the selection with that error, as does a
    missing or broken configure or CMDB of a profile whose spec matches.
    """
    spec = world.spec(profile)
    try:
        found = match(spec, inventory)
    except SearchLimitExceeded as gave_up:
        # Giving up never lets the next profile have the machine.
        raise SearchLimitExceeded(
            f'profile {profile!r}: {gave_up.message}', hint=gave_up.hint
        ) from None
    if found is None:
        return Refusal(profile, 'its spec does not match', spec)
    world.configure(profile)
    cmdb = world.cmdb(profile)
    if cmdb is None:
        held = {claim.machine: claim for claim in world.claims(profile)}
        gone = (f'{profile}: its CMDB is gone, of which {len(held)} machines hold entries',)
        # It may come back.
        assignment = Assignment(machine, profile, INSTALLING, held.get(machine))
        return Taken(found, None, {}, assignment, gone if held else ())
    own = {claim.machine: claim for claim in world.claims(profile)}
    claims = {**_orphans(world), **own}
    holders = cmdb.holders(claims.values())
    check_clear(machine, profile, holders)
    index = cmdb.find(found.variables, found.keys, machine, holders)
    if isinstance(index, NoEntry):
        return Refusal(profile, f'its CMDB has no entry for it: {index.reason}')
    taken = given(machine, profile, found, cmdb, index, claims, holders)
    contradictions = _contradictions(profile, own, holders)
    return taken._replace(contradictions=tuple(contradictions))


def check_clear(machine: int, profile: ProfileName, holders: Holders) -> None:
    """Raises UnclearEntry if it is not known which entry of a CMDB a machine holds."""
    unclear = [index for index, machines in holders.doubtful.items() if machine in machines]
    if unclear:
        from shlex import quote

        # Not a no, which would let the next profile have the machine.
        raise UnclearEntry(
            f'profile {profile!r}: its CMDB has been edited so that it is unclear which of the '
            f'entries {unclear} (counted from 0) machine {machine} holds',
            hint='leave the entry something that no other has, such as its host name; or decide: '
            f'edeployctl reassign {machine} {quote(profile)} --entry {unclear[0]}, or '
            f'edeployctl release {machine}',
        )


def given(
    machine: int,
    profile: ProfileName,
    found: Match,
    cmdb: Cmdb,
    index: int,
    claims: Mapping[int, Claim],
    holders: Holders,
) -> Taken:
    """What a machine has once it is given the entry at an index.

    Its former entry in the CMDB is released, if that is another.
    """
    after = cmdb.give(index, found.variables)
    before = cmdb.entries[index]
    former = holders.index_of(machine)
    if former == index or (former is None and machine in holders.doubtful.get(index, ())):
        # With what the operator has edited since, which a release is to keep.
        before = cmdb.release(index, claims[machine]).entries[index]
    elif former is not None:
        # The keys name another entry of the same CMDB now.
        after = after.release(former, claims[machine])
    entry = after.entries[index]
    claim = Claim.of(machine, before, entry, index, cmdb.own(index, {**before, **entry}))
    assignment = Assignment(machine, profile, INSTALLING, claim)
    return Taken(found, after, entry, assignment)


def _contradictions(
    profile: ProfileName, machines: Collection[int], holders: Holders
) -> Iterable[str]:
    """What the ledger says that machines hold, and the file does not have."""
    there = {*holders.held.values(), *chain.from_iterable(holders.doubtful.values())}
    for machine in sorted({*machines} - there):
        yield f'{profile}: the entry of machine {machine} is no longer there'
    for index, claimants in holders.doubtful.items():
        whose = ' or '.join(map(str, sorted(claimants)))
        yield f'{profile}: entry {index} may be that of machine {whose}'


def claims_of(world: World, profile: ProfileName) -> dict[int, Claim]:
    """What is held of a profile's CMDB, by machine.

    A profile that was renamed has its entries still.
    """
    own = {claim.machine: claim for claim in world.claims(profile)}
    return {**_orphans(world), **own}


def _orphans(world: World) -> dict[int, Claim]:
    return {claim.machine: claim for claim in world.orphans(world.state().quotas)}


def changes_of(
    world: World,
    state: State,
    held: Assignment | None,
    new: Assignment,
    cmdb: Cmdb | None,
) -> Changes:
    """The new profile is decremented, the old one given back and its entry released."""
    after = state
    cmdbs: dict[ProfileName, Cmdb] = {}
    if cmdb is not None and cmdb.is_changed:
        cmdbs[new.profile] = cmdb
    if not (held and held.holds_unit and held.profile == new.profile):
        after = after.take(new.profile)
    if held and held.profile != new.profile:
        if held.holds_unit and held.profile in after.quotas:
            after = after.give_back(held.profile)
        released = _released(world, held)
        # In the CMDB of a profile that was renamed, it is what the machine has again.
        if released is not None and released[0] != new.profile and released[1].is_changed:
            cmdbs[released[0]] = released[1]
    return Changes(
        state=after if after is not state else None,
        cmdbs=cmdbs,
        assignment=new if new != held else None,
    )


def _released(world: World, held: Assignment) -> tuple[ProfileName, Cmdb] | None:
    """The CMDB of a profile that a machine leaves, with its entry as it was before.

    Of a profile that was renamed, it is the CMDB in which the entry is found.
    """
    if held.claim is None:
        return None
    listed = world.state().quotas
    for profile in [held.profile] if held.profile in listed else [held.profile, *listed]:
        claims = claims_of(world, profile)
        cmdb = world.cmdb(profile)
        index = cmdb.holders(claims.values()).index_of(held.machine) if cmdb else None
        if cmdb is not None and index is not None:
            return profile, cmdb.release(index, claims[held.machine])
    return None
