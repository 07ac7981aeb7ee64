"""Which texts an expression holds for: what can be proved of it, and nothing else.

``is_impossible`` and ``implies`` say yes only where that is proved for every text there
is; no means "not proved".
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from edeploylib.term import Call, Expression, Literal, growth_of, test_of
from edeploylib.units import Number

# Alternatives of an expression, beyond which nothing is said of it.
_MOST = 128
# Steps that trying one text may cost, by the measure of a search.
_COSTLY = 100_000

_Network = IPv4Network | IPv6Network


class _Atom(NamedTuple):
    """What one call or literal says of a text, or that it does not.

    ``kind`` is 'in', 'regexp', 'network', 'number', or 'compare' (which has no
    denial: what is no number or compares otherwise is two alternatives).
    """

    kind: str
    holds: bool
    arguments: tuple[object, ...] = ()


_Alternatives = tuple[frozenset[_Atom], ...]
_NO_NUMBER = frozenset([_Atom('number', False)])


class _TooMany(Exception):
    pass


@lru_cache(maxsize=65536)
def is_impossible(expressions: frozenset[Expression]) -> bool:
    """Whether it is certain that no text satisfies all of the expressions."""
    if len(expressions) == 1:
        (only,) = expressions
        if isinstance(only, Literal):
            return False
    return _is_impossible(expressions, None)


@lru_cache(maxsize=262144)
def implies(known: frozenset[Expression], wanted: Expression) -> bool:
    """Whether it is certain that what satisfies all of ``known`` satisfies ``wanted``."""
    if wanted in known:
        return True
    if isinstance(wanted, Literal) and not any(map(_may_pin, known)):
        return False
    return _is_impossible(known, wanted)


def only_text(known: frozenset[Expression]) -> str | None:
    """The one text that satisfies all the expressions, if it is certain that there is no other."""
    for expression in known:
        if isinstance(expression, Literal):
            return expression.text
    for expression in known:
        if isinstance(expression, Call) and expression.operator in ('in', 'and', 'or'):
            for text in _named_texts(expression):
                if implies(known, Literal(text)):
                    return text
    return None


def _named_texts(expression: Expression) -> Iterator[str]:
    """The texts that an expression names as ones that the value may be."""
    if isinstance(expression, Literal):
        yield expression.text
    elif expression.operator == 'in':
        yield from map(str, expression.arguments)
    elif expression.operator in ('and', 'or'):
        for part in expression.arguments:
            if isinstance(part, Literal | Call):
                yield from _named_texts(part)


def _may_pin(expression: Expression) -> bool:
    """Whether an expression may leave a single text; an impossible one is none's business."""
    return isinstance(expression, Literal) or expression.operator in ('in', 'not', 'and', 'or')


def _is_impossible(expressions: frozenset[Expression], denied: Expression | None) -> bool:
    try:
        found: _Alternatives = (frozenset(),)
        for expression in sorted(expressions, key=repr):
            found = _both(found, _alternatives(expression, True))
        if denied is not None:
            found = _both(found, _alternatives(denied, False))
    except (_TooMany, RecursionError):
        return False
    return all(map(_is_empty, found))


@lru_cache(maxsize=16384)
def _alternatives(expression: Expression, holds: bool) -> _Alternatives:
    """An expression, or its denial, as an "or" of "and"s of atoms; raises _TooMany."""
    if isinstance(expression, Literal):
        return _one(_Atom('in', holds, (expression.text,)))
    operator, arguments = expression
    if operator in ('in', 'network', 'regexp'):
        return _one(_Atom(operator, holds, arguments))
    if operator == 'ne':
        return _one(_Atom('in', not holds, arguments))
    if operator in ('and', 'or', 'not'):
        parts = [part for part in arguments if isinstance(part, Literal | Call)]
        if operator == 'not':
            return _alternatives(parts[0], not holds)
        return _joined(parts, holds, every=(operator == 'and') == holds)
    if holds:
        return _one(_Atom('compare', True, (operator, *arguments)))
    opposite = {'gt': 'le', 'ge': 'lt', 'lt': 'ge', 'le': 'gt'}
    others = (
        [('lt', arguments[0]), ('gt', arguments[1])]
        if operator == 'range'
        else [(opposite[operator], arguments[0])]
    )
    return (_NO_NUMBER, *(frozenset([_Atom('compare', True, other)]) for other in others))


def _one(atom: _Atom) -> _Alternatives:
    return (frozenset([atom]),)


def _joined(parts: Iterable[Expression], holds: bool, every: bool) -> _Alternatives:
    if not every:
        return _few(tuple(dict.fromkeys(one for p in parts for one in _alternatives(p, holds))))
    found: _Alternatives = (frozenset(),)
    for part in parts:
        found = _both(found, _alternatives(part, holds))
    return found


def _both(left: _Alternatives, right: _Alternatives) -> _Alternatives:
    if len(left) * len(right) > _MOST * _MOST:
        raise _TooMany
    return _few(tuple(dict.fromkeys(one | other for one in left for other in right)))


def _few(alternatives: _Alternatives) -> _Alternatives:
    if len(alternatives) > _MOST:
        raise _TooMany
    return alternatives


def _is_empty(atoms: frozenset[_Atom]) -> bool:
    """Whether it is certain that no text satisfies all the atoms."""
    if any(atom.holds and atom._replace(holds=False) in atoms for atom in atoms):
        return True
    named = [frozenset(atom.arguments) for atom in atoms if atom.kind == 'in' and atom.holds]
    if named:
        texts = frozenset.intersection(*named)
        return not any(_may_be(str(text), atoms) for text in texts)
    compared = [atom for atom in atoms if atom.kind == 'compare']
    located = [atom for atom in atoms if atom.kind == 'network']
    if compared:
        # An address has more points than a number.
        no_number = _Atom('number', False) in atoms
        return no_number or any(atom.holds for atom in located) or _is_empty_range(compared)
    return _are_apart(located)


def _may_be(text: str, atoms: Iterable[_Atom]) -> bool:
    return all(_may_satisfy(text, atom) for atom in atoms)


def _may_satisfy(text: str, atom: _Atom) -> bool:
    """Whether a text satisfies an atom, or it takes too long to tell."""
    if atom.kind == 'in':
        return (text in atom.arguments) == atom.holds
    if atom.kind == 'number':
        return test_of(_ANY_NUMBER)(text) == atom.holds
    call = (
        Call(str(atom.arguments[0]), atom.arguments[1:])  # type: ignore[arg-type]
        if atom.kind == 'compare'
        else Call(atom.kind, atom.arguments)  # type: ignore[arg-type]
    )
    steps = growth_of(call)
    if steps is not None and steps(len(text)) > _COSTLY:
        return True
    return test_of(call)(text) == atom.holds


# Each number is less than 1 or not.
_ANY_NUMBER = Call('or', (Call('lt', (1,)), Call('ge', (1,))))


def _is_empty_range(compared: Iterable[_Atom]) -> bool:
    """Whether no number is within all the bounds."""
    # Of equal bounds, the one that leaves itself out is the stricter one.
    lowest: tuple[Number, bool] | None = None
    highest: tuple[Number, bool] | None = None
    for atom in compared:
        for low, high in _bounds(atom):
            if low is not None and (lowest is None or low > lowest):
                lowest = low
            if high is not None and (
                highest is None or (high[0], not high[1]) < (highest[0], not highest[1])
            ):
                highest = high
    if lowest is None or highest is None:
        return False
    is_point = lowest[0] == highest[0]
    return lowest[0] > highest[0] or (is_point and (lowest[1] or highest[1]))


_Bound = tuple[Number, bool]


def _bounds(atom: _Atom) -> Iterator[tuple[_Bound | None, _Bound | None]]:
    """The lower and the upper bound, each with whether it leaves itself out."""
    operator, *numbers = atom.arguments
    first: Number = numbers[0]  # type: ignore[assignment]
    match operator:
        case 'gt' | 'ge':
            yield (first, operator == 'gt'), None
        case 'lt' | 'le':
            yield None, (first, operator == 'lt')
        case 'range':
            second: Number = numbers[1]  # type: ignore[assignment]
            yield (first, False), (second, False)


def _are_apart(located: Sequence[_Atom]) -> bool:
    """Whether no address is in all the networks, and in none of those denied."""
    inside = [_networks(atom.arguments) for atom in located if atom.holds]
    outside = [net for atom in located if not atom.holds for net in _networks(atom.arguments)]
    if not inside:
        return False
    common = list(inside[0])
    for networks in inside[1:]:
        common = [both for one in common for other in networks if (both := _overlap(one, other))]
        if len(common) > _MOST:
            return False
    return all(any(_overlap(one, other) == one for other in outside) for one in common)


@lru_cache(maxsize=4096)
def _networks(cidrs: tuple[object, ...]) -> tuple[_Network, ...]:
    return tuple(ip_network(str(cidr)) for cidr in cidrs)


def _overlap(one: _Network, other: _Network) -> _Network | None:
    """Of two networks, the one within the other."""
    if one.version != other.version or not one.overlaps(other):
        return None
    return one if one.prefixlen >= other.prefixlen else other
