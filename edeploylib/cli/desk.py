"""``python -m edeploylib COMMAND``, installed as ``edeployctl``: the operator's questions.

Each command has a module of this package, named like it, with two functions:
``add_arguments(parser)``, whose parser's ``description`` and ``epilog`` it may set, and
``run(options)``, which returns the exit status and raises EdeployError.
Only the module of the command that is asked for is imported.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from edeploylib import __version__
from edeploylib.cli import output
from edeploylib.settings import DEFAULT_SECTION

COMMANDS = {
    'check': 'what is wrong with a deployment, all of it at once',
    'learn': 'a spec that accepts like machines',
    'plan': 'which profile and entry machines would get, or why not',
    'status': 'machines, quotas, entries and refusals; or the history of one machine',
    'release': 'free what machines hold',
    'reassign': 'another profile or entry for a machine',
    'fail': "note that a machine's configuration failed",
    'installed': 'note that a machine is installed',
    'forget-key': 'no longer know a machine by a key',
    'prune': 'take what is old from the journal',
    'hardware-info': 'memory, CPUs, disks and network cards of a host, as JSON',
    'verify-cmdb': 'whether an entry with a value is in use',
}


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = output.Parser(
        prog='edeployctl', description='Answer what operators of an edeploy server ask.'
    )
    parser.add_argument('--version', action='version', version=f'edeploy {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in given:
            module = import_module(f'edeploylib.cli.{name.replace("-", "_")}')
            command.add_argument('--conf', help='default: $EDEPLOY_CONF, or /etc/edeploy.conf')
            command.add_argument('--section', default=DEFAULT_SECTION, help='default: %(default)s')
            command.add_argument('--json', action='store_true', help='print the answer as JSON')
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    options = parser.parse_args(given)
    return output.run(lambda: int(options.run(options)))
