"""Likely slips in a rule that no fact serves."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from ipaddress import ip_address, ip_network

from edeploylib.address import network
from edeploylib.inventory import Inventory
from edeploylib.slips import slips
from edeploylib.spec import Rule
from edeploylib.term import Call, Literal, Term
from edeploylib.units import decimal

# No real inventory has so many categories or properties, and comparing takes long.
_MOST_NAMES = 1000


def hints(
    rule: Rule, differing: Iterable[tuple[Term, str]], inventory: Inventory
) -> Iterable[str]:
    """Likely slips in a rule that no fact serves.

    ``differing`` are its terms that the nearest facts do not have, with what
    they have instead.
    """
    for term in rule:
        yield from slips(term)
    yield from _unknown_names(rule, inventory)
    for term, found in differing:
        if isinstance(term.expression, Literal):
            yield from _alike(term.expression.text, found)
        elif term.expression is not None:
            yield from _inapplicable(term.expression, term, found)


def _unknown_names(rule: Rule, inventory: Inventory) -> Iterable[str]:
    """A category, or a property of it, that no fact has."""
    category, _, prop, _ = (
        term.expression.text if isinstance(term.expression, Literal) else None for term in rule
    )
    there = {fact[0] for fact in inventory.facts}
    if category is not None and category not in there:
        yield f'no fact has the category {category!r}{_close(category, there)}'
        return
    there = {fact[2] for fact in inventory.facts if category in (None, fact[0])}
    if prop is not None and prop not in there:
        of = f'no {category!r}' if category else 'no fact'
        yield f'{of} has the property {prop!r}{_close(prop, there)}'


def _close(text: str, there: Iterable[str]) -> str:
    lower = {name.lower(): name for name in there}
    if len(lower) > _MOST_NAMES:
        return ''
    close = get_close_matches(text.lower(), lower, n=1, cutoff=0.6)
    return f': did you mean {lower[close[0]]!r}?' if close else ''


def _alike(wanted: str, found: str) -> Iterable[str]:
    if wanted.casefold() == found.casefold():
        yield f'{wanted!r} and {found!r} differ in case only'
    elif ''.join(wanted.split()).casefold() == ''.join(found.split()).casefold():
        yield f'{wanted!r} and {found!r} differ in blanks only'
    elif wanted.strip('"\'') == found.strip('"\''):
        yield f'{wanted!r} and {found!r} differ in quotes only: quotes are part of a text'


def _inapplicable(call: Call, term: Term, text: str) -> Iterable[str]:
    """Why a test is false of a value that it may have been meant for."""
    bounds = [argument for argument in call.arguments if not isinstance(argument, str | tuple)]
    if call.operator in ('gt', 'ge', 'lt', 'le', 'range'):
        number = decimal(text)
        if number is None:
            unit = re.match(r'\s*[0-9.]+\s*([A-Za-z]+)\s*$', text)
            because = f'it has the unit {unit[1]!r}' if unit else 'it is no plain number'
            yield f'{call.operator}() is false of {text!r}: {because}'
        elif re.search(r'[kMGT]i?B', term.text) and number * 1000 < min(bounds):
            yield f'{wanted(term)} is in bytes, is {text!r} in another unit?'
    if call.operator == 'network':
        if network(text) is None or '/' in text:
            yield f'network() is false of {text!r}: it is no address'
        for cidr in call.arguments:
            yield from _outside(str(cidr), text)
    if call.operator == 'in':
        for one in call.arguments:
            yield from _alike(str(one), text)


def _outside(cidr: str, text: str) -> Iterable[str]:
    try:
        address, near = ip_address(text), ip_network(cidr)
    except ValueError:
        return
    if address.version != near.version:
        yield f'{text!r} is of IPv{address.version}, {cidr} of IPv{near.version}'
        return
    wider = near
    while address not in wider:
        wider = wider.supernet()
    if near.prefixlen - wider.prefixlen <= 4:
        yield f'{text!r} is just outside of {cidr}: {wider} has both'


def wanted(term: Term) -> str:
    """What a term wants of a fact, its variable left aside."""
    if isinstance(term.expression, Literal):
        return repr(term.expression.text)
    return term.text.partition('=')[2] if term.variable is not None else term.text
