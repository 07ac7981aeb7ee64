"""Which machine is this?  By what it keeps, whatever it boots."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from edeploylib.errors import IdentityConflict, printable
from edeploylib.inventory import Inventory

# The order is that of their weight.
STRONG = ('uuid', 'serial', 'digest')

# Far more than a machine has; an upload holds the lock for as long as its keys take.
MOST_MACS = 256

# What firmware says when nobody has told it; compared in lower case, without blanks around.
JUNK = frozenset(
    {
        '',
        '0',
        '00020003-0004-0005-0006-000700080009',
        '00000000',
        '0123456789',
        '03000200-0400-0500-0006-000700080009',
        '1234567890',
        '1234567',
        '12345678',
        '12345678-1234-5678-90ab-cddeefaabbcc',
        '123456789',
        'base board serial number',
        'chassis serial number',
        'default',
        'default string',
        'empty',
        'fefefefe-fefe-fefe-fefe-fefefefefefe',
        'invalid',
        'n/a',
        'na',
        'no asset information',
        'none',
        'not applicable',
        'not available',
        'not present',
        'not settable',
        'not specified',
        'null',
        'o.e.m.',
        'oem',
        'serial',
        'serial number',
        'sn',
        'system serial',
        'system serial number',
        'system uuid',
        'to be filled by o.e.m',
        'to be filled by o.e.m.',
        'to be filled by oem',
        'undefined',
        'unknown',
        'unspecified',
        'x',
        'xxxxxxx',
    }
)


class Key(NamedTuple):
    """``kind`` is uuid, serial, mac or digest; a serial's value names its vendor too."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f'{self.kind} {self.value!r}'


class Machine(NamedTuple):
    """A machine that the ledger knows; ``name`` is its inventory's sysname."""

    id: int
    name: str
    keys: frozenset[Key]

    def __str__(self) -> str:
        return f'machine {self.id} ({self.name})'


class Identity(NamedTuple):
    """``machine`` is None for a new one; ``moved`` are MACs known elsewhere until now."""

    machine: Machine | None
    learned: tuple[Key, ...] = ()
    moved: tuple[tuple[Key, Machine], ...] = ()


def keys_of(inventory: Inventory, ignored_macs: Iterable[str] = ()) -> tuple[Key, ...]:
    """The identity keys of an inventory: never none.

    Junk is no key, nor are the MACs (lower case, with colons) of adapters that
    go from box to box. An inventory without any key is known by its digest.
    """
    ignored = frozenset(ignored_macs)
    uuid = inventory.first('system', 'product', 'uuid').strip().lower()
    serial = inventory.first('system', 'product', 'serial').strip()
    vendor = inventory.first('system', 'product', 'vendor').strip()
    found = [Key('uuid', uuid)] if not _is_junk(uuid) else []
    found += [Key('serial', f'{vendor}/{serial}')] if not _is_junk(serial) else []
    found += [
        Key('mac', mac)
        for mac in inventory.macs[:MOST_MACS]
        if mac not in ignored and not _is_junk(mac)
    ]
    return tuple(found) or (Key('digest', inventory.digest),)


def identify(keys: Iterable[Key], known: Iterable[Machine]) -> Identity:
    """The machine that has the keys, among those known that share one with it.

    Raises IdentityConflict where the keys do not name one machine: nothing is
    merged and nothing is guessed.
    """
    keys = tuple(keys)
    known = tuple(known)
    # In the order of the keys, so that what is told is always the same.
    owners = {key: machine for key in keys for machine in known if key in machine.keys}
    strong = {owner.id: owner for key, owner in owners.items() if key.kind in STRONG}
    anyone = {owner.id: owner for owner in owners.values()}

    # Known strong keys that all name one machine: it is that one. It learns the
    # new keys; a MAC known elsewhere moves to it.
    if len(strong) == 1:
        (machine,) = strong.values()
        return _known(machine, keys, owners)

    # No strong key known, but MACs, all of one machine, which has no other
    # value for a strong key that is given here: it is that one.
    if not strong and len(anyone) == 1:
        (machine,) = anyone.values()
        given = {key.kind for key in keys if key.kind in STRONG}
        if given.isdisjoint(key.kind for key in machine.keys):
            return _known(machine, keys, owners)

    # Nothing known: a new machine.
    if not anyone:
        return Identity(None, keys)

    # All else is a conflict.
    raise _conflict(keys, owners, anyone)


def _known(machine: Machine, keys: tuple[Key, ...], owners: dict[Key, Machine]) -> Identity:
    return Identity(
        machine,
        tuple(key for key in keys if key not in owners),
        tuple((key, owner) for key, owner in owners.items() if owner.id != machine.id),
    )


def _conflict(
    keys: tuple[Key, ...], owners: dict[Key, Machine], anyone: dict[int, Machine]
) -> IdentityConflict:
    clashes = '; '.join(f'{key} is of {owner}' for key, owner in owners.items())
    other = [key for key in keys if key not in owners and key.kind in STRONG]
    new = f', but {" and ".join(map(str, other))} is not' if other else ''
    if len(anyone) > 1:
        message = f'these keys are of {len(anyone)} machines: {clashes}{new}'
    else:
        message = f'this is another machine with a known address: {clashes}{new}'
    return IdentityConflict(message, hint='\n'.join(_ways_out(keys, owners, anyone)))


def _ways_out(
    keys: tuple[Key, ...], owners: dict[Key, Machine], anyone: dict[int, Machine]
) -> Iterator[str]:
    """The commands that decide, each with the case in which it is right."""
    yield 'say what has happened:'
    strong = {owner.id: owner for key, owner in owners.items() if key.kind in STRONG}
    given = {key.kind for key in keys if key.kind in STRONG}
    for machine in (strong or anyone).values():
        theirs = [key for key, owner in owners.items() if owner.id != machine.id]
        if strong:
            # Strong keys of its own suffice: the MACs of others move to it.
            parts = [key for key in theirs if key.kind in STRONG]
            # A machine that has lost but a card to this one stays what it is.
            others = ' '.join(str(id) for id in strong if id != machine.id)
            yield f'  it is {machine}, with parts of others: {_forgetting(parts)}'
            yield f'  it is {machine}, known twice: edeployctl release --forget {others}'
        else:
            former = sorted(key for key in machine.keys if key.kind in given)
            board = ' with another board' if former else ''
            yield f'  it is {machine}{board}: {_forgetting([*former, *theirs])}'
    if not strong:
        yield f'  it is new, with cards from elsewhere: {_forgetting(owners)}'
        yield '  an adapter goes from box to box: add it to IGNOREMACS in edeploy.conf'


def _forgetting(keys: Iterable[Key]) -> str:
    from shlex import quote

    values = [quote(printable(key.value)) for key in keys]
    end = '-- ' if any(value.startswith('-') for value in values) else ''
    return f'edeployctl forget-key {end}{" ".join(values)}'


def _is_junk(value: str) -> bool:
    text = value.strip().lower()
    digits = ''.join(c for c in text if c.isascii() and c.isalnum())
    all_equal = len(digits) > 1 and len(set(digits)) == 1
    return text in JUNK or not digits or all_equal
