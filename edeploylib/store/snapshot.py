"""All that a decision reads, as it stood at one instant; nothing is written to get it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress

from edeploylib.errors import MissingFile, StoreError
from edeploylib.identity import Machine
from edeploylib.select import Assignment
from edeploylib.settings import Settings
from edeploylib.store.disk import read
from edeploylib.store.files import digest
from edeploylib.store.ledger import Unwritten
from edeploylib.store.records import Records

# Looks at files that change while they are read.
_ATTEMPTS = 5

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
        where = settings.configdir if folder is None else folder
        for _ in range(_ATTEMPTS):
            before = _identities(where)
            with closing(Records(settings.ledger, settings.section)) as records:
                known, unwritten, last = records.all(), records.unwritten(), records.last_id
            # Without the ledger, which uploads would have to wait for. What has been
            # committed and is not in its file yet stands in what is unwritten.
            texts = dict(_texts(where, unwritten))
            if _identities(where) == before:
                break
        machines = tuple(Machine(one.id, one.name, frozenset(one.keys)) for one in known)
        held = tuple(one.holding.assignment for one in known if one.holding is not None)
        return cls(where, texts, machines, held, last)


def _identities(folder: str) -> dict[str, tuple[int, ...]]:
    """By which the files of a folder are seen to be the same as before."""
    found: dict[str, tuple[int, ...]] = {}
    with suppress(OSError), os.scandir(folder) as there:
        for one in there:
            with suppress(OSError):
                stat = one.stat()
                found[one.name] = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return found


def _texts(
    folder: str, pending: Mapping[str, Unwritten]
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
    folder: str, name: str, pending: Mapping[str, Unwritten]
) -> Iterator[tuple[str, bytes | StoreError]]:
    path = os.path.realpath(os.path.join(folder, name))
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise StoreError(f'cannot read {path}: it is no file')
        text = read(path)
    except StoreError as error:
        yield name, error
        return
    coming = pending.get(path)
    if text is not None and coming is not None and coming.base == digest(text):
        text = coming.text
    if text is not None:
        yield name, text
