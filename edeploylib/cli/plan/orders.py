"""Who gets what in whatever order the machines come."""

import random
from collections.abc import Sequence

from edeploylib.cli.arrivals import progress
from edeploylib.cli.output import MATCH, NO_MATCH, table
from edeploylib.cli.plan.case import Case, count_of
from edeploylib.errors import printable
from edeploylib.offers import Offer, Offers, find_offers
from edeploylib.orders import FAILS, REFUSED, Prospect, contested, prospects, try_orders
from edeploylib.state import ProfileName

# The orders of arrival that are tried, always the same ones.
_ORDERS = 20
_SEED = 2013


def print_any_order(case: Case) -> int:
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
    if case.options.json:
        case.print_json({**_as_json(case, found, offers), 'orders': len(orders) + 1})
    else:
        _print(case, found, offers, len(orders))
    placed = all(one.is_certain and one.possible[0] not in (REFUSED, FAILS) for one in found)
    return MATCH if placed else NO_MATCH


def _print(case: Case, found: Sequence[Prospect], offers: Offers, orders: int) -> None:
    if found:
        rows = [_prospect_row(one, offers) for one in found]
        table(('machine', 'profile', 'entry', 'how sure'), rows)
    for name, many, few in contested(offers):
        print(printable(f'contested: {many} machines match {name}, which takes {few}'))
    print(
        f'tried: each machine as the first, and {orders} orders of all; '
        'what is proved holds in every order'
    )
    certain = sum(one.is_certain for one in found)
    varying = sum(len(one.seen) > 1 for one in found)
    case.summary(
        f'{certain} of {count_of(len(found), "machine")} get the same in any order; '
        f'{varying} were seen to vary, {len(found) - certain - varying} might'
    )


def _as_json(case: Case, found: Sequence[Prospect], offers: Offers) -> dict[str, object]:
    return {
        'machines': [
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
        ],
        'contested': [
            {'profile': name, 'machines': many, 'takes': few}
            for name, many, few in contested(offers)
        ],
    }


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
