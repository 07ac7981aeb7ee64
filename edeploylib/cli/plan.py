"""``edeployctl plan HW...``: what would uploads do?  Nothing is written."""

import argparse
import difflib
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edeploylib.cli.arrivals import Arrivals, add_hw, progress, read_arrivals
from edeploylib.cli.output import ERROR, MATCH, NO_MATCH, paint, table, warn
from edeploylib.errors import EdeployError, SettingsError, printable
from edeploylib.explain import explain
from edeploylib.feasible import Feasibility, Proposal, feasible
from edeploylib.generate import Entry
from edeploylib.inventory import Inventory
from edeploylib.offers import Offer, Offers, find_offers
from edeploylib.orders import FAILS, REFUSED, Prospect, contested, prospects, try_orders
from edeploylib.script import render
from edeploylib.select import Refusal
from edeploylib.service import refusal_lines, warnings_of
from edeploylib.settings import Settings
from edeploylib.simulate import Fate, Files, Simulation, simulate
from edeploylib.state import ProfileName
from edeploylib.store.snapshot import Snapshot

# The orders of arrival that --order any tries, always the same ones.
_ORDERS = 20
_SEED = 2013
# Of how many machines it is explained at length why they are refused.
_EXPLAINED = 10
_NAMED = 6


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
        help=f'explain every refusal at length, not those of {_EXPLAINED} machines alone',
    )


def run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if not options.hw and settings is None:
        raise SettingsError('expected HW with --configdir, which has no HWDIR')
    files = _files(settings, options.configdir)
    files.state()
    arrivals = read_arrivals(options.hw or [settings.hwdir], options.json)  # type: ignore[union-attr]
    case = _Case(options, settings, files, arrivals)
    if options.feasible:
        status = _feasible(case)
    elif options.against is not None:
        status = _against(case)
    elif options.order == 'any':
        status = _any_order(case)
    else:
        status = _given_order(case)
    return ERROR if arrivals.broken else status


class _Case(NamedTuple):
    options: argparse.Namespace
    settings: Settings | None
    files: Files
    arrivals: Arrivals

    @property
    def ignored_macs(self) -> frozenset[str]:
        return self.settings.ignored_macs if self.settings else frozenset()

    @property
    def inventories(self) -> list[Inventory]:
        return self.arrivals.inventories

    @property
    def names(self) -> list[str]:
        return [inventory.sysname for inventory in self.inventories]

    def simulated(self, files: Files) -> tuple[list[Fate], Simulation]:
        count = len(self.inventories)
        fates = simulate(
            files,
            self.inventories,
            self.ignored_macs,
            lambda done: progress(f'{done} of {count} machines'),
        )
        progress('')
        return fates

    def print_json(self, answer: dict[str, object]) -> None:
        broken = [{'file': path, 'error': str(error)} for path, error in self.arrivals.broken]
        print(json.dumps({**answer, 'broken': broken}))

    def summary(self, text: str) -> None:
        broken = len(self.arrivals.broken)
        print(
            printable(text + (f'; {_count(broken, "broken inventory")} left out' * bool(broken)))
        )


def _settings(options: argparse.Namespace) -> Settings | None:
    if options.configdir is not None and options.conf is None:
        return None
    return Settings.load(options.conf, options.section)


def _files(settings: Settings | None, folder: str | None) -> Files:
    if settings is None:
        assert folder is not None
        return Files(Snapshot.of_folder(folder))
    return Files(Snapshot.of(settings, folder))


def _given_order(case: _Case) -> int:
    fates, after = case.simulated(case.files)
    left = dict(_entries_left(after))
    placed = sum(fate.profile is not None for fate in fates)
    if case.options.json:
        case.print_json(
            {
                'machines': list(_fates_as_json(case, fates)),
                'quotas': after.state().quotas,
                'entries': {name: {'left': a, 'all': b} for name, (a, b) in left.items()},
            }
        )
    else:
        warn(
            *dict.fromkeys(
                slip for fate in fates if fate.decision for slip in warnings_of(fate.decision)
            )
        )
        if fates:
            table(('machine', 'profile', 'entry', 'note'), [_row(fate) for fate in fates])
        _print_refusals(case, fates)
        quotas = ', '.join(f'{name} {quota}' for name, quota in after.state().quotas.items())
        print(printable(f'quotas left: {quotas or "none"}'))
        entries = ', '.join(f'{name} {a} of {b}' for name, (a, b) in left.items())
        if entries:
            print(printable(f'CMDB entries left: {entries}'))
        case.summary(_summary(fates))
    return MATCH if placed == len(fates) else NO_MATCH


def _summary(fates: Sequence[Fate]) -> str:
    taken = Counter(fate.profile for fate in fates if fate.profile is not None)
    each = ', '.join(f'{name} {count}' for name, count in taken.items())
    if len(taken) > _NAMED:
        each = f'of {len(taken)} profiles'
    refused = sum(fate.decision is not None and fate.profile is None for fate in fates)
    failing = sum(fate.decision is None for fate in fates)
    parts = [f'{sum(taken.values())} of {_count(len(fates), "machine")} get a profile']
    parts[0] += f': {each}' if each else ''
    parts += [f'{refused} refused'] if refused else []
    parts += [_count(failing, 'error')] if failing else []
    return '; '.join(parts)


def _row(fate: Fate) -> tuple[str, str, str, str]:
    name = fate.inventory.sysname
    if fate.decision is None:
        return name, '-', '', f'error: {fate.error}'
    if fate.profile is None:
        return name, '-', '', 'refused'
    return name, fate.profile, shown_entry(fate.entry), _note(fate)


def _note(fate: Fate) -> str:
    before = fate.before
    if before is None:
        return ''
    if fate.is_kept:
        return 'has it already'
    return f'had {before.profile}' + ('' if before.holds_unit else ', which failed')


def shown_entry(entry: Entry | None) -> str:
    """What people call a host by, or all of the entry."""
    if entry is None:
        return ''
    names = [
        str(entry[name]) for name in ('hostname', 'host', 'name', 'ip', 'address') if name in entry
    ]
    return ' '.join(names[:2]) or repr(entry)


def _entries_left(world: Simulation) -> Iterator[tuple[ProfileName, tuple[int, int]]]:
    """Of each CMDB that can be read, the entries that are not used, and all."""
    for profile in world.state().quotas:
        try:
            cmdb = world.cmdb(profile)
        except EdeployError:
            continue  # told to the machines that need it
        if cmdb is not None:
            unused = sum(not entry.get('used') for entry in cmdb.entries)
            yield profile, (unused, len(cmdb.entries))


def _print_refusals(case: _Case, fates: Sequence[Fate]) -> None:
    refused = [fate for fate in fates if fate.decision is not None and fate.profile is None]
    shown = refused if case.options.why else refused[:_EXPLAINED]
    for number, fate in enumerate(shown, 1):
        progress(f'{number} of {len(shown)} refusals explained')
        assert fate.decision is not None
        lines = refusal_lines(fate.decision, fate.inventory)
        progress('')
        for line in lines:
            print(printable(line))
    if len(refused) > len(shown):
        print(f'and {len(refused) - len(shown)} more that no profile can take: --why tells why')


def _fates_as_json(case: _Case, fates: Sequence[Fate]) -> Iterator[dict[str, object]]:
    refused = 0
    for path, fate in zip(case.arrivals.paths, fates, strict=True):
        refused += fate.profile is None
        yield _fate_as_json(path, fate, case.options.why or refused <= _EXPLAINED)


def _fate_as_json(path: str, fate: Fate, why: bool) -> dict[str, object]:
    """``explanation`` is null where the profile was not the last word, or not asked for."""
    decision = fate.decision
    return {
        'file': path,
        'machine': fate.inventory.sysname,
        'profile': fate.profile,
        'entry': fate.entry,
        'variables': dict(decision.variables) if decision else {},
        'had': fate.before.profile if fate.before else None,
        'kept': fate.is_kept,
        'error': str(fate.error) if fate.error else None,
        'warnings': warnings_of(decision) if decision else [],
        'refusals': [
            {
                'profile': refusal.profile,
                'reason': refusal.reason,
                'explanation': _explained(refusal, fate) if why and not fate.profile else None,
            }
            for refusal in (decision.refusals if decision else ())
        ],
    }


def _explained(refusal: Refusal, fate: Fate) -> list[str]:
    return explain(refusal.spec, fate.inventory).lines() if refusal.spec is not None else []


def _any_order(case: _Case) -> int:
    progress('matching')
    offers = find_offers(case.files, case.inventories, case.ignored_macs)
    found = prospects(offers)
    chance = random.Random(_SEED)
    indices = list(range(len(found)))
    orders = [indices, indices[::-1]]
    orders += [chance.sample(indices, len(indices)) for _ in range(_ORDERS - len(orders))]
    try_orders(
        case.files,
        found,
        orders,
        case.ignored_macs,
        lambda done: progress(f'{done} of {len(orders)} orders of arrival'),
    )
    progress('')
    certain = sum(one.is_certain for one in found)
    varying = sum(len(one.seen) > 1 for one in found)
    if case.options.json:
        machines = [
            {
                'file': path,
                'machine': one.candidate.inventory.sysname,
                'proved': one.is_certain,
                'possible': list(map(_outcome_as_json, one.possible)),
                'seen': [
                    {**_outcome_as_json(outcome), 'orders': count}
                    for outcome, count in one.seen.items()
                ],
            }
            for path, one in zip(case.arrivals.paths, found, strict=True)
        ]
        crowded = [
            {'profile': name, 'machines': many, 'takes': few}
            for name, many, few in contested(offers)
        ]
        case.print_json({'machines': machines, 'contested': crowded, 'orders': len(orders) + 1})
    else:
        if found:
            table(
                ('machine', 'profile', 'entry', 'how sure'),
                [_prospect_row(one, offers) for one in found],
            )
        for name, many, few in contested(offers):
            print(printable(f'contested: {many} machines match {name}, which takes {few}'))
        print(
            f'tried: each machine as the first, and {len(orders)} orders of all; '
            'what is proved holds in every order'
        )
        case.summary(
            f'{certain} of {_count(len(found), "machine")} get the same in any order; '
            f'{varying} were seen to vary, {len(found) - certain - varying} might'
        )
    placed = all(one.is_certain and one.possible[0] not in (REFUSED, FAILS) for one in found)
    return MATCH if placed else NO_MATCH


def _outcome_as_json(outcome: str) -> dict[str, object]:
    is_profile = outcome not in (REFUSED, FAILS)
    return {
        'outcome': 'profile' if is_profile else outcome[1:],
        'profile': outcome if is_profile else None,
    }


def _prospect_row(one: Prospect, offers: Offers) -> tuple[str, str, str, str]:
    name = one.candidate.inventory.sysname
    outcomes = ' or '.join(map(_outcome, one.possible))
    why = f': {one.candidate.error}' if FAILS in one.possible and one.candidate.error else ''
    if one.is_certain:
        return name, outcomes, _entry_of(one, offers), f'proved{why}'
    seen = ', '.join(f'{_outcome(outcome)} {count}' for outcome, count in one.seen.items())
    twins = ', shares a key with another' if one.candidate.twins else ''
    return name, outcomes, '', f'seen: {seen}{twins}{why}'


def _outcome(outcome: str) -> str:
    return outcome[1:] if outcome in (REFUSED, FAILS) else outcome


def _entry_of(one: Prospect, offers: Offers) -> str:
    offer = one.candidate.offers.get(ProfileName(one.possible[0]))
    if not isinstance(offer, Offer):
        return ''
    group = offers.groups[offer.groups[-1]]
    if group.all is None:
        return ''
    if offer.has_entry:
        return 'the one that it holds'
    having = f' with {group.label}' if group.label else ''
    return f'the one{having}' if group.all == 1 else f'one of {group.all}{having}'


def _against(case: _Case) -> int:
    other = _files(case.settings, case.options.against)
    other.state()
    now, _ = case.simulated(case.files)
    then, _ = case.simulated(other)
    changes = [
        change
        for path, one, two in zip(case.arrivals.paths, now, then, strict=True)
        if (change := _change(case, path, (one, case.files), (two, other))) is not None
    ]
    if case.options.json:
        case.print_json({'machines': len(now), 'changes': [one._asdict() for one in changes]})
        return NO_MATCH if changes else MATCH
    if changes:
        table(
            ('machine', 'profile', 'entry', 'script'),
            [
                (
                    one.machine,
                    _both(*one.profiles),
                    _both(*map(shown_entry, one.entries)),
                    one.size,
                )
                for one in changes
            ],
        )
    for one in changes:
        for error in filter(None, one.errors):
            print(printable(f'{one.machine}: {error}'))
    if case.options.diff:
        for one in changes:
            for line in one.diff:
                print(printable(line))
    elif any(one.diff for one in changes):
        print('--diff shows how the scripts differ')
    case.summary(f'{len(changes)} of {_count(len(now), "machine")} would get another answer')
    return NO_MATCH if changes else MATCH


class _Change(NamedTuple):
    """What a machine gets now and what it would get; ``diff`` is that of the scripts."""

    file: str
    machine: str
    profiles: tuple[str | None, str | None]
    entries: tuple[Entry | None, Entry | None]
    errors: tuple[str | None, str | None]
    diff: list[str]

    @property
    def size(self) -> str:
        added = sum(line.startswith('+') for line in self.diff[2:])
        removed = sum(line.startswith('-') for line in self.diff[2:])
        return f'+{added} -{removed}' if self.diff else ''


def _change(
    case: _Case, path: str, now: tuple[Fate, Files], then: tuple[Fate, Files]
) -> _Change | None:
    name = now[0].inventory.sysname
    fates = (now[0], then[0])
    scripts = [_script(case, *one).splitlines() for one in (now, then)]
    change = _Change(
        path,
        name,
        (fates[0].profile, fates[1].profile),
        (fates[0].entry, fates[1].entry),
        (_error(fates[0]), _error(fates[1])),
        _diff(scripts, [f'{files.snapshot.folder}: {name}' for _, files in (now, then)]),
    )
    differ = any(one[0] != one[1] for one in (change.profiles, change.entries, change.errors))
    return change if differ or change.diff else None


def _diff(scripts: list[list[str]], names: list[str]) -> list[str]:
    """How two scripts differ, if there are two."""
    if not all(scripts):
        return []
    return list(difflib.unified_diff(scripts[0], scripts[1], names[0], names[1], lineterm=''))


def _error(fate: Fate) -> str | None:
    return str(fate.error) if fate.error else None


class _NoLinks(NamedTuple):
    pxemngr_url: str = ''
    metadata_url: str = ''


def _script(case: _Case, fate: Fate, files: Files) -> str:
    if fate.decision is None or fate.profile is None:
        return ''
    return render(fate.decision, files.configure(fate.profile), case.settings or _NoLinks())


def _both(one: str | None, two: str | None) -> str:
    left, right = one or '-', two or '-'
    return left if left == right else f'{left} -> {right}'


def _feasible(case: _Case) -> int:
    found = feasible(case.files, case.inventories, case.ignored_macs, progress)
    progress('')
    is_feasible = found.all_placed and found.all_filled
    if case.options.json:
        case.print_json(_feasible_as_json(found, case.names))
        return MATCH if is_feasible else NO_MATCH
    if found.left_out:
        names = ', '.join(case.names[index] for index in found.left_out)
        warn(f'left out, since they cannot be told from others: {names}')
    warn(*found.errors)
    answer = _answer(found.all_placed, f'{found.placed} of {found.machines}')
    print(f'can all machines be placed at once? {answer}')
    for crowd in found.crowds:
        print(printable(f'  {crowd}: {_some(crowd.machines, case.names)}'))
    answer = _answer(found.all_filled, f'{found.filled} of {found.wanted}')
    print(f'can all quotas be filled at once? {answer}')
    for want in found.wants:
        whose = f': {_some(want.machines, case.names)}' if want.machines else ''
        print(printable(f'  {want}{whose}'))
    print(f'the state as it is {_does(found.now)}')
    if found.proposal is not None:
        print(f'this order of the state {_does(found.proposal)}:')
        print(printable(f'  {list(found.proposal.state)!r}'))
    if not found.reached:
        tried = f'{found.tried} of {found.orders} orders of the state'
        print(f'no order was found that does all that is possible; {tried} were tried')
    case.summary(
        f'{"feasible" if is_feasible else "not feasible"}: at most {found.placed} of '
        f'{_count(found.machines, "machine")} and {found.filled} of '
        f'{_count(found.wanted, "unit")} of quota at once'
    )
    return MATCH if is_feasible else NO_MATCH


def _answer(holds: bool, most: str) -> str:
    return paint('yes', 'green') if holds else f'{paint("no", "red")}, at most {most}'


def _does(one: Proposal) -> str:
    when = 'in whatever order the machines come' if one.any_arrival else 'in this order of arrival'
    return f'places {one.placed} and fills {one.filled}, {when}'


def _some(machines: Sequence[int], names: Sequence[str]) -> str:
    shown = ', '.join(names[index] for index in machines[:_NAMED])
    more = len(machines) - _NAMED
    return f'{shown} and {more} more' if more > 0 else shown


def _feasible_as_json(found: Feasibility, names: Sequence[str]) -> dict[str, object]:
    return {
        'machines': {
            'count': found.machines,
            'placed': found.placed,
            'bottlenecks': [
                {
                    'machines': [names[index] for index in crowd.machines],
                    'limits': [vars(limit) for limit in crowd.limits],
                }
                for crowd in found.crowds
            ],
        },
        'quotas': {
            'wanted': found.wanted,
            'filled': found.filled,
            'bottlenecks': [
                {
                    'profiles': want.profiles,
                    'wanted': want.wanted,
                    'machines': [names[index] for index in want.machines],
                    'limits': [vars(limit) for limit in want.limits],
                }
                for want in found.wants
            ],
        },
        'state': vars(found.now),
        'proposal': vars(found.proposal) if found.proposal else None,
        'tried': found.tried,
        'errors': found.errors,
        'left_out': [names[index] for index in found.left_out],
    }


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f'{number} {noun}'
    return f'{number} {noun[:-1]}ies' if noun.endswith('y') else f'{number} {noun}s'
