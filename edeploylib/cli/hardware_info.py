"""``edeployctl hardware-info HOSTNAME``: what the machine is made of that is that host."""

import argparse
import json

from edeploylib.cli import rulings
from edeploylib.cli.output import MATCH, NO_MATCH, failed, warn
from edeploylib.errors import SeveralMachines, UnknownMachine
from edeploylib.hostinfo import hostinfo
from edeploylib.overview import find, overview
from edeploylib.settings import Settings
from edeploylib.store.records import glance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Print, as JSON, the memory, CPUs, disks and network cards that a host has, by the\n'
        'last inventory of its machine.'
    )
    parser.epilog = f'exit status: {MATCH} found, {NO_MATCH} no such host, 2 error'
    parser.add_argument('host', metavar='HOSTNAME', help=f'or the machine {rulings.NAMES}')


def run(options: argparse.Namespace) -> int:
    settings = Settings.load(options.conf, options.section)
    try:
        with glance(settings) as world:
            row = find(options.host, overview(world).machines)
            saved = world.saved(row.id)
    except SeveralMachines:
        raise
    except UnknownMachine as unknown:
        failed(*unknown.report().split('\n'))
        return NO_MATCH
    if not saved.is_last:
        warn(f'{saved.path} is not what {row} was last decided by')
    about = {
        'host': row.hosts[0] if row.hosts else None,
        'machine': row.id,
        'name': row.record.name,
        'profile': row.profile,
        'status': row.status,
        'inventory': saved.path,
    }
    print(json.dumps({**about, **hostinfo(saved.inventory)}, indent=None if options.json else 2))
    return MATCH
