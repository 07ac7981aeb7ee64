"""``upload.py -f HW``: an upload from the command line, for a machine without network."""

import argparse
import sys
from collections.abc import Sequence

from edeploylib.cli.output import ERROR, MATCH, NO_MATCH, Parser, read, run, warn
from edeploylib.inventory import Inventory
from edeploylib.service import install, refusal_lines, report_failure
from edeploylib.settings import DEFAULT_SECTION, Settings
from edeploylib.store import FileStore


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog='upload.py',
        description='Give a machine its profile as an upload does; print its configure script.',
        epilog=f'exit status: {MATCH} done, {NO_MATCH} no profile can take it, {ERROR} error',
    )
    parser.add_argument(
        '-f', dest='hw', metavar='HW', required=True, help='an inventory, JSON or .hw; - is stdin'
    )
    parser.add_argument(
        '-F', dest='failure', metavar='PROFILE', help='report that this profile failed instead'
    )
    parser.add_argument('--section', default=DEFAULT_SECTION, help='default: %(default)s')
    parser.add_argument('--conf', help='default: $EDEPLOY_CONF, or /etc/edeploy.conf')
    options = parser.parse_args(arguments)
    return run(lambda: _upload(options))


def _upload(options: argparse.Namespace) -> int:
    settings = Settings.load(options.conf, options.section)
    inventory = Inventory.parse(read(options.hw), options.hw)
    warn(*inventory.warnings)
    store = FileStore(settings)
    if options.failure is not None:
        answer = report_failure(inventory, options.failure, store, settings, 'the command line')
        warn(*answer.warnings)
        print(f'# {answer.decision.note}')
        return MATCH
    answer = install(inventory, store, settings, 'the command line')
    warn(*answer.warnings)
    if answer.script is None:
        print(*refusal_lines(answer.decision, inventory), sep='\n', file=sys.stderr)
        return NO_MATCH
    sys.stdout.write(answer.script)
    sys.stdout.flush()
    return MATCH
