"""Racks of machines as hardware-detect tells them, for the tests of plans and of learning."""

import json
import random
from pathlib import Path

Facts = list[tuple[str, str, str, object]]


def server(number: int, rng: random.Random) -> Facts:
    """One of many like servers: two disks and two cards, and what is its own."""
    mac = f'9c:b6:54:{number >> 8:02x}:{number & 255:02x}'
    facts: Facts = [
        ('disk', 'logical', 'count', '2'),
        *disk('sda', 299 + number % 3, 'HP', f'S{number}A'),
        *disk('sdb', 1000, 'HP', f'S{number}B'),
        ('system', 'product', 'serial', f'CZ34{number:05d}'),
        ('system', 'product', 'name', 'ProLiant BL460c Gen8 (641016-B21)'),
        ('system', 'product', 'vendor', 'HP'),
        (
            'system',
            'product',
            'uuid',
            f'30373237-3132-5a43-{number:04x}-{rng.getrandbits(48):012x}',
        ),
        ('firmware', 'bios', 'version', 'I35'),
        ('firmware', 'bios', 'date', '09/18/2013'),
        ('firmware', 'bios', 'vendor', 'HP'),
        ('memory', 'bank:0:0', 'size', '17179869184'),
        ('memory', 'bank:0:0', 'slot', 'PROC  1 DIMM  1'),
        ('memory', 'total', 'size', str(137438953472 - 4096 * rng.randrange(5))),
        *card('eth0', f'{mac}:00', '04:00.0', f'10.29.{number >> 8}.{number & 255}'),
        *card('eth1', f'{mac}:01', '04:00.1', None),
        ('cpu', 'physical', 'number', 2),
        ('cpu', 'physical_0', 'product', 'Intel(R) Xeon(R) CPU E5-2650 0 @ 2.00GHz'),
        ('cpu', 'physical_0', 'cores', 8),
        ('cpu', 'logical', 'number', 32),
        ('cpu', 'logical_0', 'bogomips', f'{3990 + rng.random() * 9:.2f}'),
        ('cpu', 'logical_0', 'loops_per_sec', rng.randrange(700, 760)),
        ('system', 'ipmi', 'channel', '2'),
        ('system', 'kernel', 'version', '6.1.0-18-amd64'),
    ]
    return facts


def disk(name: str, size: int, vendor: str, serial: str) -> Facts:
    return [
        ('disk', name, 'size', str(size)),
        ('disk', name, 'vendor', vendor),
        ('disk', name, 'model', 'LOGICAL VOLUME'),
        ('disk', name, 'rotational', '1'),
        ('disk', name, 'scheduler', 'mq-deadline'),
        ('disk', name, 'wwn-id', f'wwn-{serial}'),
    ]


def card(name: str, mac: str, bus: str, address: str | None) -> Facts:
    addressed: Facts = [
        ('network', name, 'ipv4', address),
        ('network', name, 'ipv4-netmask', '255.255.255.0'),
    ]
    return [
        ('network', name, 'serial', mac),
        ('network', name, 'businfo', f'pci@0000:{bus}'),
        ('network', name, 'link', 'yes' if address else 'no'),
        ('network', name, 'driver', 'be2net'),
        *(addressed if address else []),
    ]


def changed(facts: Facts, *changes: tuple[str, str, str, object]) -> Facts:
    """The facts with other values."""
    values = {change[:3]: change[3] for change in changes}
    return [(*fact[:3], values.get(fact[:3], fact[3])) for fact in facts]


def without(facts: Facts, category: str, name: str) -> Facts:
    """The facts without those of one device."""
    return [fact for fact in facts if fact[:2] != (category, name)]


def rack(count: int, seed: int = 2013) -> list[Facts]:
    rng = random.Random(seed)
    return [server(number, rng) for number in range(1, count + 1)]


def write(folder: Path, machines: list[Facts]) -> Path:
    """An inventory a file, numbered, as they are uploaded."""
    folder.mkdir(exist_ok=True)
    for number, facts in enumerate(machines, 1):
        (folder / f'm{number:03d}.json').write_text(json.dumps(facts))
    return folder
