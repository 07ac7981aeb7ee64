"""What the ledger says, held against the files."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from edeploylib.check.findings import Finding
from edeploylib.check.read import PlacedCmdb
from edeploylib.check.whole import Checked, Profile
from edeploylib.claims import Claim, find_holders
from edeploylib.errors import Place
from edeploylib.select import Assignment

# What a machine holds, behind the name of its inventory.
Held = tuple[str, Assignment]


def check_ledger(holding: Sequence[Held], checked: Checked) -> Iterator[Finding]:
    if checked.listed is None or not checked.listed.is_whole:
        return
    machines = {held.machine: name for name, held in holding}
    claims: defaultdict[str, dict[int, Claim]] = defaultdict(dict)
    for _, held in holding:
        if held.claim:
            claims[held.profile][held.machine] = held.claim
    listed = {profile.name: profile for profile in checked.profiles if profile.row}
    # A profile that was renamed has its entries still.
    gone = [its for name, its in claims.items() if name not in listed]
    orphans = {machine: claim for its in gone for machine, claim in its.items()}
    found: set[int] = set()
    for name, profile in listed.items():
        if profile.cmdb:
            own = claims.get(name, {})
            there, findings = _of_entries(profile.cmdb, own, orphans, machines)
            found |= there
            yield from findings
        elif not profile.has_cmdb and profile.row and claims.get(name):
            count = _machines(len(claims[name]))
            message = f'{count} of the CMDB of {name!r}, which is gone'
            yield Finding('lost-cmdb', profile.row.place, message)
    yield from _lost_profiles(holding, checked, listed, found)


def _machines(count: int) -> str:
    return '1 machine holds an entry' if count == 1 else f'{count} machines hold entries'


def _lost_profiles(
    holding: Sequence[Held], checked: Checked, listed: Mapping[str, Profile], found: set[int]
) -> Iterator[Finding]:
    lost = Counter(
        held.profile
        for _, held in holding
        if held.profile not in listed and held.machine not in found and held.holds_unit
    )
    for name, count in lost.items():
        who = '1 machine holds' if count == 1 else f'{count} machines hold'
        message = f'{who} profile {str(name)!r}, which the state does not list'
        if checked.listed:
            yield Finding('lost-profile', checked.listed.place, message)


def _of_entries(
    cmdb: PlacedCmdb,
    own: Mapping[int, Claim],
    orphans: Mapping[int, Claim],
    machines: Mapping[int, str],
) -> tuple[set[int], list[Finding]]:
    """The machines whose entries are there, and what does not fit."""
    holders = find_holders(cmdb.entries, {**orphans, **own}.values())
    there = {*holders.held.values(), *chain.from_iterable(holders.doubtful.values())}
    findings = [
        Finding('lost-entry', Place(cmdb.origin, 1), _lost(machine, own[machine], machines))
        for machine in own.keys() - there
    ]
    for index, whose in holders.doubtful.items():
        names = ' or '.join(_named(machine, machines) for machine in sorted(whose))
        message = f'entry {index} may be that of {names}'
        findings.append(Finding('unclear-entry', cmdb.place(index), message))
    for index, entry in enumerate(cmdb.entries):
        holder = holders.held.get(index)
        if holder is not None and not entry.get('used'):
            message = f'entry {index} is held by {_named(holder, machines)}'
            findings.append(Finding('freed-but-held', cmdb.place(index), message))
        elif holder is None and index not in holders.doubtful and entry.get('used'):
            message = f'entry {index} is used, and held by no machine that the ledger knows'
            findings.append(Finding('unheld-entry', cmdb.place(index, 'used'), message))
    return there, findings


def _named(machine: int, machines: Mapping[int, str]) -> str:
    return f'machine {machine} ({machines[machine]})'


def _lost(machine: int, claim: Claim, machines: Mapping[int, str]) -> str:
    entry = {name: value for name, value in claim.after.items() if name != 'used'}
    return f'the entry of {_named(machine, machines)} is gone: {entry!a:.200}'
