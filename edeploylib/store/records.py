"""What the ledger says, for people: read, never waited for, never changed."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from edeploylib.claims import Claim
from edeploylib.errors import MissingFile, StoreError
from edeploylib.identity import Key
from edeploylib.inventory import Inventory
from edeploylib.select import RELEASED, Assignment
from edeploylib.settings import Settings
from edeploylib.state import ProfileName
from edeploylib.store.disk import read
from edeploylib.store.files import FileTransaction, digest
from edeploylib.store.ledger import REFUSED, SCHEMA, Ledger

T = TypeVar('T')


class Event(NamedTuple):
    """A line of the journal; times are seconds since 1970.

    ``what`` is the status that a machine had then, ``unchanged``, ``refused``, or
    what was done or ignored. ``reasons`` are refusals, or notes on an operator's ruling.
    """

    id: int
    time: float
    machine: int | None
    name: str
    address: str
    profile: str | None
    what: str
    variables: dict[str, object]
    reasons: tuple[str, ...]
    inventory: str

    @property
    def is_refusal(self) -> bool:
        return self.profile is None and self.what in ('unchanged', REFUSED)


class Holding(NamedTuple):
    """An assignment of now or of before, and since when it is as it is."""

    assignment: Assignment
    since: float
    changed: float


class Record(NamedTuple):
    """A machine, what it holds, and the last of the journal on it."""

    id: int
    name: str
    since: float
    keys: tuple[Key, ...]
    holding: Holding | None
    last: Event | None


class Records(Ledger):
    """One section of the ledger, as it was at one instant.

    Raises StoreError, which names the file, wherever SQLite cannot go on.
    """

    def _connect(self, path: str) -> sqlite3.Connection:
        try:
            with open(path, 'rb'):
                pass
        except FileNotFoundError as error:
            if os.path.isdir(os.path.dirname(path)):
                return _empty()
            raise _unreadable(path, error) from None
        except OSError as error:
            raise _unreadable(path, error) from None
        name = f'file:{quote(path)}?mode=ro'
        return sqlite3.connect(name, uri=True, timeout=30, isolation_level=None)

    def _prepare(self) -> None:
        if self._checked_version() == 0:
            # It has just been made, and nothing was recorded yet.
            self._db.close()
            self._db = _empty()
        self._db.execute('BEGIN')

    def close(self) -> None:
        self._is_over = True
        self._db.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            with super()._reported():
                yield
        except StoreError as error:
            if 'readonly' in error.message:
                # What was cut off is rolled back by the next who may write.
                hint = 'an upload was killed while it committed: the next one puts it right'
                raise StoreError(error.message, hint=hint) from None
            raise

    def all(self) -> list[Record]:
        """In the order of their numbers."""
        keys: dict[int, list[Key]] = {}
        for id, kind, value in self._rows(
            'SELECT machine, kind, value FROM keys WHERE section = ?', self._section
        ):
            keys.setdefault(id, []).append(Key(kind, value))
        held = {one.assignment.machine: one for one in self.holdings() if _is_held(one)}
        last = {
            event.machine: event
            for event in self._events(
                'id IN (SELECT max(id) FROM journal WHERE machine IS NOT NULL GROUP BY machine)'
            )
        }
        machines = self._rows(
            'SELECT id, name, since FROM machines WHERE section = ? ORDER BY id', self._section
        )
        return [
            Record(id, name, since, tuple(sorted(keys.get(id, ()))), held.get(id), last.get(id))
            for id, name, since in machines
        ]

    @property
    def last_id(self) -> int:
        """The highest number that a machine has been given, in any section."""
        found = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'machines'")
        return int(found[0][0]) if found else 0

    def holdings(self, machine: int | None = None) -> list[Holding]:
        """Oldest first; of all machines, or of one."""
        rows = self._rows(
            'SELECT machine, profile, status, before, after, position, own, since, changed '
            'FROM assignments WHERE section = ? AND ? IN (machine, -1) ORDER BY since',
            self._section,
            -1 if machine is None else machine,
        )
        return [
            Holding(
                Assignment(
                    id,
                    ProfileName(profile),
                    status,
                    None if claim[0] is None else Claim(id, *claim),
                ),
                since,
                changed,
            )
            for id, profile, status, *claim, since, changed in rows
        ]

    def history(self, machine: int) -> list[Event]:
        """All of the journal on a machine, oldest first."""
        return self._events('machine = ?', machine)

    def named(self, name: str) -> list[Event]:
        """All of the journal under a name, that of machines unknown included."""
        return self._events('name = ?', name)

    def names(self) -> list[str]:
        """Under which machines that are not known have asked."""
        query = 'SELECT DISTINCT name FROM journal WHERE section = ? AND machine IS NULL'
        return [name for (name,) in self._rows(query, self._section)]

    def last_words(self) -> list[Event]:
        """Refusals that are the last that was heard under their names, newest first."""
        events = self._events(
            'id IN (SELECT max(id) FROM journal WHERE section = ? GROUP BY name)', self._section
        )
        return [event for event in reversed(events) if event.is_refusal]

    def _events(self, which: str, *values: object) -> list[Event]:
        rows = self._rows(
            'SELECT id, time, machine, name, address, profile, status, variables, reasons, '
            f'inventory FROM journal WHERE section = ? AND {which} ORDER BY id',
            self._section,
            *values,
        )
        return [
            Event._make((*row[:7], json.loads(row[7]), tuple(json.loads(row[8])), row[9]))
            for row in rows
        ]


def _is_held(holding: Holding) -> bool:
    return holding.assignment.status != RELEASED


def _unreadable(path: str, error: OSError) -> StoreError:
    hint = 'run this as the user of the web server, or as root'
    return StoreError(
        f'cannot read the ledger {path}: {error.strerror}',
        hint=hint if isinstance(error, PermissionError) else '',
    )


def _empty() -> sqlite3.Connection:
    db = sqlite3.connect(':memory:', isolation_level=None)
    db.executescript(SCHEMA)
    return db


class Saved(NamedTuple):
    """``is_last``: whether it is what the machine's last decision was made of."""

    path: str
    inventory: Inventory
    is_last: bool


class Glance(FileTransaction):
    """The operator's files and the ledger, for who only looks: nothing can be committed.

    Files that a commit has still to write are read as they are to be.
    """

    def __init__(self, settings: Settings, records: Records) -> None:
        super().__init__(settings, records, '')
        self.records = records
        self._folders = settings.configdir, settings.hwdir
        self._unwritten_yet = records.unwritten()

    def _parsed(self, name: str, parse: Callable[[str | bytes, str], T]) -> T | None:
        path = os.path.join(self._folders[0], name)
        text = self._to_be(os.path.realpath(path))
        return super()._parsed(name, parse) if text is None else parse(text, path)

    def _to_be(self, path: str) -> bytes | None:
        left = self._unwritten_yet.get(path)
        return left.text if left is not None and digest(read(path)) == left.base else None

    def saved(self, machine: int) -> Saved:
        """What a machine uploaded last; raises MissingFile, or the error of its file."""
        uploads = [event for event in self.records.history(machine) if event.inventory]
        name = uploads[-1].name if uploads else ''
        path = os.path.join(self._folders[1], f'{name}.hw')
        text = self._to_be(path) or read(path) if name else None
        if text is None:
            raise MissingFile(f'no inventory of machine {machine} is saved as {path}')
        inventory = Inventory.parse(text, path)
        return Saved(path, inventory, inventory.digest == uploads[-1].inventory)


@contextmanager
def glance(settings: Settings) -> Iterator[Glance]:
    """One look, of which uploads take no notice; a long one would make them wait.

    No ledger is an empty one: no machine has come yet.
    """
    with closing(Records(settings.ledger, settings.section)) as records:
        yield Glance(settings, records)
