"""The entries of CMDBs: what two hosts cannot share, and what no host can have."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

from edeploylib.check.findings import Finding
from edeploylib.check.read import Model, PlacedCmdb
from edeploylib.errors import Place
from edeploylib.generate import Entry, lengths
from edeploylib.literal import Value

IP, HOSTNAME, MAC = 'ip', 'hostname', 'mac'

# Words of keys. What is of the network, not of the host, may be shared.
_SHARED = frozenset(
    (
        *('gateway', 'gw', 'router', 'route', 'netmask', 'mask', 'subnet', 'prefix'),
        *('network', 'net', 'broadcast', 'bcast', 'dns', 'nameserver', 'ntp', 'dhcp', 'relay'),
        *('server', 'next', 'pxe', 'tftp', 'proxy', 'syslog', 'log', 'master', 'vip'),
        *('peer', 'remote', 'mgr', 'manager'),
    )
)
_OF_NETWORK = {'gateway', 'gw', 'dns', 'nameserver', 'broadcast', 'router'}
_NETMASK = ('netmask', 'mask', 'prefix', 'prefixlen')
_GATEWAY = ('gateway', 'gw')

_HEX = re.compile(r'[0-9a-f]{2}(?:([:-])[0-9a-f]{2}){5}(?:\1[0-9a-f]{2})*')
_HOSTNAME = re.compile(r'(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?')
_NUMERIC = re.compile(r'[0-9]+(?:\.[0-9]+)+')
_COLONS = re.compile(r'[0-9A-Fa-f:]+(?:[0-9.]+)?')
_ACCIDENTS = {
    'date': re.compile(r'(?<!\d)(?:19|20)\d\d-\d\d-\d\d(?!\d)'),
    'UUID': re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', re.I),
    'MAC': re.compile(r'(?<![0-9a-f-])[0-9a-f]{2}(?:-[0-9a-f]{2}){5}(?![0-9a-f-])', re.I),
}


def check_entries(found: PlacedCmdb) -> Iterator[Finding]:
    if not found.entries:
        yield Finding('empty-cmdb', Place(found.origin, 1), 'the CMDB has no entries')
    for model in found.models:
        yield from _check_model(found, model)
    for kind in (IP, HOSTNAME, MAC):
        yield from _check_duplicates(found, kind)
    seen: set[tuple[str, int, int]] = set()
    for index, entry in enumerate(found.entries):
        for finding in _check_entry(found, index, entry):
            # The entries of a model stand in one place, and one of them says it.
            where = (finding.code, finding.place.line, finding.place.column)
            if where not in seen:
                seen.add(where)
                yield finding


@lru_cache(maxsize=4096)
def kind_of(key: str) -> str | None:
    """What a key says that its values are, if each host has its own of them."""
    words = _words(key)
    if words & _SHARED:
        return None
    if words & {'ip', 'ipaddr', 'ipaddress', 'ipv'} or words == {'address'}:
        return IP
    if words & {'mac', 'macaddr', 'macaddress', 'hwaddr'}:
        return MAC
    return HOSTNAME if key.lower() in ('hostname', 'fqdn', 'host_name') else None


def _words(key: str) -> set[str]:
    return {word.rstrip('0123456789') for word in re.split(r'[^a-z0-9]+', key.lower())}


def text_as(kind: str, value: Value) -> str | None:
    """A value as two hosts' are compared; None if it is nothing of the kind."""
    if not isinstance(value, str) or not value:
        return None
    if kind == HOSTNAME:
        return value.lower()
    if kind == MAC:
        text = value.lower().replace('-', ':')
        return text if _HEX.fullmatch(text) else None
    try:
        return str(ip_address(value.partition('/')[0]))
    except ValueError:
        return None


def owners(found: PlacedCmdb, kind: str) -> dict[str, list[tuple[int, str]]]:
    """The entries and keys that have each value of the kind."""
    columns: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for index, entry in enumerate(found.entries):
        for key, value in entry.items():
            if kind_of(key) == kind:
                text = text_as(kind, value)
                if text is not None:
                    columns[text].append((index, key))
    return columns


def _check_duplicates(found: PlacedCmdb, kind: str) -> Iterator[Finding]:
    its = owners(found, kind)
    keys = {key for where in its.values() for _, key in where}
    own = {key for key in keys if key.lower() in ('ip', 'mac', 'hostname') or _is_own(key, its)}
    for text, everywhere in its.items():
        where = [(index, key) for index, key in everywhere if key in own]
        if len({index for index, _ in where}) < 2:
            continue
        first = where[0][0]
        index, key = next(one for one in where if one[0] != first)
        others = sorted({other for other, _ in where})
        message = f'{key} {text!r} stands in {_entries(others)}'
        yield Finding(f'duplicate-{kind}', found.place(index, key), message)


def _is_own(key: str, its: dict[str, list[tuple[int, str]]]) -> bool:
    """Whether a key's values are mostly different, as those of hosts are."""
    counts = [n for where in its.values() if (n := sum(one[1] == key for one in where))]
    return len(counts) * 2 > sum(counts)


def _entries(indices: Sequence[int]) -> str:
    if len(indices) > 4:
        return f'{len(indices)} entries, {indices[0]} and {indices[1]} first'
    return 'entries ' + ', '.join(map(str, indices[:-1])) + f' and {indices[-1]}'


def _check_entry(found: PlacedCmdb, index: int, entry: Entry) -> Iterator[Finding]:
    for key, value in entry.items():
        if isinstance(value, str) and value:
            fault = _fault(key, value)
            if fault:
                yield Finding(fault[0], found.place(index, key), f'{key} {value!r} {fault[1]}')
        if key == 'used' and isinstance(value, str) and value.lower() in ('0', 'false', 'no'):
            message = f'entry {index} is used: {value!r} is a text, not the number 0'
            yield Finding('odd-used', found.place(index, key), message)
        if key != 'used' and key.strip().lower() == 'used':
            message = f'entry {index} is not used: the mark is {"used"!r}, not {key!r}'
            yield Finding('odd-used', found.place(index, key), message)
    yield from _check_network(found, index, entry)


@lru_cache(maxsize=65536)
def _fault(key: str, value: str) -> tuple[str, str] | None:
    """The code and what is wrong with a value, by its key."""
    words = _words(key)
    kind = kind_of(key)
    if key.lower() in _NETMASK:
        return None if _prefix(value, 128) is not None else ('bad-netmask', 'is no netmask')
    if kind == IP or words & _OF_NETWORK:
        address = value.partition('/')[0]
        looks_like_one = _NUMERIC.fullmatch(address) or (
            kind == IP and ':' in address and _COLONS.fullmatch(address)
        )
        if looks_like_one and _address(address) is None:
            return 'bad-ip', 'is no IP address'
    if key.lower() in ('mac', 'macaddr', 'mac_address') and text_as(MAC, value) is None:
        return 'bad-mac', 'is no MAC'
    if kind == HOSTNAME and (len(value) > 253 or not _HOSTNAME.fullmatch(value)):
        return 'bad-hostname', 'is no host name'
    return None


def _address(text: object) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(str(text))
    except ValueError:
        return None


def _prefix(value: object, most: int) -> int | None:
    """The length of the prefix that a netmask is."""
    text = str(value).strip().removeprefix('/')
    if text.isdecimal() and text.isascii():
        return int(text) if len(text) < 4 and int(text) <= most else None
    try:
        network = ip_network(f'0.0.0.0/{text}')
    except ValueError:
        return None
    # It takes 0.0.0.255 for a netmask too, the other way round.
    return network.prefixlen if str(network.netmask) == text else None


def _check_network(found: PlacedCmdb, index: int, entry: Entry) -> Iterator[Finding]:
    key = next((key for key in ('ip', 'ipaddr', 'address') if key in entry), None)
    address = _address(entry[key]) if key else None
    if key is None or address is None:
        return
    at = next((name for name in _GATEWAY if name in entry), None)
    gateway = _address(entry[at]) if at else None
    if at and gateway == address:
        message = f'entry {index} has its own {key} {str(address)!r} as {at}'
        yield Finding('gateway-is-host', found.place(index, at), message)
    mask = next((name for name in _NETMASK if name in entry), None)
    length = _prefix(entry[mask], address.max_prefixlen) if mask else None
    if length is None:
        return
    network = ip_interface(f'{address}/{length}').network
    if address.version == 4 and length < 31 and address in (network[0], network[-1]):
        what = 'the address' if address == network[0] else 'the broadcast address'
        message = f'entry {index} has {key} {str(address)!r}, {what} of {network}'
        yield Finding('unusable-address', found.place(index, key), message)
    # On a point-to-point link, a gateway may be anywhere.
    is_link = length >= 31 or address.version == 6
    if at and gateway and gateway.version == 4 and not is_link and gateway not in network:
        message = f'entry {index} has {at} {str(gateway)!r}, outside of {network}'
        yield Finding('gateway-outside', found.place(index, at), message)


def _check_model(found: PlacedCmdb, model: Model) -> Iterator[Finding]:
    if not model.size:
        return
    steps = lengths(model.values)
    if not steps:
        message = 'generate() has nothing to count, and gives one entry'
        yield Finding('nothing-counts', found.place(model.first), message)
    accidents = {
        key: what
        for key in steps
        if isinstance(text := model.values[key], str) and (what := _accident(text))
    }
    for key, what in accidents.items():
        message = f'{key} {model.values[key]!r} has a {what}, and counts {steps[key]} values'
        yield Finding('counted-by-accident', found.place(model.first, key), message)
    meant = {key: count for key, count in steps.items() if key not in accidents}
    for key, count in meant.items():
        shortest = min(meant.values())
        if count > shortest:
            names = ' and '.join(name for name in meant if meant[name] == shortest)
            message = f'{key} counts {count} values, of which {shortest} are used: {names} ends it'
            yield Finding('unequal-lengths', found.place(model.first, key), message)


def _accident(text: str) -> str:
    return next((what for what, looks in _ACCIDENTS.items() if looks.search(text)), '')
