"""Whether all can be placed and filled at once, and what is in the way."""

from collections.abc import Sequence

from edeploylib.cli.arrivals import progress
from edeploylib.cli.output import MATCH, NO_MATCH, paint, warn
from edeploylib.cli.plan.case import NAMED, Case, count_of
from edeploylib.errors import printable
from edeploylib.feasible import Feasibility, Proposal, feasible


def print_feasibility(case: Case) -> int:
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
        f'{count_of(found.machines, "machine")} and {found.filled} of '
        f'{count_of(found.wanted, "unit")} of quota at once'
    )
    return MATCH if is_feasible else NO_MATCH


def _answer(holds: bool, most: str) -> str:
    return paint('yes', 'green') if holds else f'{paint("no", "red")}, at most {most}'


def _does(one: Proposal) -> str:
    when = 'in whatever order the machines come' if one.any_arrival else 'in this order of arrival'
    return f'places {one.placed} and fills {one.filled}, {when}'


def _some(machines: Sequence[int], names: Sequence[str]) -> str:
    shown = ', '.join(names[index] for index in machines[:NAMED])
    more = len(machines) - NAMED
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
