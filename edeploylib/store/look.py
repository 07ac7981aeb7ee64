"""The ledger as it stands, for those who only look: nothing is created, locked or changed."""

import os
import sqlite3
from contextlib import closing
from typing import NamedTuple
from urllib.parse import quote

from edeploylib.claims import Claim
from edeploylib.errors import StoreError
from edeploylib.select import RELEASED, Assignment
from edeploylib.state import ProfileName
from edeploylib.store.ledger import VERSION

_HELD = """
SELECT machine, name, profile, status, before, after, position, own
FROM assignments JOIN machines ON machines.id = machine
WHERE assignments.section = ? AND status <> ? ORDER BY machine
"""


class Held(NamedTuple):
    """What a machine holds; ``name`` is its inventory's sysname."""

    name: str
    assignment: Assignment


class View(NamedTuple):
    """One section of a ledger; ``unwritten`` are the paths that a crash left to be written."""

    path: str
    held: tuple[Held, ...] = ()
    unwritten: tuple[str, ...] = ()


def look(path: str, section: str) -> View | None:
    """What a section's machines hold, or None if there is no ledger.

    Raises StoreError, which names the file, if it is none that can be read.
    """
    if not os.path.exists(path):
        return None
    try:
        with closing(sqlite3.connect(f'file:{quote(path)}?mode=ro', uri=True)) as db:
            (version,) = db.execute('PRAGMA user_version').fetchone()
            if version > VERSION:
                raise StoreError(
                    f'{path}: expected a ledger of version {VERSION}, found {version}',
                    hint='it was written by a newer edeploy',
                )
            if version == 0:
                return View(path)  # it was made, and nothing put into it
            db.execute('BEGIN')
            rows = db.execute(_HELD, (section, RELEASED)).fetchall()
            paths = db.execute('SELECT path FROM unwritten WHERE section = ?', (section,))
            return View(path, tuple(_held(*row) for row in rows), tuple(one for (one,) in paths))
    except sqlite3.Error as error:
        raise StoreError(f'the ledger {path}: {error}', hint=_hint(path, error)) from None


def _hint(path: str, error: sqlite3.Error) -> str:
    if 'locked' in str(error):
        return 'an upload is being committed: look again'
    # A reader must not do what a crash has left to be undone.
    crashed = os.path.exists(f'{path}-journal')
    return 'a crash has left its journal: the next upload mends it' if crashed else ''


def _held(
    machine: int,
    name: str,
    profile: str,
    status: str,
    before: str | None,
    after: str | None,
    position: int,
    own: str,
) -> Held:
    claim = None
    if before is not None and after is not None:
        claim = Claim(machine, before, after, position, own)
    return Held(name, Assignment(machine, ProfileName(profile), status, claim))
