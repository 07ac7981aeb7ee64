"""Which texts an expression holds for: what can be proved of it, and nothing else.

``is_impossible`` and ``implies`` say yes only where that is proved for every text there
is; no means "not proved".
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from edeploylib.term import Call, Expression, Literal, Test, growth_of, test_of
from edeploylib.units import Number

# Alternatives of an expression, beyond which nothing is said of it.
_MOST = 128
# Examples of what satisfies an expression, and the numbers among them.
_EXAMPLES = 8
_ORDINARY = 1 << 64
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


# An edge lies just below a number, on it, or just above.
_Edge = tuple[float | Number, int]
_COMPARISONS: dict[str, tuple[int | None, int | None]] = {
    'gt': (1, None),
    'ge': (0, None),
    'lt': (None, -1),
    'le': (None, 0),
    'range': (0, 0),
}

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


def implies(known: frozenset[Expression], wanted: Expression) -> bool:
    """Whether it is certain that what satisfies all of ``known`` satisfies ``wanted``."""
    if wanted in known or any(_is_within(one, wanted) for one in known):
        return True
    if isinstance(wanted, Call) and wanted.operator == 'and':
        return all(implies(known, part) for part in wanted.arguments if _is_expression(part))  # type: ignore[arg-type]
    return not _is_refuted(known, wanted) and _is_impossible(known, wanted)


def _is_within(one: Expression, other: Expression) -> bool:
    """Whether both are bounds of numbers, and those of the one are the narrower ones."""
    inner, outer = _interval(one), _interval(other)
    return (
        inner is not None and outer is not None and inner[0] >= outer[0] and inner[1] <= outer[1]
    )


@lru_cache(maxsize=65536)
def _interval(expression: Expression) -> tuple[_Edge, _Edge] | None:
    """From where to where a test of numbers holds, if the expression is one."""
    if isinstance(expression, Literal) or expression.operator not in _COMPARISONS:
        return None
    low, high = _COMPARISONS[expression.operator]
    first: Number = expression.arguments[0]  # type: ignore[assignment]
    last: Number = expression.arguments[-1]  # type: ignore[assignment]
    return (
        (-math.inf, 0) if low is None else (first, low),
        (math.inf, 0) if high is None else (last, high),
    )


def _is_refuted(known: frozenset[Expression], wanted: Expression) -> bool:
    """Whether a glance shows that there is no proof: most expressions are of other things."""
    features = _features(known)
    if (
        isinstance(wanted, Call)
        and wanted.operator == 'regexp'
        and not features.has_texts
        and wanted.arguments not in features.patterns
    ):
        return True
    test = _quick_test(wanted)
    return test is not None and not all(map(test, features.examples))


class _Features(NamedTuple):
    """Of expressions: patterns that must be found, and texts that satisfy all of them.

    ``has_texts`` is whether texts are named that the value may be, or there may be no value.
    """

    has_texts: bool
    patterns: frozenset[object]
    examples: tuple[str, ...]


@lru_cache(maxsize=65536)
def _features(known: frozenset[Expression]) -> _Features:
    parts = [part for expression in known for part in _parts(expression)]
    alternatives = _all_of(known)
    atoms = frozenset[_Atom]().union(*(alternatives or ()))
    tests = [_quick_test(expression) for expression in known]
    examples = [
        text
        for text in dict.fromkeys(text for part in parts for text in _likely_texts(part))
        if all(test is not None and test(text) for test in tests)
    ]
    return _Features(
        is_impossible(known) or any(atom.kind == 'in' and atom.holds for atom in atoms),
        frozenset(atom.arguments for atom in atoms if atom.kind == 'regexp' and atom.holds),
        tuple(examples[:_EXAMPLES]),
    )


def _parts(expression: Expression) -> Iterator[Expression]:
    yield expression
    if isinstance(expression, Call):
        for argument in expression.arguments:
            if isinstance(argument, Literal | Call):
                yield from _parts(argument)


def _is_expression(argument: object) -> bool:
    return isinstance(argument, Literal | Call)


def _likely_texts(part: Expression) -> Iterator[str]:
    """Texts on and beside the bounds of an expression."""
    if isinstance(part, Literal):
        yield part.text
    elif part.operator == 'in':
        yield from map(str, part.arguments[:_EXAMPLES])
    elif part.operator == 'network':
        yield from (str(cidr).partition('/')[0] for cidr in part.arguments[:_EXAMPLES])
    elif part.operator in ('gt', 'ge', 'lt', 'le', 'range'):
        for bound in part.arguments:
            if isinstance(bound, int) and abs(bound) < _ORDINARY:
                yield from (str(bound), str(bound + 1), str(bound - 1))


@lru_cache(maxsize=65536)
def _quick_test(expression: Expression) -> Test | None:
    """The test of an expression; None if it may be costly."""
    return test_of(expression) if growth_of(expression) is None else None


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


@lru_cache(maxsize=65536)
def _is_impossible(expressions: frozenset[Expression], denied: Expression | None) -> bool:
    found = _all_of(expressions)
    if found is None:
        return False
    try:
        if denied is not None:
            found = _both(found, _alternatives(denied, False))
    except (_TooMany, RecursionError):
        return False
    return all(map(_is_empty, found))


@lru_cache(maxsize=65536)
def _all_of(expressions: frozenset[Expression]) -> _Alternatives | None:
    """All the expressions as an "or" of "and"s; None if they are too many."""
    found: _Alternatives = (frozenset(),)
    try:
        for expression in sorted(expressions, key=repr):
            found = _both(found, _alternatives(expression, True))
    except (_TooMany, RecursionError):
        return None
    return found


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
    calls = (Call(str(atom.arguments[0]), atom.arguments[1:]) for atom in compared)  # type: ignore[arg-type]
    intervals = [interval for call in calls if (interval := _interval(call))]
    return max(low for low, _ in intervals) > min(high for _, high in intervals)


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
