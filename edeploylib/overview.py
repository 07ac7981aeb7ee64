"""Who holds what, and what is left: the ledger and the operator's files side by side."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from edeploylib.claims import Claim
from edeploylib.cmdb import Cmdb
from edeploylib.errors import EdeployError, NotPossible, SeveralMachines, UnknownMachine
from edeploylib.generate import Entry
from edeploylib.identity import Key
from edeploylib.select import FAILED, INSTALLED, INSTALLING, RELEASED
from edeploylib.state import ProfileName, Quota
from edeploylib.store.records import Event, Glance, Record

# What names a host in an entry, the best name first.
HOST_KEYS = ('hostname', 'host', 'fqdn', 'name', 'ip', 'ipv4', 'address', 'ipv6')

# Seconds after which an installation that nobody has ended is worth a look.
OVERDUE = 3600

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400}


class Row(NamedTuple):
    """A machine, with its entry as the CMDB has it now."""

    record: Record
    entry: Entry | None = None

    @property
    def id(self) -> int:
        return self.record.id

    @property
    def profile(self) -> ProfileName | None:
        return self.record.holding.assignment.profile if self.record.holding else None

    @property
    def status(self) -> str:
        return self.record.holding.assignment.status if self.record.holding else RELEASED

    @property
    def seen(self) -> float:
        """When the journal last had it."""
        return self.record.last.time if self.record.last else self.record.since

    @property
    def hosts(self) -> list[str]:
        """What its entry calls it, the best name first."""
        entry = self.entry or {}
        return [str(entry[key]) for key in HOST_KEYS if key in entry]

    def is_overdue(self, now: float) -> bool:
        return self.status == INSTALLING and now - self.seen > OVERDUE

    def __str__(self) -> str:
        host = f', {self.hosts[0]}' if self.hosts else ''
        return f'machine {self.id} ({self.record.name}{host})'


class Stock(NamedTuple):
    """What is left of a profile; the last four are None where it has no CMDB.

    ``quota`` is None where the state does not list it. ``held`` are the
    entries that known machines hold, used or not; a ``free`` one is neither.
    """

    profile: ProfileName
    quota: Quota | None
    installing: int
    installed: int
    failed: int
    entries: int | None = None
    used: int | None = None
    held: int | None = None
    free: int | None = None


class Overview(NamedTuple):
    """``refusals`` are those that nothing has followed, newest first; ``problems`` are texts."""

    machines: tuple[Row, ...]
    stocks: tuple[Stock, ...]
    refusals: tuple[Event, ...]
    problems: tuple[str, ...]


def overview(world: Glance) -> Overview:
    """All of a deployment. What cannot be read is told among the problems."""
    problems: list[str] = []
    records = world.records.all()
    refusals = tuple(world.records.last_words())
    quotas: Mapping[ProfileName, Quota] = {}
    try:
        quotas = world.state().quotas
    except EdeployError as error:
        problems.append(str(error))
    held = [record.holding.assignment for record in records if record.holding]
    counts = Counter((one.profile, one.status) for one in held)
    claims = {one.machine: one.claim for one in held if one.claim}
    orphans = {one.machine for one in held if one.profile not in quotas}
    stocks = []
    entries: dict[int, Entry] = {}
    for profile in dict.fromkeys([*quotas, *sorted(one.profile for one in held)]):
        stock = Stock(
            profile,
            quotas.get(profile),
            *(counts[profile, status] for status in (INSTALLING, INSTALLED, FAILED)),
        )
        theirs = {one.machine for one in held if one.profile == profile}
        may = [claim for machine, claim in claims.items() if machine in theirs | orphans]
        try:
            cmdb = world.cmdb(profile)
            if cmdb is not None:
                stock, found = _counted(stock, cmdb, may)
                entries.update(found)
        except EdeployError as error:
            problems.append(str(error))
        stocks.append(stock)
    rows = (
        Row(record, entries.get(record.id) or _left_with(claims.get(record.id)))
        for record in records
    )
    return Overview(tuple(rows), tuple(stocks), refusals, tuple(problems))


def _counted(stock: Stock, cmdb: Cmdb, claims: Iterable[Claim]) -> tuple[Stock, dict[int, Entry]]:
    holders = cmdb.holders(claims)
    taken = {*holders.held, *holders.doubtful}
    used = [bool(entry.get('used')) for entry in cmdb.entries]
    stock = stock._replace(
        entries=len(cmdb),
        used=sum(used),
        held=len(holders.held),
        free=sum(not its and index not in taken for index, its in enumerate(used)),
    )
    return stock, {machine: cmdb.entries[index] for index, machine in holders.held.items()}


def _left_with(claim: Claim | None) -> Entry | None:
    """What the ledger says of an entry that is not to be found in its CMDB."""
    return claim.after if claim else None


def find(text: str, machines: Sequence[Row]) -> Row:
    """The machine that a text names.

    By its number, its name, one of its keys (a serial without its vendor too),
    or by what its entry calls the host, in any case. Raises UnknownMachine, with
    what is nearly so, and SeveralMachines.
    """
    for row in machines:
        if text == str(row.id):
            return row
    wanted = _plain(text)
    found = [row for row in machines if wanted in _names(row)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SeveralMachines(
            f'{text!r} is {", or ".join(map(str, found))}', hint='name it by its number'
        )
    names = {name for row in machines for name in _names(row)}
    near = get_close_matches(wanted, sorted(names), n=3, cutoff=0.75)
    raise UnknownMachine(
        f'no machine is known as {text!r}',
        hint=f'did you mean {" or ".join(near)}?' if near else 'edeployctl status lists them',
    )


def find_key(text: str, machines: Iterable[Row]) -> list[Key]:
    """The keys that a text is, in any case; raises UnknownMachine if no machine has it."""
    wanted = _plain(text)
    keys = [key for row in machines for key in row.record.keys]
    found = [key for key in keys if _plain(key.value) == wanted]
    exact = [key for key in found if key.value == text]
    if found:
        return exact or found
    near = get_close_matches(wanted, sorted({_plain(key.value) for key in keys}), n=3, cutoff=0.75)
    raise UnknownMachine(
        f'no machine is known by the key {text!r}',
        hint=f'did you mean {" or ".join(near)}?' if near else '',
    )


def _names(row: Row) -> set[str]:
    values = [key.value for key in row.record.keys]
    values += [key.value.partition('/')[2] for key in row.record.keys if key.kind == 'serial']
    return {_plain(name) for name in (row.record.name, *values, *row.hosts)}


def _plain(text: str) -> str:
    text = text.strip().lower()
    if text.endswith('.hw'):
        # The name of a saved inventory's file is the machine's.
        text = text.removesuffix('.hw').rpartition('/')[2]
    if re.fullmatch('[0-9a-f]{2}(-[0-9a-f]{2}){5}', text):
        return text.replace('-', ':')
    return text


def age(seconds: float) -> str:
    """``42s``, ``3m``, ``5h``, ``12d``: of the largest unit that is full."""
    for unit in 'dhm':
        if seconds >= _UNITS[unit]:
            return f'{int(seconds // _UNITS[unit])}{unit}'
    return f'{max(int(seconds), 0)}s'


def seconds(text: str) -> float:
    """What ``age`` writes, and weeks (``2w``), as seconds; raises NotPossible."""
    found = re.fullmatch(r'([0-9]{1,9})([smhdw])', text)
    if found is None:
        raise NotPossible(f'expected an age such as 90m, 12h or 30d, found {text!r}')
    return int(found[1]) * _UNITS[found[2]]
