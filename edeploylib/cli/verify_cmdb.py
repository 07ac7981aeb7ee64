"""``edeployctl verify-cmdb KEY VALUE FILES...``: is an entry with that value in use?"""

import argparse
import json

from edeploylib.cli.output import MATCH, NO_MATCH, read
from edeploylib.cmdb import Cmdb
from edeploylib.errors import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = 'Say whether CMDB files have an entry with KEY=VALUE that is used.'
    parser.epilog = f'exit status: {MATCH} an entry is used, {NO_MATCH} none is, 2 error'
    parser.add_argument('key', metavar='KEY', help='such as hostname')
    parser.add_argument('value', metavar='VALUE', help='compared by its text')
    parser.add_argument(
        'files', metavar='FILES', nargs='+', help='.cmdb files; - is standard input'
    )


def run(options: argparse.Namespace) -> int:
    found = [
        {'file': path, 'index': index, 'used': bool(entry.get('used')), 'entry': entry}
        for path in options.files
        for index, entry in enumerate(Cmdb.parse(read(path), path).entries)
        if options.key in entry and str(entry[options.key]) == options.value
    ]
    if options.json:
        print(json.dumps({'entries': found}))
    else:
        for one in found:
            use = 'used' if one['used'] else 'not used'
            print(printable(f'{one["file"]}: entry {one["index"]} is {use}: {one["entry"]!r}'))
        if not found:
            print(printable(f'no entry has {options.key}={options.value!r}'))
    return MATCH if any(one['used'] for one in found) else NO_MATCH
