"""What a machine is made of, out of its inventory, for programs to read."""

from edeploylib.inventory import Inventory, Scalar
from edeploylib.units import decimal

# Properties as ``hardware-detect`` names them, and what they are called here.
_SYSTEM = ('vendor', 'name', 'serial', 'uuid')
_BANK = {'size': 'bytes', 'clock': 'hertz', 'description': 'description', 'slot': 'slot'}
_CPU = {'product': 'model', 'vendor': 'vendor', 'cores': 'cores', 'threads': 'threads'}
_DISK = {
    'size': 'gigabytes',
    'type': 'type',
    'vendor': 'vendor',
    'model': 'model',
    'rev': 'revision',
    'rotational': 'rotational',
}
_NIC = {
    'serial': 'mac',
    'driver': 'driver',
    'speed': 'speed',
    'size': 'bits_per_second',
    'link': 'link',
    'ipv4': 'ipv4',
    'ipv6': 'ipv6',
    'vendor': 'vendor',
    'product': 'model',
}
_NUMBERS = ('bytes', 'hertz', 'cores', 'threads', 'gigabytes', 'bits_per_second')
_TRUTHS = {'rotational': {'1': True, '0': False}, 'link': {'yes': True, 'no': False}}

Device = dict[str, Scalar]
# Of a category: the properties of each name, in the order of the facts.
_Names = dict[str, dict[str, list[Scalar]]]


def hostinfo(inventory: Inventory) -> dict[str, object]:
    """System, memory (bytes, and banks), CPUs, disks and NICs, for JSON.

    What was not detected is left out, or None where a number is expected; a
    number that is none is given as the text that it is.
    """
    memory, cpus = _names('memory', inventory), _names('cpu', inventory)
    sizes = [_number(size) for size in memory.get('total', {}).get('size', [])]
    totals = [size for size in sizes if isinstance(size, int | float)]
    return {
        'system': {
            name: text for name in _SYSTEM if (text := inventory.first('system', 'product', name))
        },
        'memory': {
            # One for each of the machine's memories.
            'bytes': sum(totals) if totals else None,
            'banks': _devices(memory, _BANK, besides=('total', 'banks')),
        },
        'cpus': {
            'physical': _count(cpus, 'physical'),
            'logical': _count(cpus, 'logical'),
            'sockets': _devices(
                {name: its for name, its in cpus.items() if name.startswith('physical_')}, _CPU
            ),
        },
        'disks': _devices(_names('disk', inventory), _DISK, besides=('logical',)),
        'nics': _devices(_names('network', inventory), _NIC),
    }


def _names(category: str, inventory: Inventory) -> _Names:
    found: _Names = {}
    for its, name, prop, value in inventory.facts:
        if its == category:
            found.setdefault(name, {}).setdefault(prop, []).append(value)
    return found


def _devices(
    names: _Names, properties: dict[str, str], besides: tuple[str, ...] = ()
) -> list[Device]:
    return [
        {'name': name, **_shown(its, properties)}
        for name, its in names.items()
        if name not in besides and its.keys() & properties.keys()
    ]


def _shown(detected: dict[str, list[Scalar]], properties: dict[str, str]) -> Device:
    shown: Device = {}
    for prop, name in properties.items():
        if prop in detected:
            value = detected[prop][0]
            truths = _TRUTHS.get(name, {})
            shown[name] = _number(value) if name in _NUMBERS else truths.get(str(value), value)
    return shown


def _count(cpus: _Names, name: str) -> Scalar | None:
    number = cpus.get(name, {}).get('number')
    return _number(number[0]) if number else None


def _number(value: Scalar) -> Scalar:
    number = decimal(str(value))
    if number is None:
        return value
    return number if isinstance(number, int) else float(number)
