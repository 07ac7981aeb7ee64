"""One blank machine, installed before one's eyes: ``tools/try --machine``."""

import os
import sys
import time
from pathlib import Path

import environment
from machine import PACKAGES, Console, Machine, MachineError, Site, build

PROFILES = environment.ROOT / 'tests' / 'machines' / 'config'

# A machine without KVM takes a minute or two on idle cores.
_PATIENCE = 1200


class Told:
    """Lines with the time since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        print(f'[{time.monotonic() - self._began:6.1f} s] {text}', flush=True)

    def heard(self, line: str) -> None:
        """A line of the machine's console, if the installer speaks."""
        _, found, words = line.partition(' edeploy: ')
        if found:
            self.say(f'  machine: {words}')


def show(scratch: Path, cache: Path, uefi: bool, by_http: bool) -> int:
    """Install a machine and log in to it; 0 if its system is what the server has decided."""
    if os.geteuid() != 0:
        sys.exit('--machine needs root, to build trees of files: sudo tools/try --machine')
    if not environment.install(*PACKAGES):
        sys.exit(f'--machine needs packages: apt-get install {" ".join(PACKAGES)}')
    told = Told()
    try:
        told.say('building the role and the image, unless they are there')
        built = build(cache, ['base'])
        with Site(scratch / 'site', built, PROFILES) as site:
            machine = Machine(site, 'demo', uefi=uefi)
            _install(machine, site.by_http if by_http else {}, told)
            _check(machine, told)
            _show_server(site, told)
    except MachineError as error:
        told.say(str(error))
        return 2
    return 0


def _install(machine: Machine, parameters: dict[str, str], told: Told) -> None:
    firmware = 'UEFI' if machine.uefi else 'BIOS'
    told.say(f'turning on a machine with a blank disk: {firmware}, PXE, no KVM')
    given = machine.site.parameters(**parameters)
    with machine.boot(given, told.heard) as console:
        said = console.wait(_PATIENCE)
    if 'ONSUCCESS=reboot' not in said:
        last = '\n'.join(said.splitlines()[-40:])
        raise MachineError(f'the machine was not installed; it said last:\n{last}')


def _check(machine: Machine, told: Told) -> None:
    told.say('turning it on again: it boots its disk')
    with machine.boot(machine.site.parameters(), told.heard) as console:
        console.log_in(_PATIENCE)
        told.say('its login prompt is there, and root is logged in')
        for what, question in (
            ('host name', 'hostname'),
            ('role', '. /var/lib/edeploy/conf; echo $ROLE $VERS, profile $PROFILE'),
            ('addresses', 'ip -brief -4 address show scope global'),
            ('root', 'findmnt --noheadings --output SOURCE,FSTYPE,OPTIONS /'),
        ):
            told.say(f'  {what}: {" ".join(console.ask(question).split())}')
        _expect(console, 'hostname', 'node1')
        _expect(console, '. /var/lib/edeploy/conf; echo $ROLE', 'base')


def _expect(console: Console, question: str, wanted: str) -> None:
    found = console.ask(question).strip()
    if found != wanted:
        raise MachineError(f'{question}: expected {wanted!r}, found {found!r}')


def _show_server(site: Site, told: Told) -> None:
    told.say('on the server:')
    for folder in (site.hw, site.logs):
        for path in sorted(folder.glob('[!.]*')):
            told.say(f'  {path.relative_to(site.root)}, {path.stat().st_size} bytes')
    for name in ('state', 'vm.cmdb'):
        told.say(f'  {name}:')
        for line in (site.config / name).read_text().splitlines():
            print(f'             {line}')
