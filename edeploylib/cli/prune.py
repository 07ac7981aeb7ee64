"""``edeployctl prune --older-than AGE``: take what is old from the journal."""

import argparse
import json
import time

from edeploylib.cli import rulings
from edeploylib.cli.output import MATCH, NO_MATCH
from edeploylib.overview import seconds
from edeploylib.settings import Settings
from edeploylib.store.files import FileStore
from edeploylib.store.records import glance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Remove old lines from the journal. The last of each machine stays, and that of its\n'
        'last upload; who holds what is not touched. The room is used for new lines.'
    )
    parser.epilog = rulings.STATUSES
    parser.add_argument('--older-than', metavar='AGE', required=True, help='such as 90d')
    rulings.add_dry_run(parser)


def run(options: argparse.Namespace) -> int:
    before = time.time() - seconds(options.older_than)
    settings = Settings.load(options.conf, options.section)
    if options.dry_run:
        with glance(settings) as world:
            count = world.records.old(before)
    else:
        with FileStore(settings).transaction(rulings.who()) as desk:
            count = desk.prune(before)
    if options.json:
        print(json.dumps({'dry_run': options.dry_run, 'removed': count}))
    else:
        print(f'{count} lines of the journal {"would be " * options.dry_run}removed')
    return MATCH if count else NO_MATCH
