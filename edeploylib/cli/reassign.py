"""``edeployctl reassign MACHINE PROFILE``: another profile or entry, such that it lasts."""

import argparse

from edeploylib.cli import rulings
from edeploylib.cli.output import warn
from edeploylib.errors import NotPossible
from edeploylib.overview import find, overview
from edeploylib.reassign import Wish, reassign
from edeploylib.settings import Settings
from edeploylib.store.records import glance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Give a machine a profile, and an entry, by your word. It is what the machine is\n'
        'answered at its next upload, as long as its hardware and your files are the same:\n'
        'what would not last, because another profile would take it, is not done.'
    )
    parser.epilog = rulings.STATUSES
    parser.add_argument('machine', metavar='MACHINE', help=rulings.NAMES)
    parser.add_argument('profile', metavar='PROFILE')
    parser.add_argument(
        '--entry',
        metavar='N|KEY=VALUE',
        help='which entry of the CMDB, counted from 0, or the only one with that value',
    )
    parser.add_argument(
        '--retire-unit',
        action='store_true',
        help='do not give back the unit of the profile that it leaves',
    )
    rulings.add_dry_run(parser)


def run(options: argparse.Namespace) -> int:
    wish = None if options.entry is None else _wish(options.entry)
    settings = Settings.load(options.conf, options.section)
    with glance(settings) as world:
        machine = find(options.machine, overview(world).machines)
        saved = world.saved(machine.id)
    if not saved.is_last:
        warn(f'{saved.path} is not what {machine} was last decided by')
    return rulings.decide(
        options,
        settings,
        lambda world: reassign(
            machine.id,
            options.profile,
            saved.inventory,
            world,
            settings.ignored_macs,
            wish,
            options.retire_unit,
        ),
    )


def _wish(text: str) -> Wish:
    if text.isascii() and text.isdigit():
        return Wish(int(text))
    key, equals, value = text.partition('=')
    if not (key and equals):
        raise NotPossible(f'--entry: expected a number or KEY=VALUE, found {text!r}')
    return Wish(key=key, value=value)
