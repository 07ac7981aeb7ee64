"""``edeployctl status [MACHINE]``: who holds what and what is left; one machine's history."""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from edeploylib.cli import rulings
from edeploylib.cli.output import ERROR, MATCH, NO_MATCH, failed, paint, table
from edeploylib.errors import NotPossible, SeveralMachines, UnknownMachine, printable
from edeploylib.overview import Overview, Row, Stock, age, find, overview, seconds
from edeploylib.select import FAILED, INSTALLED, INSTALLING, RELEASED
from edeploylib.settings import Settings
from edeploylib.store.records import Event, Holding, glance

# As many refusals, and reasons of each, as are shown unasked.
_REFUSALS = 10
_REASONS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Show the machines with what they hold, what is left of each profile, and who was\n'
        'refused last and why; or all that the journal has of one machine. Nothing is\n'
        'changed, and no upload waits for it.'
    )
    parser.epilog = (
        f'exit status: {MATCH} shown, {NO_MATCH} no such machine, {ERROR} error, '
        'or a file that cannot be read'
    )
    parser.add_argument('machine', metavar='MACHINE', nargs='?', help=rulings.NAMES)
    parser.add_argument('--profile', help='only machines that hold this profile')
    status = parser.add_mutually_exclusive_group()
    status.add_argument(
        '--status',
        choices=(INSTALLING, INSTALLED, FAILED, RELEASED),
        help='only machines with this status',
    )
    status.add_argument(
        '--failed', dest='status', action='store_const', const=FAILED, help='--status failed'
    )
    parser.add_argument(
        '--since', metavar='AGE', help='only machines heard of in the last 90m, 12h, 30d'
    )
    parser.add_argument(
        '--name', metavar='GLOB', help='only machines with such a name or host name'
    )
    parser.add_argument(
        '--refused', action='store_true', help='all refusals that nothing has followed, in full'
    )


def run(options: argparse.Namespace) -> int:
    filters = (options.profile, options.status, options.since, options.name, options.refused)
    is_filtered = any(filters)
    settings = Settings.load(options.conf, options.section)
    if options.machine is not None:
        if is_filtered:
            raise NotPossible('expected MACHINE, or options that choose among all of them')
        return _print_history(options.machine, options.json, settings)
    there = rulings.survey(settings)
    now = time.time()
    since = now - seconds(options.since) if options.since else 0.0
    rows = [row for row in there.machines if _is_wanted(row, options, since)]
    refusals = [
        event
        for event in there.refusals
        if event.time >= since and fnmatchcase(event.name, options.name or '*')
    ]
    if options.json:
        print(json.dumps(_as_json(there, rows, refusals, now)))
    elif options.refused:
        _print_refusals(refusals, now, len(refusals), 1 << 30)
    else:
        _print_machines(rows, now)
        if not is_filtered:
            _print_stocks(there.stocks)
            _print_refusals(refusals, now, _REFUSALS, _REASONS)
    if there.problems:
        return ERROR if options.json else failed(*there.problems)
    found = refusals if options.refused else rows
    return NO_MATCH if is_filtered and not found else MATCH


def _is_wanted(row: Row, options: argparse.Namespace, since: float) -> bool:
    names = [row.record.name, *row.hosts]
    return (
        options.profile in (None, row.profile)
        and options.status in (None, row.status)
        and row.seen >= since
        and (not options.name or any(fnmatchcase(name, options.name) for name in names))
    )


def _print_machines(rows: Sequence[Row], now: float) -> None:
    print(f'{len(rows)} machines' if len(rows) != 1 else '1 machine')
    if rows:
        head = ('id', 'machine', 'profile', 'host', 'status', 'since', 'last decision', 'by')
        table(head, [_cells(row, now) for row in rows])


def _cells(row: Row, now: float) -> Sequence[str]:
    since = row.record.holding.since if row.record.holding else row.record.since
    last = row.record.last
    return (
        str(row.id),
        row.record.name,
        row.profile or '-',
        row.hosts[0] if row.hosts else '-',
        f'{row.status}, overdue' if row.is_overdue(now) else row.status,
        age(now - since),
        f'{_what(last)}, {age(now - last.time)} ago' if last else '-',
        last.address if last and last.address else '-',
    )


def _what(event: Event) -> str:
    return 'refused' if event.is_refusal else event.what


def _print_stocks(stocks: Sequence[Stock]) -> None:
    print('\nprofiles, in the order of the state')
    head = (
        'profile',
        'quota left',
        INSTALLING,
        INSTALLED,
        FAILED,
        'entries',
        'used',
        'held',
        'free',
    )
    rows = [
        (
            one.profile,
            'not listed' if one.quota is None else str(one.quota),
            *(str(number) for number in one[2:5]),
            *('-' if number is None else str(number) for number in one[5:]),
        )
        for one in stocks
    ]
    if rows:
        table(head, rows)


def _print_refusals(events: Sequence[Event], now: float, most: int, reasons: int) -> None:
    print(f'\nrefused, and not heard of since: {len(events)}')
    for event in events[:most]:
        by = f' from {event.address}' if event.address else ''
        name = paint(printable(event.name), 'bold')
        print(f'  {name}, {age(now - event.time)} ago{printable(by)}')
        for reason in event.reasons[:reasons] or ('the state lists no profile',):
            print(printable(f'    {reason}'))
        if len(event.reasons) > reasons:
            print(f'    and {len(event.reasons) - reasons} more')
    if len(events) > most:
        print(f'  and {len(events) - most} more: --refused shows them')


def _as_json(
    there: Overview, rows: Sequence[Row], refusals: Sequence[Event], now: float
) -> dict[str, object]:
    return {
        'machines': [_row_as_json(row, now) for row in rows],
        'profiles': [one._asdict() for one in there.stocks],
        'refusals': [_event_as_json(event) for event in refusals],
        'problems': there.problems,
    }


def _row_as_json(row: Row, now: float) -> dict[str, object]:
    last = row.record.last
    return {
        'id': row.id,
        'name': row.record.name,
        'keys': [{'kind': key.kind, 'value': key.value} for key in row.record.keys],
        'profile': row.profile,
        'status': row.status,
        'overdue': row.is_overdue(now),
        'since': _iso(row.record.holding.since if row.record.holding else row.record.since),
        'host': row.hosts[0] if row.hosts else None,
        'entry': row.entry,
        'last': _event_as_json(last) if last else None,
    }


def _event_as_json(event: Event) -> dict[str, object]:
    return {
        'time': _iso(event.time),
        'machine': event.machine,
        'name': event.name,
        'address': event.address,
        'profile': event.profile,
        'what': _what(event),
        'variables': event.variables,
        'reasons': event.reasons,
        'inventory': event.inventory,
    }


def _iso(when: float) -> str:
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(when))


def _print_history(name: str, as_json: bool, settings: Settings) -> int:
    with glance(settings) as world:
        records = world.records
        try:
            row = find(name, overview(world).machines)
            events, holdings = records.history(row.id), records.holdings(row.id)
        except SeveralMachines:
            raise
        except UnknownMachine as unknown:
            # One that was only ever refused, or that was forgotten.
            row, holdings = None, []
            number = int(name) if name.isascii() and name.isdigit() and len(name) < 19 else 0
            events = records.history(number) or records.named(name)
            if not events:
                failed(*unknown.report().split('\n'))
                return NO_MATCH
    now = time.time()
    if as_json:
        about = _row_as_json(row, now) if row else None
        past = [_holding_as_json(holding) for holding in holdings]
        history = [_event_as_json(event) for event in events]
        print(json.dumps({'machine': about, 'assignments': past, 'history': history}))
        return MATCH
    if row is not None:
        _print_machine(row, holdings, now)
    else:
        print(printable(f'{events[-1].name} is not known: it was refused, or forgotten'))
    print('history')
    _print_events(events)
    return MATCH


def _holding_as_json(holding: Holding) -> dict[str, object]:
    assignment = holding.assignment
    return {
        'profile': assignment.profile,
        'status': assignment.status,
        'since': _iso(holding.since),
        'changed': _iso(holding.changed),
        'before': assignment.claim.before if assignment.claim else None,
        'after': assignment.claim.after if assignment.claim else None,
    }


def _print_machine(row: Row, holdings: Sequence[Holding], now: float) -> None:
    print(printable(f'machine {row.id}: {row.record.name}'))
    for key in row.record.keys:
        print(printable(f'  {key.kind} {key.value}'))
    print('assignments')
    for holding in holdings:
        profile, status = holding.assignment[1:3]
        overdue = ', overdue' if status != RELEASED and row.is_overdue(now) else ''
        changed = f', {status}{overdue} since {_local(holding.changed)}'
        print(printable(f'  {profile}: from {_local(holding.since)}{changed}'))
        if status != RELEASED and row.entry is not None:
            print(printable(f'    entry {row.entry!r}'))
    if not holdings:
        print('  none')


def _print_events(events: Sequence[Event]) -> None:
    """Oldest first; what is the same again in a line."""
    variables: dict[str, object] = {}
    times = 0
    for event, after in zip(events, [*events[1:], None], strict=True):
        times += 1
        if after is not None and after[2:] == event[2:]:
            continue
        profile = f' {event.profile}' if event.profile else ''
        by = f' from {event.address}' if event.address else ''
        again = f', {times} times' if times > 1 else ''
        print(printable(f'  {_local(event.time)}  {_what(event)}{profile}{by}{again}'))
        times = 0
        for line in (*_changed(variables, event.variables), *event.reasons):
            print(printable(f'    {line}'))
        variables = event.variables or variables


def _changed(before: dict[str, object], after: dict[str, object]) -> Iterable[str]:
    for name, value in sorted(after.items()):
        if name == 'used':
            continue
        if name not in before:
            yield f'{name} = {value!r}'
        elif before[name] != value:
            yield f'{name} = {value!r}, was {before[name]!r}'
    if after:
        yield from (f'no {name}, was {before[name]!r}' for name in sorted(before.keys() - after))


def _local(when: float) -> str:
    return time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(when))
