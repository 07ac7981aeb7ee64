"""``edeployctl plan HW...``: what would uploads do?  Nothing is written."""

import argparse

from edeploylib.cli.arrivals import add_hw, read_arrivals
from edeploylib.cli.output import ERROR, MATCH, NO_MATCH
from edeploylib.cli.plan.against import print_changes
from edeploylib.cli.plan.case import EXPLAINED, Case
from edeploylib.cli.plan.feasibility import print_feasibility
from edeploylib.cli.plan.given import print_given_order
from edeploylib.cli.plan.orders import print_any_order
from edeploylib.errors import SettingsError
from edeploylib.settings import Settings
from edeploylib.simulate import Files
from edeploylib.store.snapshot import Snapshot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Say which profile, entry and script machines would get if they uploaded now, one\n'
        'after another, or why not. Nothing is written. Without HW, of all in HWDIR.'
    )
    parser.epilog = (
        f'exit status: {MATCH} every machine gets a profile (with --against: nothing changes; '
        f'with\n--feasible: all machines and quotas at once), {NO_MATCH} not so, '
        f'{ERROR} error, broken inventories included'
    )
    add_hw(parser, '*')
    parser.add_argument(
        '--configdir',
        metavar='DIR',
        help='plan with this CONFIGDIR; of machines that nobody knows, or, with --conf, that '
        "deployment's ledger",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        '--order',
        choices=['given', 'any'],
        default='given',
        help='any: what is the same in whatever order the machines come',
    )
    how.add_argument('--against', metavar='DIR', help='what would change with this CONFIGDIR')
    how.add_argument(
        '--feasible',
        action='store_true',
        help='whether these machines can fill all quotas at once, what is in the way, and '
        'which order of the state would do',
    )
    parser.add_argument(
        '--diff', action='store_true', help='with --against: show how the scripts differ'
    )
    parser.add_argument(
        '--why',
        action='store_true',
        help=f'explain every refusal at length, not those of {EXPLAINED} machines alone',
    )


def run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if not options.hw and settings is None:
        raise SettingsError('expected HW with --configdir, which has no HWDIR')
    files = _files(settings, options.configdir)
    files.state()
    arrivals = read_arrivals(options.hw or [settings.hwdir], options.json)  # type: ignore[union-attr]
    case = Case(options, settings, files, arrivals)
    if options.feasible:
        status = print_feasibility(case)
    elif options.against is not None:
        other = _files(settings, options.against)
        other.state()
        status = print_changes(case, other)
    elif options.order == 'any':
        status = print_any_order(case)
    else:
        status = print_given_order(case)
    return ERROR if arrivals.broken else status


def _settings(options: argparse.Namespace) -> Settings | None:
    if options.configdir is not None and options.conf is None:
        return None
    return Settings.load(options.conf, options.section)


def _files(settings: Settings | None, folder: str | None) -> Files:
    if settings is None:
        assert folder is not None
        return Files(Snapshot.of_folder(folder))
    return Files(Snapshot.of(settings, folder))
