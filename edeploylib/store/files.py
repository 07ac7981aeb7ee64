"""The store of a running service: CONFIGDIR, HWDIR, LOCKFILE and the ledger."""

import hashlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from edeploylib.claims import Claim
from edeploylib.cmdb import Cmdb
from edeploylib.errors import EdeployError, EditedMeanwhile, StoreError
from edeploylib.identity import Key, Machine
from edeploylib.inventory import Inventory
from edeploylib.select import Assignment, Changes, Decision
from edeploylib.settings import Settings
from edeploylib.state import ProfileName, State
from edeploylib.store.cache import parsed
from edeploylib.store.disk import discard, publish, read, stage, write
from edeploylib.store.ledger import Context, Ledger, Unwritten
from edeploylib.store.lock import locked
from edeploylib.store.texts import Texts

if TYPE_CHECKING:
    from edeploylib.release import Ruling

T = TypeVar('T')


class FileStore:
    """One section of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @contextmanager
    def transaction(self, who: str = '') -> Iterator['FileTransaction']:
        settings = self._settings
        with (
            _reported(),
            locked(settings.lockfile, settings.lock_timeout, who),
            closing(Ledger(settings.ledger, settings.section)) as ledger,
        ):
            _recover(ledger)
            world = FileTransaction(settings, ledger, who)
            try:
                yield world
            except BaseException:
                with suppress(OSError):
                    world.keep()
                raise
            world.keep()


class FileTransaction(Texts):
    def __init__(self, settings: Settings, ledger: Ledger, who: str) -> None:
        super().__init__(self._parsed, settings.configdir)
        self._settings = settings
        self._ledger = ledger
        self._who = who
        self._digests: dict[str, str] = {}
        self._inventory: Inventory | None = None

    def _parsed(self, name: str, parse: Callable[[str | bytes, str], T]) -> T | None:
        found = parsed(os.path.join(self._settings.configdir, name), parse)
        self._digests[name] = found.digest if found else ''
        return found.value if found else None

    def machines(self, keys: Iterable[Key]) -> list[Machine]:
        return self._ledger.machines(keys)

    def machine(self, id: int) -> Machine | None:
        return self._ledger.machine(id)

    def last_note(self, machine: int) -> int:
        return self._ledger.last_note(machine)

    def assignment(self, machine: Machine) -> Assignment | None:
        return self._ledger.assignment(machine)

    def claims(self, profile: ProfileName) -> list[Claim]:
        return self._ledger.claims(profile)

    def orphans(self, listed: Collection[ProfileName]) -> list[Claim]:
        return self._ledger.orphans(listed)

    def save(self, inventory: Inventory) -> None:
        """As HWDIR/SYSNAME.hw, with the decision, or alone if there is none."""
        self._inventory = inventory

    def keep(self) -> None:
        """Save an inventory of which nothing was decided."""
        if self._inventory is not None:
            write({path: saved.text for path, saved in self._saved(self._inventory)})

    def _saved(self, inventory: Inventory) -> Iterator[tuple[str, Unwritten]]:
        """The inventory's file; nothing, where it says that already."""
        path = os.path.join(self._settings.hwdir, f'{inventory.sysname}.hw')
        text, there = inventory.render().encode(), read(path)
        if there == text:
            with suppress(PermissionError):
                os.utime(path)  # its time is that of the last upload
        else:
            yield path, Unwritten(digest(there), text)

    def commit(self, decision: Decision) -> None:
        unwritten = dict(self._unwritten(decision.changes))
        if self._inventory is not None:
            unwritten.update(self._saved(self._inventory))
        self._commit(unwritten, lambda: self._ledger.record(decision, unwritten, self._context()))

    def refuse(self, reason: str) -> None:
        assert self._inventory is not None
        self._ledger.refuse(self._inventory.sysname, reason, self._context())

    def rule(self, ruling: 'Ruling') -> None:
        unwritten = dict(self._unwritten(ruling.changes))
        self._commit(unwritten, lambda: self._ledger.rule(ruling, unwritten, self._context()))

    def prune(self, before: float) -> int:
        """Remove what is older from the journal, as seconds since 1970; how many lines."""
        return self._ledger.prune(before)

    def _commit(self, unwritten: dict[str, Unwritten], record: Callable[[], None]) -> None:
        """Write the files beside, commit the ledger, then rename the files.

        What a crash leaves undone after the ledger's commit is done by the
        next transaction.
        """
        texts = {path: its.text for path, its in unwritten.items()}
        originals = {path: path.partition('.cmdb.orig')[0] + '.cmdb' for path in texts}
        staged = stage(texts, {path: of for path, of in originals.items() if '.cmdb.orig' in path})
        try:
            record()
        except BaseException:
            discard(staged.values())
            raise
        self._inventory = None

        def is_due(path: str) -> bool:
            if digest(read(path)) == unwritten[path].base:
                return True
            _warn(path, 'it was edited while this was committed')
            return False

        publish(staged, texts, is_due)
        if texts:
            self._ledger.written()

    def _context(self) -> Context:
        read_files = '\n'.join(
            f'{name} {digest}' for name, digest in sorted(self._digests.items())
        )
        digest = self._inventory.digest if self._inventory else ''
        return Context(self._who, digest, hashlib.sha256(read_files.encode()).hexdigest())

    def _unwritten(self, changes: Changes) -> Iterator[tuple[str, Unwritten]]:
        """The files to write: path, text and what the text replaces.

        Raises EditedMeanwhile if that is not what the decision was made of.
        """
        texts: dict[str, Cmdb | State] = {
            f'{profile}.cmdb': cmdb for profile, cmdb in changes.cmdbs.items()
        }
        if changes.state is not None:
            texts['state'] = changes.state
        for name, changed in texts.items():
            path = os.path.realpath(os.path.join(self._settings.configdir, name))
            there = read(path)
            if there != changed.text.encode():
                raise EditedMeanwhile(f'{path} was edited while this was being decided')
            if isinstance(changed, Cmdb) and changed.is_synthetic:
                yield _free(f'{path}.orig'), Unwritten(None, there)
            yield path, Unwritten(digest(there), changed.render().encode())


@contextmanager
def _reported() -> Iterator[None]:
    """Whatever else the system refuses is the store's error too."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f'the store cannot go on: {error}') from None


def _recover(ledger: Ledger) -> None:
    """Do what the last holder left undone that died between its commit and its files.

    A file that has been edited since is the operator's.
    """
    left = ledger.unwritten()
    if not left:
        return
    texts = {}
    for path, (base, text) in left.items():
        there = read(path)
        if there is None and not os.path.isdir(os.path.dirname(path)):
            _warn(path, 'its folder is gone')
        elif there == text:
            continue
        elif digest(there) == base or _is_cut_off(path, there, text):
            texts[path] = text
        else:
            _warn(path, 'it was edited after a crash')
    write(texts)
    ledger.written()


def _is_cut_off(path: str, there: bytes | None, text: bytes) -> bool:
    """Whether a file was being written in place when the power failed: it is no edit."""
    if there is None or os.access(os.path.dirname(path), os.W_OK):
        return False
    parse = State.parse if os.path.basename(path) == 'state' else Cmdb.parse
    try:
        parse(there)
    except EdeployError:
        return True
    return text.startswith(there)


def _warn(path: str, why: str) -> None:
    # Nearly no upload has this to tell, and a CGI program starts for each.
    import logging

    logging.getLogger('edeploylib').warning('event=unwritten file=%r kept=%r', path, why)


def digest(text: bytes | None) -> str | None:
    """By which the ledger knows a file's text; None of no file."""
    return None if text is None else hashlib.sha256(text).hexdigest()


def _free(path: str) -> str:
    """The path, or the first numbered one that no file has."""
    numbered = (f'{path}.{number}' for number in itertools.count(2))
    return next(
        one for one in (path, *itertools.islice(numbered, 1000)) if not os.path.exists(one)
    )
