"""``edeployctl forget-key KEY...``: a machine is no longer known by them."""

import argparse

from edeploylib.cli import rulings
from edeploylib.overview import find_key
from edeploylib.release import forget_key
from edeploylib.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Take keys from the machines that are known by them: a board or a card that has\n'
        'gone to another box. What the machines hold stays theirs; a key that is uploaded\n'
        'again is learned again.'
    )
    parser.epilog = rulings.STATUSES
    parser.add_argument(
        'keys', metavar='KEY', nargs='+', help='a MAC, a UUID, or a serial with its vendor'
    )
    rulings.add_dry_run(parser)


def run(options: argparse.Namespace) -> int:
    settings = Settings.load(options.conf, options.section)
    machines = rulings.survey(settings).machines
    keys = [key for text in options.keys for key in find_key(text, machines)]
    return rulings.decide(options, settings, lambda world: forget_key(keys, world))
