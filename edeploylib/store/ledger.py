"""The store's own record of machines and what they hold, in SQLite."""

import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple

from edeploylib.claims import Claim
from edeploylib.errors import StoreError
from edeploylib.identity import Key, Machine
from edeploylib.literal import Value
from edeploylib.select import RELEASED, Assignment, Decision
from edeploylib.state import ProfileName
from edeploylib.store.disk import create

if TYPE_CHECKING:
    from edeploylib.release import Ruling

# A section is a world of its own, in a ledger that several may share.
# Entries are Python literals, as in the CMDB: JSON would make lists of tuples.
SCHEMA = """
CREATE TABLE IF NOT EXISTS machines (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    section TEXT NOT NULL,
    name TEXT NOT NULL,
    since REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS keys (
    section TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    machine INTEGER NOT NULL REFERENCES machines (id),
    PRIMARY KEY (section, kind, value)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_of_machine ON keys (machine);
CREATE TABLE IF NOT EXISTS assignments (
    machine INTEGER NOT NULL REFERENCES machines (id),
    section TEXT NOT NULL,
    profile TEXT NOT NULL,
    status TEXT NOT NULL,
    before TEXT,
    after TEXT,
    position INTEGER NOT NULL,
    own TEXT NOT NULL,
    since REAL NOT NULL,
    changed REAL NOT NULL,
    inventory TEXT NOT NULL,
    PRIMARY KEY (machine, profile)
);
CREATE INDEX IF NOT EXISTS assignments_of_profile ON assignments (section, profile);
CREATE TABLE IF NOT EXISTS unwritten (
    section TEXT NOT NULL,
    path TEXT NOT NULL,
    base TEXT,
    text BLOB NOT NULL,
    PRIMARY KEY (section, path)
);
CREATE TABLE IF NOT EXISTS journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    section TEXT NOT NULL,
    time REAL NOT NULL,
    machine INTEGER REFERENCES machines (id),
    name TEXT NOT NULL,
    address TEXT NOT NULL,
    profile TEXT,
    status TEXT NOT NULL,
    variables TEXT NOT NULL,
    reasons TEXT NOT NULL,
    inventory TEXT NOT NULL,
    configuration TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS journal_of_machine ON journal (machine);
CREATE VIEW IF NOT EXISTS history AS
SELECT
    journal.section,
    datetime(journal.time, 'unixepoch') AS time,
    journal.machine,
    journal.name,
    (
        SELECT group_concat(kind || ' ' || value, ', ') FROM keys WHERE machine = journal.machine
    ) AS keys,
    journal.address,
    journal.profile,
    journal.status,
    journal.variables,
    journal.reasons,
    journal.inventory,
    journal.configuration
FROM journal ORDER BY journal.id;
PRAGMA user_version = 1;
"""
VERSION = 1

# What the journal says of a machine about which nothing could be decided.
REFUSED = 'refused'

# Of a known machine, the last line stays, and that of its last upload.
_OLD = """
FROM journal WHERE section = ? AND time < ? AND id NOT IN (
    SELECT max(id) FROM journal WHERE machine IN (SELECT id FROM machines) GROUP BY machine
    UNION SELECT max(id) FROM journal
    WHERE machine IN (SELECT id FROM machines) AND inventory <> '' GROUP BY machine
)
"""


# What opening a ledger costs, a server pays once in each of its threads.
_connections: dict[int, tuple[tuple[int, int, int], sqlite3.Connection]] = {}


def _create(path: str) -> None:
    # SQLite takes an empty file for a new database.
    try:
        os.close(create(path, 0o640))
    except OSError as error:
        raise StoreError(f'cannot create the ledger {path}: {error.strerror}') from None


def _identity(path: str) -> tuple[int, int, int]:
    """Of a file, and the process: neither is another's connection to be used."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        _create(path)
        stat = os.stat(path)
    return (os.getpid(), stat.st_dev, stat.st_ino)


class Unwritten(NamedTuple):
    """A text that a file is to have, and the digest of the one that it replaces.

    ``base`` is None where there was no file.
    """

    base: str | None
    text: bytes


class Context(NamedTuple):
    """Around a decision: whose address, and the digests of what it was made of."""

    address: str
    inventory: str
    configuration: str


class Ledger:
    """One section of the ledger, for the holder of the section's lock.

    All that is read and recorded is one transaction of SQLite's, which keeps
    others out too, should the lock file have been deleted under its holder.

    Raises StoreError, which names the file, wherever SQLite cannot go on.
    """

    def __init__(self, path: str, section: str) -> None:
        self._path = path
        self._section = section
        self._is_over = False
        self._is_sound = True
        with self._reported():
            self._db = self._connect(path)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _connect(self, path: str) -> sqlite3.Connection:
        """This thread's connection, from the last time if it was to the same file."""
        identity = _identity(path)
        kept = _connections.pop(get_ident(), None)
        if kept is not None:
            if kept[0] == identity:
                return kept[1]
            kept[1].close()
        return sqlite3.connect(path, timeout=30, isolation_level=None)

    def _prepare(self) -> None:
        version = self._checked_version()
        self._db.execute('PRAGMA synchronous = FULL')
        if version < VERSION:
            self._db.executescript(f'BEGIN IMMEDIATE; {SCHEMA} COMMIT;')
        self._db.execute('BEGIN IMMEDIATE')

    def _checked_version(self) -> int:
        (version,) = self._db.execute('PRAGMA user_version').fetchone()
        if version > VERSION:
            raise StoreError(
                f'{self._path}: expected a ledger of version {VERSION}, found {version}',
                hint='it was written by a newer edeploy',
            )
        return int(version)

    def close(self) -> None:
        """End the transaction; what was not committed has not happened."""
        self._is_over = True
        try:
            if self._db.in_transaction:
                self._db.execute('ROLLBACK')
            if self._is_sound:
                _connections[get_ident()] = (_identity(self._path), self._db)
                return
        except (sqlite3.Error, StoreError):
            pass  # it is of no use to the next transaction
        self._db.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        if self._is_over:
            raise StoreError('the transaction is over')
        try:
            yield
        except sqlite3.Error as error:
            self._is_sound = False
            raise StoreError(f'the ledger {self._path}: {error}') from None

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._reported():
            return self._db.execute(query, values).fetchall()

    def machines(self, keys: Iterable[Key]) -> list[Machine]:
        """The machines that have one of the keys."""
        query = 'SELECT machine FROM keys WHERE section = ? AND kind = ? AND value = ?'
        ids = {int(id) for key in keys for (id,) in self._rows(query, self._section, *key)}
        return [self._machine(id) for id in sorted(ids)]

    def machine(self, id: int) -> Machine | None:
        there = self._rows(
            'SELECT id FROM machines WHERE section = ? AND id = ?', self._section, id
        )
        return self._machine(id) if there else None

    def last_note(self, machine: int) -> int:
        """The number of the journal's last line on a machine, 0 if there is none."""
        ((last,),) = self._rows('SELECT max(id) FROM journal WHERE machine = ?', machine)
        return int(last or 0)

    def _machine(self, id: int) -> Machine:
        ((name,),) = self._rows('SELECT name FROM machines WHERE id = ?', id)
        keys = self._rows('SELECT kind, value FROM keys WHERE machine = ?', id)
        return Machine(id, name, frozenset(Key(kind, value) for kind, value in keys))

    def assignment(self, machine: Machine) -> Assignment | None:
        query = (
            'SELECT machine, profile, status, before, after, position, own '
            "FROM assignments WHERE machine = ? AND status <> 'released'"
        )
        for id, profile, status, *claim in self._rows(query, machine.id):
            claimed = None if claim[0] is None else Claim(id, *claim)
            return Assignment(id, ProfileName(profile), status, claimed)
        return None

    def claims(self, profile: ProfileName) -> list[Claim]:
        """What is held of a profile's CMDB."""
        query = (
            'SELECT machine, before, after, position, own FROM assignments '
            'WHERE section = ? AND profile = ? AND before IS NOT NULL '
            "AND status <> 'released' ORDER BY machine"
        )
        return list(map(Claim._make, self._rows(query, self._section, profile)))

    def orphans(self, listed: Collection[ProfileName]) -> list[Claim]:
        """What is held of profiles that are not listed."""
        query = 'SELECT DISTINCT profile FROM assignments WHERE section = ?'
        there = [ProfileName(profile) for (profile,) in self._rows(query, self._section)]
        gone = [profile for profile in there if profile not in listed]
        return [claim for profile in gone for claim in self.claims(profile)]

    def record(self, decision: Decision, texts: Mapping[str, Unwritten], context: Context) -> None:
        """The commit point: the decision, and the texts that files are to have."""
        now = time.time()
        with self._reported():
            machine = decision.identity.machine
            id = None if machine is None else machine.id
            if decision.profile is not None:
                id = self._learn(decision)
            held = decision.changes.assignment
            if held is not None:
                assert id is not None
                self._assign(id, held, context, now)
            for key, former in decision.identity.moved if decision.profile is not None else ():
                moved = [f'{key} has gone to machine {id}']
                self._note(now, former.id, former.name, None, 'key moved', {}, moved, context)
            self._note(
                now,
                id,
                decision.name,
                decision.profile,
                held.status if held else decision.note or 'unchanged',
                decision.variables,
                [str(refusal) for refusal in decision.refusals],
                context,
            )
            self._commit(texts)

    def refuse(self, name: str, reason: str, context: Context) -> None:
        """Note why nothing could be decided of a machine, and commit."""
        with self._reported():
            self._note(time.time(), None, name, None, REFUSED, {}, [reason], context)
            self._commit({})

    def rule(self, ruling: 'Ruling', texts: Mapping[str, Unwritten], context: Context) -> None:
        """The commit point of what an operator has decided, and of the texts it makes."""
        now = time.time()
        with self._reported():
            for step in ruling.steps:
                made_of = context._replace(inventory=step.inventory)
                id, name, _ = step.machine
                if step.assignment is not None:
                    self._assign(id, step.assignment, made_of, now)
                self._db.executemany(
                    'DELETE FROM keys WHERE section = ? AND kind = ? AND value = ?',
                    [(self._section, *key) for key in step.lost],
                )
                if step.is_forgotten:
                    self._db.execute('DELETE FROM assignments WHERE machine = ?', (id,))
                    self._db.execute('DELETE FROM machines WHERE id = ?', (id,))
                self._note(
                    now, id, name, step.profile, step.what, step.variables, step.notes, made_of
                )
            self._commit(texts)

    def _note(
        self,
        now: float,
        id: int | None,
        name: str,
        profile: ProfileName | None,
        what: str,
        variables: Mapping[str, Value],
        reasons: Iterable[str],
        context: Context,
    ) -> None:
        """In the journal."""
        self._db.execute(
            'INSERT INTO journal VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
            (
                self._section,
                now,
                id,
                name,
                context.address,
                profile,
                what,
                json.dumps(variables),
                json.dumps(list(reasons)),
                context.inventory,
                context.configuration,
            ),
        )

    def _commit(self, texts: Mapping[str, Unwritten]) -> None:
        self._db.executemany(
            'INSERT OR REPLACE INTO unwritten VALUES (?, ?, ?, ?)',
            [(self._section, path, *unwritten) for path, unwritten in texts.items()],
        )
        self._db.execute('COMMIT')

    def _assign(self, id: int, held: Assignment, context: Context, now: float) -> None:
        """What a machine held of another profile is released.

        ``since`` is when it got the profile that it holds. The inventory is that
        of the last upload, which an operator's word does not change.
        """
        self._db.execute(
            'UPDATE assignments SET status = ?, changed = ? '
            'WHERE machine = ? AND profile <> ? AND status <> ?',
            (RELEASED, now, id, held.profile, RELEASED),
        )
        known = self._db.execute(
            'SELECT since, inventory FROM assignments '
            'WHERE machine = ? AND profile = ? AND status <> ?',
            (id, held.profile, RELEASED),
        ).fetchone()
        claim = (None, None, -1, '') if held.claim is None else held.claim[1:]
        self._db.execute(
            'INSERT OR REPLACE INTO assignments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
            (
                id,
                self._section,
                held.profile,
                held.status,
                *claim,
                known[0] if known else now,
                now,
                context.inventory or (known[1] if known else ''),
            ),
        )

    def _learn(self, decision: Decision) -> int:
        machine = decision.identity.machine
        if machine is None:
            id = self._db.execute(
                'INSERT INTO machines (section, name, since) VALUES (?, ?, ?)',
                (self._section, decision.name, time.time()),
            ).lastrowid
            assert id is not None
        else:
            id = machine.id
            if machine.name != decision.name:
                self._db.execute('UPDATE machines SET name = ? WHERE id = ?', (decision.name, id))
        moved = [key for key, _ in decision.identity.moved]
        self._db.executemany(
            'INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?)',
            [(self._section, *key, id) for key in (*decision.identity.learned, *moved)],
        )
        return id

    def old(self, before: float) -> int:
        """How many lines of the journal are older, and not the last on their machine."""
        ((count,),) = self._rows(f'SELECT count(*) {_OLD}', self._section, before)
        return int(count)

    def prune(self, before: float) -> int:
        """Remove them, and commit."""
        with self._reported():
            count = self._db.execute(f'DELETE {_OLD}', (self._section, before)).rowcount
            self._db.execute('COMMIT')
            return count

    def unwritten(self) -> dict[str, Unwritten]:
        """The texts of files that a crash kept from being written, by path."""
        rows = self._rows(
            'SELECT path, base, text FROM unwritten WHERE section = ?', self._section
        )
        return {str(path): Unwritten(base, text) for path, base, text in rows}

    def written(self) -> None:
        """All files have the texts that they are to have."""
        with self._reported():
            before_deciding = self._db.in_transaction
            if not before_deciding:
                # Should a power cut undo it, the texts are found written.
                self._db.execute('PRAGMA synchronous = OFF')
            self._db.execute('DELETE FROM unwritten WHERE section = ?', (self._section,))
            if before_deciding:
                self._db.execute('COMMIT')
                self._db.execute('BEGIN IMMEDIATE')
