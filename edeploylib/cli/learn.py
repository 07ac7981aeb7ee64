"""``edeployctl learn HW...``: a spec that accepts like machines, and the odd ones out."""

import argparse
import json
import sys
from collections.abc import Sequence

from edeploylib.cli.arrivals import Arrivals, add_hw, progress, read_arrivals
from edeploylib.cli.output import ERROR, MATCH, NO_MATCH
from edeploylib.errors import InventoryError, printable
from edeploylib.learn import Lesson, Oddity, learn, refuse

_NAMED = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Print a spec that accepts like machines; tell on standard error which are odd, and in\n'
        'what. The spec is tried on all of them, as uploads would be.'
    )
    parser.epilog = (
        f'exit status: {MATCH} the spec accepts the like machines and no other, {NO_MATCH} it '
        f'accepts an odd one\nor one to reject, {ERROR} error, broken inventories included'
    )
    add_hw(parser, '+')
    parser.add_argument(
        '--reject',
        metavar='HW',
        nargs='+',
        default=[],
        help='other machines, files or folders: prove that the spec refuses each, with more '
        'rules if it takes them',
    )
    parser.add_argument('--name', metavar='NAME', help="the profile's name, for the comment")
    parser.add_argument(
        '--min-share',
        metavar='SHARE',
        type=_share,
        default=0.8,
        help='how many must agree for the others to be odd; default: %(default)s',
    )
    parser.add_argument(
        '--all',
        action='store_true',
        help='learn all stable facts, not those alone that people tell machines by',
    )


def _share(text: str) -> float:
    share = float(text)
    if not 0.5 < share <= 1:
        raise argparse.ArgumentTypeError(f'expected a number over 0.5, at most 1, found {text!r}')
    return share


def run(options: argparse.Namespace) -> int:
    arrivals = read_arrivals(options.hw, options.json)
    if not arrivals.inventories:
        raise InventoryError('expected an inventory that can be read')
    others = (
        read_arrivals(options.reject, options.json) if options.reject else Arrivals([], [], [])
    )
    lesson = learn(arrivals.inventories, options.min_share, options.all)
    lesson, taken = refuse(
        lesson,
        arrivals.inventories,
        others.inventories,
        lambda left: progress(f'{left} to refuse'),
    )
    progress('')
    if options.json:
        print(json.dumps(_as_json(lesson, arrivals, others, taken)))
    else:
        print(lesson.render(_head(lesson, arrivals, options.name)), end='')
        _tell(lesson, arrivals, others, taken)
    if arrivals.broken or others.broken:
        return ERROR
    return NO_MATCH if lesson.refused or lesson.accepted or taken else MATCH


def _head(lesson: Lesson, arrivals: Arrivals, name: str | None) -> list[str]:
    count = len(arrivals.inventories)
    return [
        f'{f"{name}: l" if name else "L"}earned from {len(lesson.alike)} of '
        f'{count} machine{"s" * (count != 1)} by edeployctl learn.'
    ]


def _tell(lesson: Lesson, arrivals: Arrivals, others: Arrivals, taken: Sequence[int]) -> None:
    names = [inventory.sysname for inventory in arrivals.inventories]
    lines = [f'odd: {line_of(one, names)}' for one in lesson.oddities]
    lines += [f'refused, though it is like the others: {names[one]}' for one in lesson.refused]
    lines += [f'accepted, though it is odd: {names[one]}' for one in lesson.accepted]
    lines += [
        f'accepted, though it is to be rejected: {others.inventories[one].sysname}: '
        'no stable fact that the like machines share tells it from them'
        for one in taken
    ]
    refused = len(lesson.odd) - len(lesson.accepted)
    summary = f'the spec accepts {len(lesson.alike) - len(lesson.refused)} of {len(lesson.alike)} '
    summary += f'like machines, and refuses {refused} of {len(lesson.odd)} odd ones'
    if others.inventories:
        count = len(others.inventories)
        summary += f' and {count - len(taken)} of {count} to be rejected'
    if lesson.odd or lesson.refused or others.inventories or arrivals.broken:
        lines.append(summary)
    for line in lines:
        print(printable(line), file=sys.stderr)


def line_of(one: Oddity, names: Sequence[str]) -> str:
    """3 of 40 have firmware bios version 'I31', 37 have 'I35': NAMES"""
    count = len(one.machines)
    have = 'has' if count == 1 else 'have'
    found = f'no {one.what}' if one.found is None else f'{one.what} {one.found!r}'
    shown = ', '.join(names[index] for index in one.machines[:_NAMED])
    more = f' and {count - _NAMED} more' if count > _NAMED else ''
    return (
        f'{count} of {len(names)} {have} {found}, {one.usual_count} have {one.usual}: '
        f'{shown}{more}'
    )


def _as_json(
    lesson: Lesson, arrivals: Arrivals, others: Arrivals, taken: Sequence[int]
) -> dict[str, object]:
    def files(indices: Sequence[int], its: Arrivals = arrivals) -> list[str]:
        return [its.paths[index] for index in indices]

    return {
        'spec': lesson.render(),
        'rules': [{'terms': rule.terms, 'reason': rule.reason} for rule in lesson.rules],
        'alike': files(lesson.alike),
        'odd': files(lesson.odd),
        'oddities': [
            {
                'what': one.what,
                'found': one.found,
                'usual': one.usual,
                'usual_count': one.usual_count,
                'files': files(one.machines),
            }
            for one in lesson.oddities
        ],
        'left_out': lesson.dropped,
        'refused_like': files(lesson.refused),
        'accepted_odd': files(lesson.accepted),
        'accepted_rejects': files(taken, others),
        'broken': [
            {'file': path, 'error': str(error)}
            for path, error in (*arrivals.broken, *others.broken)
        ],
    }
