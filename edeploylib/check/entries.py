"""The entries of CMDBs: what two hosts cannot share, and what no host can have."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

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
_OF_HOST = {'ipmi', 'bmc', 'ilo', 'drac', 'idrac', 'imm', 'oob', 'eth', 'bond', 'host', 'node'}
_ADDRESS = {'ip', 'ipaddr', 'ipaddress', 'ipv', 'address'}
_OF_NETWORK = {'gateway', 'gw', 'dns', 'nameserver', 'broadcast', 'router'}
# What stands beside such a word where the value is something else.
_NO_ADDRESS = {'version', 'name', 'port', 'mac', 'id', 'count', 'domain'}
_NETMASK = ('netmask', 'prefixlen')
_GATEWAY = ('gateway', 'gw')

_OCTET = r'(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
_IPV4 = re.compile(rf'{_OCTET}(?:\.{_OCTET}){{3}}')
_HEX = re.compile(r'[0-9a-f]{2}(?:([:-])[0-9a-f]{2}){5}(?:\1[0-9a-f]{2})*')
_HOSTNAME = re.compile(r'(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?')
_NUMERIC = re.compile(r'[0-9]+(?:\.[0-9]+)+')
_COLONS = re.compile(r'[0-9A-Fa-f:]+(?:[0-9.]+)?')
_ACCIDENTS = {
    'date': re.compile(r'(?<!\d)(?:19|20)\d\d-\d\d-\d\d(?!\d)'),
    'UUID': re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', re.I),
    'MAC': re.compile(r'(?<![0-9a-f-])[0-9a-f]{2}(?:-[0-9a-f]{2}){5}(?![0-9a-f-])', re.I),
}

# The entries and keys that have each value, by the value's kind.
Owners = Mapping[str, Mapping[str, list[tuple[int, str]]]]


def check_entries(found: PlacedCmdb, its: Owners) -> Iterator[Finding]:
    """``its`` are the owners of the entries' values."""
    if not found.entries:
        yield Finding('empty-cmdb', Place(found.origin, 1), 'the CMDB has no entries')
    for model in found.models:
        yield from _check_model(found, model)
    for kind in (IP, HOSTNAME, MAC):
        yield from _check_duplicates(found, kind, its[kind])
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
    if words & (_ADDRESS - {'address'}) or words == {'address'}:
        return IP
    if words & {'mac', 'macaddr', 'macaddress', 'hwaddr'}:
        return MAC
    return HOSTNAME if key.lower() in ('hostname', 'fqdn', 'host_name') else None


@lru_cache(maxsize=4096)
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
    bare = value.partition('/')[0]
    if _IPV4.fullmatch(bare):
        return bare  # there is no other way to write it
    address = _address(bare)
    return None if address is None else str(address)


def owners(found: PlacedCmdb) -> Owners:
    """The entries and keys that have each value, by its kind."""
    columns: dict[str, dict[str, list[tuple[int, str]]]] = {
        kind: {} for kind in (IP, HOSTNAME, MAC)
    }
    for index, entry in enumerate(found.entries):
        for key, value in entry.items():
            kind = kind_of(key)
            text = text_as(kind, value) if kind else None
            if kind == HOSTNAME and text and '.' not in text:
                text = f'{text}.{entry.get("domain", "")}'.rstrip('.')
            if kind and text is not None:
                columns[kind].setdefault(text, []).append((index, key))
    return columns


def _check_duplicates(
    found: PlacedCmdb, kind: str, its: Mapping[str, list[tuple[int, str]]]
) -> Iterator[Finding]:
    keys = {key for where in its.values() for _, key in where}
    own = {key for key in keys if kind != IP or _is_own(key, its)}
    for text, everywhere in its.items():
        if len(everywhere) == 1:
            continue
        where = [(index, key) for index, key in everywhere if key in own]
        if len({index for index, _ in where}) < 2:
            continue
        first = where[0][0]
        index, key = next(one for one in where if one[0] != first)
        others = sorted({other for other, _ in where})
        message = f'{key} {text!r} stands in {_entries(others)}'
        yield Finding(f'duplicate-{kind}', found.place(index, key), message)


def _is_own(key: str, its: Mapping[str, list[tuple[int, str]]]) -> bool:
    """Whether each host is to have its own: by the name, or as hardly any value stands twice."""
    if _words(key) & _OF_HOST or _words(key) <= _ADDRESS:
        return True
    counts = [n for where in its.values() if (n := sum(one[1] == key for one in where))]
    return len(counts) * 10 >= sum(counts) * 9


def _entries(indices: Sequence[int]) -> str:
    if len(indices) > 4:
        return f'{len(indices)} entries, {indices[0]} and {indices[1]} first'
    return 'entries ' + ', '.join(map(str, indices[:-1])) + f' and {indices[-1]}'


def _check_entry(found: PlacedCmdb, index: int, entry: Entry) -> Iterator[Finding]:
    for key, value in entry.items():
        if isinstance(value, str) and value:
            for code, pattern, what in _shapes(key):
                if not pattern(value):
                    message = f'{key} {value!r} is no {what}'
                    yield Finding(code, found.place(index, key), message)
        if key == 'used' and isinstance(value, str) and value.lower() in ('0', 'false', 'no'):
            message = f'entry {index} is used: {value!r} is a text, not the number 0'
            yield Finding('odd-used', found.place(index, key), message)
        if key != 'used' and key.strip().lower() == 'used':
            message = f'entry {index} is not used: the mark is {"used"!r}, not {key!r}'
            yield Finding('odd-used', found.place(index, key), message)
    yield from _check_network(found, index, entry)


@lru_cache(maxsize=4096)
def _shapes(key: str) -> tuple[tuple[str, Callable[[str], bool], str], ...]:
    """The code, the test and the name of what a value is to be, by its key."""
    kind = kind_of(key)
    if key.lower() in _NETMASK:
        return (('bad-netmask', _is_netmask, 'netmask'),)
    if kind == IP:
        return (('bad-ip', _may_be_own_ip, 'IP address'),)
    if _words(key) & _OF_NETWORK and not _words(key) & _NO_ADDRESS:
        return (('bad-ip', _may_be_ip, 'IP address'),)
    if key.lower() in ('mac', 'macaddr', 'mac_address'):
        return (('bad-mac', _is_mac, 'MAC'),)
    return (('bad-hostname', _is_hostname, 'host name'),) if kind == HOSTNAME else ()


def _is_netmask(value: str) -> bool:
    return _prefix(value, 128) is not None


def _may_be_ip(value: str) -> bool:
    """Not if it has the look of an address, and is none."""
    bare = value.partition('/')[0]
    return not _NUMERIC.fullmatch(bare) or bool(_IPV4.fullmatch(bare))


def _may_be_own_ip(value: str) -> bool:
    bare = value.partition('/')[0]
    looks_like_ipv6 = ':' in bare and _COLONS.fullmatch(bare)
    return _may_be_ip(value) and (not looks_like_ipv6 or _address(bare) is not None)


def _is_mac(value: str) -> bool:
    return text_as(MAC, value) is not None


def _is_hostname(value: str) -> bool:
    return len(value) <= 253 and _HOSTNAME.fullmatch(value) is not None


def _address(text: object) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(str(text))
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _gateway(text: str) -> IPv4Address | IPv6Address | None:
    return _address(text)


@lru_cache(maxsize=4096)
def _prefix(value: str, most: int) -> int | None:
    """The length of the prefix that a netmask is."""
    text = value.strip().removeprefix('/')
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
    at = next((name for name in _GATEWAY if name in entry), None)
    mask = next((name for name in _NETMASK if name in entry), None)
    address = _address(entry[key]) if key and (at or mask) else None
    if key is None or address is None or address.version != 4:
        return
    gateway = _gateway(str(entry[at])) if at else None
    if at and gateway == address:
        message = f'entry {index} has its own {key} {str(address)!r} as {at}'
        yield Finding('gateway-is-host', found.place(index, at), message)
    length = _prefix(str(entry[mask]), 32) if mask else None
    # On a point-to-point link, a gateway may be anywhere.
    if length is None or length >= 31:
        return
    host, wild = int(address), (1 << (32 - length)) - 1
    if host & wild in (0, wild):
        what = 'the broadcast address' if host & wild else 'the address'
        network = ip_network(f'{address}/{length}', strict=False)
        message = f'entry {index} has {key} {str(address)!r}, {what} of {network}'
        yield Finding('unusable-address', found.place(index, key), message)
    if at and gateway and gateway.version == 4 and (int(gateway) ^ host) > wild:
        network = ip_network(f'{address}/{length}', strict=False)
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
