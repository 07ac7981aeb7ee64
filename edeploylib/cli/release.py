"""``edeployctl release MACHINE...``: free the entries and the units that machines hold."""

import argparse
import time
from collections.abc import Sequence

from edeploylib.cli import rulings
from edeploylib.cli.output import NO_MATCH
from edeploylib.errors import NotPossible
from edeploylib.overview import Row, find, seconds
from edeploylib.release import Seen, release
from edeploylib.select import FAILED, INSTALLED, INSTALLING, RELEASED
from edeploylib.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Free what machines hold: each entry becomes what it was before, with what was\n'
        'edited since, and each unit of quota is given back; all of it, or nothing.\n'
        'A machine that is released and comes again is given a profile as a new one is.'
    )
    parser.epilog = rulings.STATUSES
    parser.add_argument('machines', metavar='MACHINE', nargs='*', help=rulings.NAMES)
    parser.add_argument('--profile', help='instead of MACHINE: those that hold this profile')
    parser.add_argument(
        '--status',
        choices=(INSTALLING, INSTALLED, FAILED, RELEASED),
        help='instead of MACHINE: those with this status',
    )
    parser.add_argument(
        '--older-than', metavar='AGE', help='only those not heard of for so long: 12h, 30d'
    )
    parser.add_argument(
        '--forget', action='store_true', help='forget the machines and their keys too'
    )
    parser.add_argument('--yes', action='store_true', help='do not ask before many')
    rulings.add_dry_run(parser)


def run(options: argparse.Namespace) -> int:
    if bool(options.machines) == bool(options.profile or options.status or options.older_than):
        raise NotPossible('expected MACHINE, or else --profile, --status or --older-than')
    least = seconds(options.older_than) if options.older_than else 0.0
    settings = Settings.load(options.conf, options.section)
    there = rulings.survey(settings)
    if options.machines:
        rows = [find(name, there.machines) for name in options.machines]
    else:
        rows = _chosen(options, there.machines, time.time() - least)
    rows = list({row.id: row for row in rows}.values())
    seen: dict[int, Seen] = {}
    if not options.machines or len(rows) > 1:
        # What he has said yes to, or has chosen by, is to be so still.
        seen = {
            row.id: Seen(
                (row.profile, row.status) if row.profile else None,
                row.record.last.id if row.record.last else 0,
            )
            for row in rows
        }
    if len(rows) > 1 and not (options.yes or options.dry_run) and not _is_sure(rows, options):
        print('nothing has been changed')
        return NO_MATCH
    return rulings.decide(
        options,
        settings,
        lambda world: release([row.id for row in rows], world, options.forget, seen),
    )


def _chosen(options: argparse.Namespace, rows: Sequence[Row], latest: float) -> list[Row]:
    return [
        row
        for row in rows
        if options.profile in (None, row.profile)
        and options.status in (None, row.status)
        and (row.profile or options.forget)
        and (not options.older_than or row.seen < latest)
    ]


def _is_sure(rows: Sequence[Row], options: argparse.Namespace) -> bool:
    what = 'forget' if options.forget else 'release'
    lines = [f'{row}: {row.status} {row.profile or ""}' for row in rows]
    return rulings.ask('\n'.join(lines), f'{what} these {len(rows)} machines?')
