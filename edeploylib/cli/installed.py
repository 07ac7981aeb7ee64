"""``edeployctl installed MACHINE``: it is installed."""

import argparse

from edeploylib.cli import rulings
from edeploylib.overview import find
from edeploylib.release import installed
from edeploylib.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Note that a machine is installed. One whose failure was noted takes a unit again;\n'
        'the next upload of any machine begins its installation anew.'
    )
    parser.epilog = rulings.STATUSES
    parser.add_argument('machine', metavar='MACHINE', help=rulings.NAMES)
    rulings.add_dry_run(parser)


def run(options: argparse.Namespace) -> int:
    settings = Settings.load(options.conf, options.section)
    machine = find(options.machine, rulings.survey(settings).machines)
    return rulings.decide(options, settings, lambda world: installed(machine.id, world))
