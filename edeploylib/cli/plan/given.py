"""Who gets what if the machines come in the order given."""

from collections import Counter
from collections.abc import Iterator, Sequence

from edeploylib.cli.arrivals import progress
from edeploylib.cli.output import MATCH, NO_MATCH, table, warn
from edeploylib.cli.plan.case import EXPLAINED, NAMED, Case, count_of, shown_entry
from edeploylib.errors import EdeployError, printable
from edeploylib.explain import explain
from edeploylib.select import Refusal
from edeploylib.service import refusal_lines, warnings_of
from edeploylib.simulate import Fate, Simulation
from edeploylib.state import ProfileName


def print_given_order(case: Case) -> int:
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
    if len(taken) > NAMED:
        each = f'of {len(taken)} profiles'
    refused = sum(fate.decision is not None and fate.profile is None for fate in fates)
    failing = sum(fate.decision is None for fate in fates)
    parts = [f'{sum(taken.values())} of {count_of(len(fates), "machine")} get a profile']
    parts[0] += f': {each}' if each else ''
    parts += [f'{refused} refused'] if refused else []
    parts += [count_of(failing, 'error')] if failing else []
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


def _print_refusals(case: Case, fates: Sequence[Fate]) -> None:
    refused = [fate for fate in fates if fate.decision is not None and fate.profile is None]
    shown = refused if case.options.why else refused[:EXPLAINED]
    for number, fate in enumerate(shown, 1):
        progress(f'{number} of {len(shown)} refusals explained')
        assert fate.decision is not None
        lines = refusal_lines(fate.decision, fate.inventory)
        progress('')
        for line in lines:
            print(printable(line))
    if len(refused) > len(shown):
        print(f'and {len(refused) - len(shown)} more that no profile can take: --why tells why')


def _fates_as_json(case: Case, fates: Sequence[Fate]) -> Iterator[dict[str, object]]:
    refused = 0
    for path, fate in zip(case.arrivals.paths, fates, strict=True):
        refused += fate.profile is None
        yield _fate_as_json(path, fate, case.options.why or refused <= EXPLAINED)


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
