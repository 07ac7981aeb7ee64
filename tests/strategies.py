"""The strategies of the property tests, each with the truth of what it draws."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

settings.register_profile('edeploy', deadline=None, max_examples=200, print_blob=True)
settings.register_profile('long', parent=settings.get_profile('edeploy'), max_examples=10_000)

Holds = Callable[[str], bool]

# Few different values, so that rules and facts meet.
NAMES = ('disk', 'vda', 'vdb', 'size')
ODD_VALUES = ('', 'N/A', '$d', 'gt(1)', '"8"', 'nan', '1_0', ' 2', 'é', '10.0.0.7', '10.0.9.9')
VALUES = (1, 2, 3, '1', '2', '3', '2.5', 2.5, True, 'True', *NAMES, *ODD_VALUES)

names = st.sampled_from((*NAMES, 1, '1'))
values = st.sampled_from(VALUES)
facts = st.tuples(names, names, names, values)
inventories = st.lists(facts, max_size=6)


class Expression(NamedTuple):
    """A text of the spec language, and what it means by another road."""

    text: str
    holds: Holds


class Term(NamedTuple):
    text: str
    variable: str | None
    holds: Holds


def number(text: str) -> Decimal | None:
    if text in ('nan', '1_0', ' 2') or not text.isascii():
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _compared(
    operator: str, compare: Callable[[Decimal, Decimal], bool], bound: str
) -> Expression:
    def holds(text: str) -> bool:
        value = number(text)
        return value is not None and compare(value, Decimal(bound))

    return Expression(f'{operator}({bound})', holds)


def _in_networks(*cidrs: str) -> Expression:
    def holds(text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return any(address in ip_network(cidr, strict=False) for cidr in cidrs)

    return Expression(f'network({", ".join(cidrs)})', holds)


bounds = st.sampled_from(('1', '2', '2.5', '-1', '1e0'))
_calls = (
    st.builds(_compared, st.just('gt'), st.just(lambda a, b: a > b), bounds)
    | st.builds(_compared, st.just('ge'), st.just(lambda a, b: a >= b), bounds)
    | st.builds(_compared, st.just('lt'), st.just(lambda a, b: a < b), bounds)
    | st.builds(_compared, st.just('le'), st.just(lambda a, b: a <= b), bounds)
    | st.sampled_from(
        (
            Expression('range(1, 2)', lambda v: number(v) is not None and 1 <= number(v) <= 2),
            Expression('in(1, "vda", \'2.5\')', lambda v: v in ('1', 'vda', '2.5')),
            Expression(
                'in("", "$d", "gt(1)", "10.0.0.7")', lambda v: v in ('', '$d', 'gt(1)', '10.0.0.7')
            ),
            Expression('ne(vda)', lambda v: v != 'vda'),
            Expression('ne("")', lambda v: v != ''),
            Expression('regexp(^vd(a|b))', lambda v: v.startswith(('vda', 'vdb'))),
            Expression('regexp([0-9]$)', lambda v: v[-1:].isdigit() and v[-1:].isascii()),
            _in_networks('10.0.0.0/24'),
            _in_networks('10.0.9.1/24', 'fd00::/8'),
        )
    )
)


def _literal(text: str) -> Expression:
    return Expression(text, lambda value: value == text)


_bare = st.sampled_from(('vda', 'vdb', 'size', '1', '2', 'True', 'N/A')).map(_literal)
_quoted = st.sampled_from(('gt(1)', '$d', '', ' 2')).map(
    lambda text: Expression(f'"{text}"', lambda value: value == text)
)


def _nested(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    several = st.lists(inner | _bare | _quoted, min_size=1, max_size=3)
    return (
        (inner | _bare).map(lambda e: Expression(f'not({e.text})', lambda v: not e.holds(v)))
        | several.map(
            lambda es: Expression(
                f'and({", ".join(e.text for e in es)})', lambda v: all(e.holds(v) for e in es)
            )
        )
        | several.map(
            lambda es: Expression(
                f'or({",".join(e.text for e in es)})', lambda v: any(e.holds(v) for e in es)
            )
        )
    )


_once = _nested(_calls)
expressions = _calls | _bare | _once | _nested(_once)
# What looks like a call or a variable cannot stand alone as a literal.
literals = st.sampled_from(
    (*NAMES, '1', '2', '2.5', 'True', 'N/A', '', '"8"', 'vda ()', 'Intel(R)', 'a=b')
).map(_literal)
variables = st.sampled_from(('$a', '$b', '$$a', '$$k', '$d e'))


def _captures(variable: str, expression: Expression | None) -> Term:
    name = variable.lstrip('$')
    if expression is None:
        return Term(variable, name, lambda value: True)
    return Term(f'{variable}={expression.text}', name, expression.holds)


terms = (
    literals.map(lambda e: Term(e.text, None, e.holds))
    | expressions.map(lambda e: Term(e.text, None, e.holds))
    | st.builds(_captures, variables, st.none() | expressions | literals)
)
# Mostly literals first, as in real specs, so that matches are not rare.
_easy = st.sampled_from(NAMES).map(lambda t: Term(t, None, lambda value: value == t))
_any = st.sampled_from(('$a', '$b', '$c')).map(lambda v: _captures(v, None))
rules = st.tuples(_easy | _any, _any | terms, _any | terms, _any | terms)
# Hardly anything but two variables, and these again and again, with literals behind some.
_tied = st.sampled_from(('$a', '$b')).map(lambda v: _captures(v, None))
_tied_literal = st.builds(
    _captures, st.sampled_from(('$a', '$b')), st.sampled_from(NAMES).map(_literal)
)
tied_rules = st.tuples(*[_easy | _tied | _tied | _tied_literal] * 4)
specs = st.lists(rules, max_size=4) | st.lists(rules | tied_rules, max_size=4)


def text_of(spec: list[tuple[Term, ...]]) -> list[tuple[str, ...]]:
    return [tuple(term.text for term in rule) for rule in spec]
