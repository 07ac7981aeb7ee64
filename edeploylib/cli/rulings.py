"""What the commands by which an operator decides do alike."""

import argparse
import json
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from difflib import unified_diff

from edeploylib.cli.output import MATCH, NO_MATCH
from edeploylib.errors import EditedMeanwhile, NotPossible, printable
from edeploylib.overview import Overview, overview
from edeploylib.release import Ruling, Step
from edeploylib.select import Changes
from edeploylib.settings import Settings
from edeploylib.store.files import FileStore
from edeploylib.store.protocol import Transaction
from edeploylib.store.records import glance

NAMES = 'by its number, name, serial, UUID or MAC, or the host name or address of its entry'
STATUSES = f'exit status: {MATCH} done, {NO_MATCH} nothing to do, 2 error'


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--dry-run', action='store_true', help='show what would change, and change nothing'
    )


def survey(settings: Settings) -> Overview:
    with glance(settings) as world:
        return overview(world)


def decide(
    options: argparse.Namespace, settings: Settings, ruling_of: Callable[[Transaction], Ruling]
) -> int:
    """Make a ruling, or show it; print what it does, and return the exit status."""
    diff: list[str] = []
    if options.dry_run:
        with glance(settings) as world:
            ruling = ruling_of(world)
        diff += (line for text in _diffs(ruling.changes) for line in text)
    else:
        ruling = _ruled(settings, ruling_of)
    if options.json:
        steps = [_as_json(step) for step in ruling.steps]
        print(json.dumps({'dry_run': options.dry_run, 'machines': steps, 'diff': diff}))
    else:
        for step in ruling.steps:
            print(printable(f'{"would be: " * options.dry_run}{_told(step)}'))
        for line in diff:
            print(printable(line))
        if not ruling.steps:
            print('there is nothing to do')
    return MATCH if ruling.steps else NO_MATCH


def _ruled(settings: Settings, ruling_of: Callable[[Transaction], Ruling]) -> Ruling:
    for attempt in range(3):
        try:
            with FileStore(settings).transaction(who()) as world:
                ruling = ruling_of(world)
                if ruling.steps:
                    world.rule(ruling)
                return ruling
        except EditedMeanwhile:
            if attempt == 2:
                raise
    raise AssertionError('three attempts return or raise')


def _diffs(changes: Changes) -> Iterator[list[str]]:
    texts = {f'{profile}.cmdb': cmdb for profile, cmdb in changes.cmdbs.items()}
    for name, changed in {'state': changes.state, **texts}.items():
        if changed is not None:
            lines = changed.text.splitlines(), changed.render().splitlines()
            yield list(unified_diff(*lines, name, name, n=1, lineterm=''))


def _told(step: Step) -> str:
    what = f' ({step.profile})' if step.profile else ''
    return '; '.join([f'{step.machine}: {step.what}{what}', *step.notes])


def _as_json(step: Step) -> dict[str, object]:
    return {
        'machine': step.machine.id,
        'name': step.machine.name,
        'what': step.what,
        'profile': step.profile,
        'variables': step.variables,
        'notes': step.notes,
    }


def who() -> str:
    """Who decides, for the journal and for those who wait."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    caller = os.environ.get('SUDO_USER')
    return printable(f'{caller} as {name}' if caller else name) + ', the command line'


def ask(what: str, question: str) -> bool:
    """Whether the operator says yes; raises NotPossible where there is none to ask."""
    if not sys.stdin.isatty():
        raise NotPossible(
            f'{question} Nobody can be asked here, so nothing has been changed',
            hint='--yes says so, --dry-run shows what would change',
        )
    for line in what.split('\n'):
        print(printable(line), file=sys.stderr)
    print(question, end=' [y/N] ', file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ('y', 'yes')
