"""``edeployctl fail MACHINE``: what the machine's own report of a failure does."""

import argparse

from edeploylib.cli import rulings
from edeploylib.overview import find
from edeploylib.release import fail
from edeploylib.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Note that the configuration of a machine failed: its unit of quota is given back,\n'
        'its entry is kept for it.'
    )
    parser.epilog = rulings.STATUSES
    parser.add_argument('machine', metavar='MACHINE', help=rulings.NAMES)
    rulings.add_dry_run(parser)


def run(options: argparse.Namespace) -> int:
    settings = Settings.load(options.conf, options.section)
    machine = find(options.machine, rulings.survey(settings).machines)
    return rulings.decide(options, settings, lambda world: fail(machine.id, world))
