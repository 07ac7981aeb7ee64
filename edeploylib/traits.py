"""What like machines have in common: the traits of an inventory, its devices aligned.

A device's name is an accident of its boot. So the disks and network cards of a
machine are put in an order by what they are, and the first of one machine is
the first of another.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from edeploylib.identity import JUNK
from edeploylib.inventory import Inventory
from edeploylib.units import decimal

DISK, DRIVE, CARD = 'disk', 'drive', 'network'


class Trait(NamedTuple):
    """Where a text stands: a fact's category, name and property.

    Of a device, ``kind`` is what it is, and ``name`` its number in the order
    of its like.
    """

    category: str
    name: str
    property: str
    kind: str = ''

    def __str__(self) -> str:
        if self.kind:
            return f'{self.property} of {"card" if self.kind == CARD else self.kind} {self.name}'
        return f'{self.category} {self.name} {self.property}'


class Device(NamedTuple):
    name: str
    texts: Mapping[str, str]


# What an operator would tell a kind of machines by.
CHOSEN = (
    ('system', 'product', 'vendor'),
    ('system', 'product', 'name'),
    ('system', 'product', 'version'),
    ('system', 'ipmi', 'channel'),
    ('firmware', 'bios', 'version'),
    ('cpu', 'physical', 'number'),
    ('cpu', 'physical_0', 'product'),
    ('cpu', 'physical_0', 'cores'),
    ('cpu', 'logical', 'number'),
    ('memory', 'total', 'size'),
    ('disk', 'logical', 'count'),
)
OF_DEVICES = {
    DISK: ('size', 'vendor', 'model', 'rotational'),
    DRIVE: ('size', 'type'),
    CARD: ('businfo', 'driver'),
}

# What changes from boot to boot, by use, or with what is installed.
_VOLATILE_PARTS = (
    ('system', 'kernel'),
    ('system', 'os'),
    ('system', 'rtc'),
    ('system', 'load'),
    ('hw', 'auxv'),
)
_VOLATILE = re.compile(
    r'standalone|simultaneous|threaded|forked|bandwidth|loops|bogomips|freq|clock|mhz|temp|time'
    r'|load|governor|boost|scheduler|nr_requests|^link$|speed|duplex|latency|autoneg|ip(v4|v6)'
    r'|netmask|serial|uuid|wwn|^id$|-id$|cmdline|hours|error|count_of|age|worst|raw|smart|power'
    r'|cache (en|dis)able|date|utc|mtu',
    re.IGNORECASE,
)
_VOLATILE_CATEGORIES = ('lldp', 'ipmi', 'sensor', 'sensors')
# Cards that the system makes up.
_VIRTUAL = re.compile(
    r'(?:lo|docker|br|virbr|veth|tap|tun|bond|team|dummy|vnet|vlan)\d*$|.*[.@].*'
)


def is_stable(category: str, name: str, prop: str) -> bool:
    """Whether such a fact belongs to the hardware, as far as its name tells."""
    return not (
        (category, name) in _VOLATILE_PARTS
        or category in _VOLATILE_CATEGORIES
        or (category == 'cpu' and name.startswith('logical_'))
        or _VOLATILE.search(prop)
    )


def scalars(inventory: Inventory) -> dict[Trait, str]:
    """The first text of each fact that is not of a disk or a card, and not junk."""
    found: dict[Trait, str] = {}
    for category, name, prop, value in inventory.facts:
        text = str(value)
        is_device = category == CARD or (category == DISK and name != 'logical')
        if not is_device and text.strip().lower() not in JUNK - {'0', 'default'}:
            found.setdefault(Trait(category, name, prop), text)
    return found


def devices(inventory: Inventory) -> dict[str, list[Device]]:
    """The disks, the drives behind a RAID card, and the network cards."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for category, name, prop, value in inventory.facts:
        kind = category
        if category == DISK:
            kind = DRIVE if ':' in name else DISK
        if (category, name) != (DISK, 'logical') and category in (DISK, CARD):
            found.setdefault((kind, name), {}).setdefault(prop, str(value))
    kinds: dict[str, list[Device]] = {DISK: [], DRIVE: [], CARD: []}
    for (kind, name), texts in found.items():
        if kind != CARD or ('serial' in texts and not _VIRTUAL.fullmatch(name)):
            kinds[kind].append(Device(name, texts))
    return kinds


def aligned(kind: str, machines: Sequence[Sequence[Device]]) -> list[list[Device]]:
    """Each machine's devices of a kind in the order that makes them most alike."""
    if kind != CARD:
        return [sorted(its, key=_by_disk) for its in machines]
    buses = Counter(tuple(sorted(one.texts.get('businfo', '') for one in its)) for its in machines)
    commonest, count = buses.most_common(1)[0] if buses else ((), 0)
    by_bus = all(commonest) and len(set(commonest)) == len(commonest) and 2 * count > len(machines)
    return [sorted(its, key=_by_bus if by_bus else _by_address) for its in machines]


def _by_disk(device: Device) -> tuple[object, ...]:
    texts = device.texts
    size = decimal(texts.get('size', '')) or 0
    return (
        texts.get('rotational', ''),
        texts.get('type', ''),
        size,
        texts.get('vendor', ''),
        texts.get('model', ''),
        natural(device.name),
    )


def _by_bus(device: Device) -> tuple[object, ...]:
    return natural(device.texts.get('businfo', '')), natural(device.name)


def _by_address(device: Device) -> tuple[object, ...]:
    # The card that it booted from first.
    return 'ipv4' not in device.texts, device.texts.get('driver', ''), natural(device.name)


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A key to sort by, in which eth2 comes before eth10."""
    return tuple(
        (int(part[:18]), '') if part.isdecimal() and part.isascii() else (-1, part)
        for part in re.split(r'([0-9]+)', text)
    )


def texts_of(
    scalar: Mapping[Trait, str], lined_up: Mapping[str, Sequence[Device]], slots: Mapping[str, int]
) -> dict[Trait, str]:
    """All of a machine's traits; of its devices, as many of a kind as there are slots."""
    found = dict(scalar)
    for kind, its in lined_up.items():
        category = CARD if kind == CARD else DISK
        for number, device in enumerate(its[: slots[kind]]):
            for prop, text in device.texts.items():
                found[Trait(category, str(number), prop, kind)] = text
    return found


def order_of(traits: Iterable[Trait]) -> list[Trait]:
    """The chosen ones in their order, then the others; devices last."""

    def key(trait: Trait) -> tuple[object, ...]:
        chosen: Sequence[object] = OF_DEVICES[trait.kind] if trait.kind else CHOSEN
        own: object = trait.property if trait.kind else trait[:3]
        place = chosen.index(own) if own in chosen else len(chosen)
        kinds = ('', *OF_DEVICES)
        number = natural(trait.name) if trait.kind else ()
        return (
            kinds.index(trait.kind),
            number,
            place,
            trait.category,
            natural(trait.name),
            trait[2],
        )

    return sorted(traits, key=key)
