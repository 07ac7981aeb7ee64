"""The network while installing: the parameter IP, and what it means for each card."""

from __future__ import annotations

import ipaddress
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edeploylib.node.log import Failure, Log

# Seconds that a card may take to get an address, and those with a cable after the first has one.
_PATIENCE = 90
_GRACE = 5

_ETHERNET = '1'


class Rule(NamedTuple):
    """What a card gets: ``dhcp``, ``none``, or an address in CIDR; on a VLAN if there is one.

    The name ``other`` stands for the cards that no rule names.
    """

    card: str
    address: str
    vlan: int | None = None


def parse_rules(text: str) -> tuple[Rule, ...]:
    """``rule,...`` where rule = ``CARD:dhcp|none|ADDRESS/BITS[@VLAN]``; raises Failure."""
    rules = tuple(_rule(part) for part in text.split(',') if part)
    if not rules:
        raise Failure(f'IP={text!r}: expected CARD:dhcp, CARD:none or CARD:ADDRESS/BITS')
    return rules


def _rule(text: str) -> Rule:
    card, colon, rest = text.partition(':')
    address, at, vlan = rest.partition('@')
    if not (card and colon and address):
        raise Failure(f'IP: expected CARD:dhcp, CARD:none or CARD:ADDRESS/BITS, found {text!r}')
    if at and not (vlan.isascii() and vlan.isdigit() and 0 < int(vlan) < 4095):
        raise Failure(f'IP: expected a VLAN from 1 to 4094, found {vlan!r} in {text!r}')
    if address not in ('dhcp', 'none'):
        try:
            if '/' not in address:
                raise ValueError
            ipaddress.ip_interface(address)
        except ValueError:
            raise Failure(f'IP: expected dhcp, none or ADDRESS/BITS in {text!r}') from None
    return Rule(card, address, int(vlan) if at else None)


def rule_of(card: str, rules: Iterable[Rule]) -> Rule:
    """The rule that names the card, else that of ``other``, else none."""
    found = {rule.card: rule for rule in rules}
    rule = found.get(card) or found.get('other') or Rule(card, 'none')
    return rule._replace(card=card)


def cards(folder: Path) -> list[str]:
    """The Ethernet cards in ``/sys/class/net``, by name; not what is no hardware."""
    return sorted(
        card.name
        for card in folder.iterdir()
        if (card / 'device').exists() and _read(card / 'type') == _ETHERNET
    )


def has_cable(card: str, folder: Path) -> bool:
    return _read(folder / card.partition('.')[0] / 'carrier') == '1'


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # of a card that is down
        return ''


def device_of(rule: Rule) -> str:
    return rule.card if rule.vlan is None else f'{rule.card}.{rule.vlan}'


def commands_of(rule: Rule) -> list[list[str]]:
    """What brings a card up, its VLAN, and its address if it is fixed."""
    if rule.address == 'none':
        return []
    device = device_of(rule)
    commands = [['ip', 'link', 'set', rule.card, 'up']]
    if rule.vlan is not None:
        vlan = ['type', 'vlan', 'id', str(rule.vlan)]
        commands.append(['ip', 'link', 'add', 'link', rule.card, 'name', device, *vlan])
        commands.append(['ip', 'link', 'set', device, 'up'])
    if rule.address != 'dhcp':
        commands.append(['ip', 'address', 'replace', rule.address, 'dev', device])
    return commands


class Lease(NamedTuple):
    """What a DHCP server gave a card."""

    device: str
    address: str
    routers: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    domain: str = ''


def parse_lease(device: str, environment: Mapping[str, str]) -> Lease:
    """The variables that udhcpc gives its script; raises Failure for what is no address."""
    try:
        text = f'{environment.get("ip", "")}/{environment.get("subnet") or "32"}'
        address = ipaddress.IPv4Interface(text).with_prefixlen
        routers, servers = (
            tuple(str(ipaddress.IPv4Address(word)) for word in environment.get(name, '').split())
            for name in ('router', 'dns')
        )
    except ValueError as error:
        raise Failure(f'{device}: the DHCP server gave what is no address: {error}') from None
    domain = environment.get('domain', '')
    return Lease(device, address, routers, servers, domain if domain.isprintable() else '')


def commands_of_lease(lease: Lease, metric: int) -> list[list[str]]:
    """What gives a card its address and route; the first card's route is the better."""
    commands = [['ip', 'address', 'replace', lease.address, 'dev', lease.device]]
    for router in lease.routers[:1]:
        route = ['default', 'via', router, 'dev', lease.device, 'metric', str(metric)]
        commands.append(['ip', 'route', 'replace', *route])
    return commands


def resolv_conf(leases: Sequence[Lease]) -> str:
    lines = [f'search {lease.domain}' for lease in leases if lease.domain][:1]
    lines += [f'nameserver {server}' for lease in leases for server in lease.nameservers]
    return ''.join(f'{line}\n' for line in lines)


def bring_up(rules: Sequence[Rule], log: Log, net: Path, run: Path, etc: Path) -> list[str]:
    """Bring the cards in ``net`` up as the rules say; the addresses, as ``eth0 10.0.2.15/24``.

    Raises Failure if not one card has an address in the end.
    """
    log.run(['ip', 'link', 'set', 'lo', 'up'])
    there = _awaited_cards(rules, net)
    wanted = [rule for rule in (rule_of(card, rules) for card in there) if rule.address != 'none']
    for rule in wanted:
        for command in commands_of(rule):
            log.run(command)
    dynamic = [rule for rule in wanted if rule.address == 'dhcp']
    leases = _leases([device_of(rule) for rule in dynamic], log, net, run)
    for number, lease in enumerate(leases):
        for command in commands_of_lease(lease, 100 + number):
            log.run(command)
    if leases:
        (etc / 'resolv.conf').write_text(resolv_conf(leases))
    fixed = [f'{device_of(rule)} {rule.address}' for rule in wanted if rule not in dynamic]
    found = fixed + [f'{lease.device} {lease.address}' for lease in leases]
    if not found:
        raise Failure(_why_none(there, wanted, net))
    return found


def _awaited_cards(rules: Sequence[Rule], net: Path) -> list[str]:
    """The cards, once there is one and those that the rules name: drivers take their time."""
    named = {rule.card for rule in rules if rule.address != 'none'} - {'other'}
    deadline = time.monotonic() + 30
    while not (found := cards(net)) or not named <= set(found):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return found


def _why_none(there: Sequence[str], wanted: Sequence[Rule], net: Path) -> str:
    if not there:
        return 'no network card was found: is its driver in the image?'
    if not wanted:
        return f'the parameter IP leaves all cards alone: {", ".join(there)}'
    states = (
        f'{device_of(rule)}: {"no answer" if has_cable(rule.card, net) else "no cable"}'
        for rule in wanted
    )
    return f'no card got an address by DHCP: {"; ".join(states)}'


def _leases(devices: Sequence[str], log: Log, net: Path, run: Path) -> list[Lease]:
    """Ask on all cards at once; the leases in the order of the cards."""
    asking = {device: _ask(device) for device in devices}
    try:
        _wait(asking, lambda device: _has_lease(device, run), lambda card: has_cable(card, net))
    finally:
        for process in asking.values():
            process.terminate()
            process.wait()
    found = []
    for device in devices:
        if _has_lease(device, run):
            text = (run / f'lease-{device}').read_bytes().decode(errors='replace')
            pairs = (item.partition('=') for item in text.split('\0'))
            found.append(parse_lease(device, {name: value for name, _, value in pairs}))
        log.note(f'{device}: {"a lease" if _has_lease(device, run) else "no lease"}')
    return found


def _has_lease(device: str, run: Path) -> bool:
    return (run / f'lease-{device}').is_file()


def _ask(device: str) -> subprocess.Popen[bytes]:
    # The script of udhcpc leaves the lease in a file: see tools/build-pxe.
    command = ['busybox', 'udhcpc', '-f', '-q', '-n', '-T', '1', '-t', str(_PATIENCE)]
    return subprocess.Popen(
        [*command, '-i', device, '-s', '/usr/lib/edeploy/lease'],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait(
    asking: Mapping[str, subprocess.Popen[bytes]],
    has_lease: Callable[[str], bool],
    is_connected: Callable[[str], bool],
) -> None:
    """Until all are done, or those with a cable had their grace after the first lease."""
    deadline = time.monotonic() + _PATIENCE
    had_one = False
    while time.monotonic() < deadline:
        open_ones = [device for device, process in asking.items() if process.poll() is None]
        if not open_ones:
            return
        if any(has_lease(device) for device in asking) and not had_one:
            had_one = True
            deadline = time.monotonic() + _GRACE
        if had_one and not any(map(is_connected, open_ones)):
            return
        time.sleep(0.05)
