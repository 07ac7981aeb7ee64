"""All that a decision reads, as it stood at one instant; nothing is written to get it."""

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from urllib.parse import quote

from edeploylib.claims import Claim
from edeploylib.errors import MissingFile, StoreError
from edeploylib.identity import Key, Machine
from edeploylib.select import RELEASED, Assignment
from edeploylib.settings import Settings
from edeploylib.state import ProfileName
from edeploylib.store.disk import read
from edeploylib.store.ledger import VERSION

_KINDS = ('.specs', '.configure', '.cmdb')


class Snapshot:
    """``texts`` are the files of CONFIGDIR by name, or why one cannot be read.

    ``last`` is the highest number that the ledger has given a machine.
    """

    def __init__(
        self,
        folder: str,
        texts: Mapping[str, bytes | StoreError],
        machines: tuple[Machine, ...] = (),
        assignments: tuple[Assignment, ...] = (),
        last: int = 0,
    ) -> None:
        self.folder = folder
        self.texts = texts
        self.machines = machines
        self.assignments = assignments
        self.last = last

    @classmethod
    def of_folder(cls, folder: str) -> 'Snapshot':
        """A CONFIGDIR alone, where nobody is known; raises StoreError."""
        return cls(folder, dict(_texts(folder, {})))

    @classmethod
    def of(cls, settings: Settings, folder: str | None = None) -> 'Snapshot':
        """A deployment, or another CONFIGDIR with what its ledger knows.

        Nobody is known where there is no ledger yet. Raises StoreError.
        """
        folder = settings.configdir if folder is None else folder
        if not os.path.exists(settings.ledger):
            return cls.of_folder(folder)
        with _reading(settings.ledger) as ledger:
            if _version(ledger, settings.ledger) == 0:
                return cls.of_folder(folder)
            section = settings.section
            machines = tuple(_machines(ledger, section))
            assignments = tuple(_assignments(ledger, section))
            last = _last(ledger)
            # While the ledger is read nobody can commit; and what has been
            # committed and is not in its file yet stands here.
            pending = {
                str(path): (base, bytes(text))
                for path, base, text in ledger.execute(
                    'SELECT path, base, text FROM unwritten WHERE section = ?', (section,)
                )
            }
            texts = dict(_texts(folder, pending))
        return cls(folder, texts, machines, assignments, last)


@contextmanager
def _reading(path: str) -> Iterator[sqlite3.Connection]:
    uri = f'file:{quote(os.path.abspath(path))}?mode=ro'
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)) as ledger:
            ledger.execute('BEGIN')
            yield ledger
    except sqlite3.Error as error:
        # A journal that a crash has left is rolled back by whoever may write.
        hint = 'if it was cut off in a commit, the next upload repairs it'
        raise StoreError(f'cannot read the ledger {path}: {error}', hint=hint) from None


def _version(ledger: sqlite3.Connection, path: str) -> int:
    (version,) = ledger.execute('PRAGMA user_version').fetchone()
    if version > VERSION:
        raise StoreError(
            f'{path}: expected a ledger of version {VERSION}, found {version}',
            hint='it was written by a newer edeploy',
        )
    return int(version)


def _machines(ledger: sqlite3.Connection, section: str) -> Iterator[Machine]:
    keys: dict[int, set[Key]] = {}
    for kind, value, id in ledger.execute(
        'SELECT kind, value, machine FROM keys WHERE section = ?', (section,)
    ):
        keys.setdefault(id, set()).add(Key(kind, value))
    for id, name in ledger.execute(
        'SELECT id, name FROM machines WHERE section = ? ORDER BY id', (section,)
    ):
        yield Machine(id, name, frozenset(keys.get(id, ())))


def _assignments(ledger: sqlite3.Connection, section: str) -> Iterator[Assignment]:
    query = (
        'SELECT machine, profile, status, before, after, position, own FROM assignments '
        'WHERE section = ? AND status <> ? ORDER BY machine'
    )
    for id, profile, status, *claim in ledger.execute(query, (section, RELEASED)):
        claimed = None if claim[0] is None else Claim(id, *claim)
        yield Assignment(id, ProfileName(profile), status, claimed)


def _last(ledger: sqlite3.Connection) -> int:
    found = ledger.execute("SELECT seq FROM sqlite_sequence WHERE name = 'machines'").fetchone()
    return int(found[0]) if found else 0


def _texts(
    folder: str, pending: Mapping[str, tuple[str | None, bytes]]
) -> Iterator[tuple[str, bytes | StoreError]]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        raise MissingFile(f'no configuration: {folder} does not exist') from None
    except OSError as error:
        raise StoreError(f'cannot read {folder}: {error.strerror}') from None
    for name in names:
        if name == 'state' or name.endswith(_KINDS):
            yield from _text(folder, name, pending)


def _text(
    folder: str, name: str, pending: Mapping[str, tuple[str | None, bytes]]
) -> Iterator[tuple[str, bytes | StoreError]]:
    path = os.path.realpath(os.path.join(folder, name))
    try:
        text = read(path)
    except StoreError as error:
        yield name, error
        return
    base, coming = pending.get(path, (None, b''))
    if text is not None and base == hashlib.sha256(text).hexdigest():
        text = coming
    if text is not None:
        yield name, text
