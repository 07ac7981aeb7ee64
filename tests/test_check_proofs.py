"""What ``check`` proves of specs: counterexamples are sought, and known examples are found."""

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from edeploylib.check.logic import implies, is_impossible
from edeploylib.check.reach import Takers, contradictions, covers, outline
from edeploylib.errors import Place
from edeploylib.match import match
from edeploylib.spec import Spec
from edeploylib.term import Expression, Literal, parse_term
from edeploylib.term import test_of as predicate

# Texts that lie on, beside and between all the bounds that are drawn.
NUMBERS = ('-1', '0', '1', '1.0', '1e0', '1.5', '2', '2.0', '2.5', '3', '4', '4.5')
ADDRESSES = ('10.0.0.1', '10.0.0.200', '10.0.1.1', '10.1.0.1', '11.0.0.1', 'fd00::1', '::1')
WORDS = ('', 'vda', 'vdb', 'nvme0', 'N/A')
POOL = (*NUMBERS, *ADDRESSES, *WORDS)

bounds = st.sampled_from(('1', '1.0', '2', '2.5', '3'))
literals = st.sampled_from(('1', '1.0', '2', 'vda', 'vdb', '10.0.0.1'))
networks = st.sampled_from(
    (
        '10.0.0.0/8',
        '10.0.0.0/24',
        '10.0.1.0/24',
        '10.0.0.0/25',
        '10.0.0.1',
        '11.0.0.0/8',
        'fd00::/8',
    )
)
calls = (
    st.builds('{}({})'.format, st.sampled_from(('gt', 'ge', 'lt', 'le')), bounds)
    | st.builds('range({}, {})'.format, bounds, bounds)
    | st.builds('in({})'.format, st.lists(literals, min_size=1, max_size=3).map(', '.join))
    | st.builds('ne({})'.format, literals)
    | st.builds('network({})'.format, st.lists(networks, min_size=1, max_size=2).map(', '.join))
    | st.sampled_from(('regexp(^vd)', 'regexp([0-9]$)', 'regexp(.)'))
)
tests = st.recursive(
    calls | literals,
    lambda inner: (
        st.builds('not({})'.format, inner)
        | st.builds(
            '{}({})'.format,
            st.sampled_from(('and', 'or')),
            st.lists(inner, min_size=1, max_size=3).map(', '.join),
        )
    ),
    max_leaves=4,
)
variables = st.sampled_from(('$a', '$b', '$$c'))
terms = (
    tests | tests | variables | st.builds('{}={}'.format, variables, tests) | literals | literals
)
Rule = tuple[str, ...]
rules = st.tuples(*[literals | variables] * 3, terms) | st.tuples(*[terms] * 4)
specs = st.lists(rules, min_size=1, max_size=4)


def expression(text: str) -> Expression:
    found = parse_term(text, Place('test')).expression
    assert found is not None
    return found


@given(st.lists(tests, min_size=1, max_size=3))
def test_no_text_satisfies_what_is_impossible(texts) -> None:
    if is_impossible(frozenset(map(expression, texts))):
        event('impossible')
        assert not [text for text in POOL if all(predicate(expression(t))(text) for t in texts)]


@given(st.lists(tests, min_size=1, max_size=3), tests)
def test_what_is_implied_holds_wherever_the_others_do(known, wanted) -> None:
    if implies(frozenset(map(expression, known)), expression(wanted)):
        event('implied')
        for text in POOL:
            if all(predicate(expression(one))(text) for one in known):
                assert predicate(expression(wanted))(text)


@pytest.mark.parametrize(
    'texts',
    [
        ('gt(8)', 'lt(4)'),
        ('gt(4)', 'lt(4)'),
        ('ge(4)', 'lt(4)'),
        ('ge(4)', 'le(4)', 'lt(4)'),
        ('gt(4)', 'ge(4)', 'le(4)'),
        ('range(1, 4)', 'gt(4)'),
        ('and(gt(8), lt(4))',),
        ('range(14, 1)',),
        ('gt(1GiB)', 'le(1073741824)'),
        ('vda', 'vdb'),
        ('10', '10.0'),
        ('in(a, b)', 'in(c, d)'),
        ('in(a, b)', 'ne(a)', 'ne(b)'),
        ('in(3, 4)', 'gt(4)'),
        ('vda', 'gt(4)'),
        ('vda', 'regexp(^sd)'),
        ('10.0.0.1', 'network(10.0.1.0/24)'),
        ('network(10.0.0.0/24)', 'network(10.0.1.0/24)'),
        ('network(10.0.0.0/24)', 'not(network(10.0.0.0/8))'),
        ('network(10.0.0.0/8)', 'network(fd00::/8)'),
        ('network(10.0.0.0/8)', 'gt(4)'),
        ('not(or(gt(4), le(4)))', 'gt(1)'),
        ('not(regexp(^sd))', 'regexp(^sd)'),
        ('or(a, b)', 'not(in(a, b, c))'),
        ('gt(4)', 'or(lt(3), in(a, b))'),
    ],
)
def test_contradictions_are_found(texts) -> None:
    assert is_impossible(frozenset(map(expression, texts)))


@pytest.mark.parametrize(
    'texts',
    [
        ('ge(4)', 'le(4)'),
        ('gt(4)', 'lt(4.0000000001)'),
        ('not(gt(4))', 'not(le(4))'),  # what is no number
        ('gt(4)', 'ne(5)'),  # 5.0
        ('not(range(1, 4))', 'gt(1)'),
        ('in(10, 10.0)', 'ge(10)', 'le(10)', 'ne(10)'),
        ('network(10.0.0.0/8)', 'network(10.0.1.0/24)', 'not(network(10.0.1.0/25))'),
        ('regexp(^sd)', 'regexp(^vd)'),  # of which nothing is known
        ('not(network(0.0.0.0/0))',),
        ('regexp(^(a+)+$)', 'in("' + 'a' * 60 + 'b", x)'),  # too costly to try
    ],
)
def test_what_may_be_is_left_alone(texts) -> None:
    assert not is_impossible(frozenset(map(expression, texts)))


@pytest.mark.parametrize(
    'wide, narrow, covered',
    [
        ([('disk', '$d', 'size', 'gt(4)')], [('disk', '$x', 'size', '$s=gt(8)')], True),
        ([('disk', '$d', 'size', 'gt(8)')], [('disk', '$x', 'size', '$s=gt(4)')], False),
        ([], [('a', 'b', 'c', 'd')], True),
        ([('a', 'b', 'c', '$v')], [('a', 'b', 'c', 'd')], True),
        ([('a', 'b', 'c', 'd')], [('a', 'b', 'c', '$v')], False),
        ([('a', 'b', 'c', 'in(d, e)')], [('a', 'b', 'c', 'd')], True),
        ([('a', 'b', 'c', 'd')], [('a', 'b', 'c', 'in("d")')], True),
        # Two facts of its own, and there is certainly one.
        ([('a', '$x', 'c', '$y')] * 2, [('a', 'b', 'c', 'd')], False),
        ([('a', '$x', 'c', '$y')] * 2, [('a', 'b', 'c', 'd')] * 2, True),
        ([('a', '$x', 'c', '$y')] * 2, [('a', 'b', 'c', '1'), ('a', 'b', 'c', '2')], False),
        # One variable for two, and for a variable and its text.
        (
            [('disk', '$d', 'size', '$s'), ('disk', '$d', 'vendor', '$v')],
            [('disk', '$a', 'size', '$s'), ('disk', '$b', 'vendor', '$v')],
            False,
        ),
        (
            [('disk', '$d', 'size', '$s'), ('disk', '$e', 'vendor', '$v')],
            [('disk', '$a', 'vendor', 'ATA'), ('disk', '$a', 'size', '$a')],
            True,
        ),
        (
            [('disk', '$d', 'size', '$s'), ('disk', '$d', 'vendor', '$v')],
            [('disk', 'vda', 'size', '$s'), ('disk', '$e=vda', 'vendor', '$v')],
            True,
        ),
        # A test that stands at another place of the variable.
        (
            [('disk', 'regexp(^sd)', 'size', 'gt(4)')],
            [('disk', '$d', 'size', 'gt(4)'), ('raid', '$x', 'disk', '$d=regexp(^sd)')],
            True,
        ),
        ([('a', '$x', 'c', '$x')], [('a', '$y', 'c', '$y')], True),
        ([('a', '$x', 'c', '$x')], [('a', '$y', 'c', '$z')], False),
        ([('a', '$x', 'c', '$x')], [('a', 'b', 'c', 'b')], True),
        ([('a', '$x', 'c', '$x')], [('a', '1', 'c', '1.0')], False),
        # In another order, and with a choice that is wrong at first.
        (
            [('a', '$x', 'c', '$y'), ('a', '$z', 'c', 'gt(4)')],
            [('a', 'b', 'c', 'gt(8)'), ('a', 'b', 'c', 'no')],
            True,
        ),
    ],
)
def test_inclusions_are_found(wide, narrow, covered) -> None:
    assert covers(outline(Spec.of(wide)), outline(Spec.of(narrow))) == covered
    takers = Takers([outline(Spec.of(narrow))])
    takers.add('wide', outline(Spec.of(wide)))
    assert takers.first_of(outline(Spec.of(narrow))) == ('wide' if covered else None)


def fits(text: str, term: str) -> bool:
    found = parse_term(term, Place('test')).expression
    return found is None or predicate(found)(text)


@st.composite
def aimed_at(draw, spec: list[Rule]) -> list[tuple[str, ...]]:
    """An inventory with a fact for each rule, as far as texts of the pool suit it."""
    wanted: dict[str, list[str]] = {}
    for rule in spec:
        for term in rule:
            name = parse_term(term, Place('test')).variable
            if name is not None:
                wanted.setdefault(name, []).append(term)
    values = {
        name: draw(st.sampled_from([t for t in POOL if all(fits(t, one) for one in its)] or POOL))
        for name, its in wanted.items()
    }
    facts = []
    for rule in spec:
        fact = []
        for term in rule:
            name = parse_term(term, Place('test')).variable
            suiting = [t for t in POOL if fits(t, term)] or POOL
            fact.append(draw(st.sampled_from(suiting)) if name is None else values[name])
        facts.append(tuple(fact))
    noise = draw(st.lists(st.tuples(*[st.sampled_from(POOL)] * 4), max_size=2))
    return draw(st.permutations([*facts, *noise]))


@given(st.data(), specs)
def test_no_inventory_satisfies_a_contradiction(data, spec) -> None:
    found = contradictions(Spec.of(spec))
    facts = data.draw(aimed_at(spec))
    if found:
        event('contradiction')
        assert match(spec, facts) is None
    for one in found:
        # The terms that are named are enough, and each of them is needed.
        named = [Spec.of(spec).rules[rule][element] for rule, element in one.positions]
        tests_of = [term.expression for term in named]
        assert is_impossible(frozenset(tests_of))
        assert len(named) == 1 or all(
            not is_impossible(frozenset(tests_of[:i] + tests_of[i + 1 :]))
            for i in range(len(named))
        )


WIDENED = {'2': 'in(2, 3)', 'vda': 'regexp(^vd)', '10.0.0.1': 'network(10.0.0.0/8)'}


@st.composite
def weakened(draw, spec: list[Rule]) -> list[Rule]:
    """Some of the rules, in another order, with other names, and wider or fewer tests."""
    kept = draw(st.permutations(spec))[: draw(st.integers(0, len(spec)))]
    fresh = iter(range(100))

    def wider(term: str) -> str:
        variable, equals, test = term.partition('=') if term.startswith('$') else ('', '', term)
        name = variable.replace('$', '').upper()
        how = draw(st.integers(0, 3))
        if how == 0:
            return f'$new{next(fresh)}'
        if how == 1 and variable:
            return f'${name}'
        if test:
            test = WIDENED.get(test, test) if how == 2 else test
            test = f'or({test}, in(x, y))' if how == 3 else test
        return f'${name}{equals}{test}' if variable else test

    return [tuple(map(wider, rule)) for rule in kept]


@given(st.data(), specs)
def test_a_weaker_spec_covers(data, spec) -> None:
    """It is found that it does, and what matches the spec matches the weaker one."""
    wide = data.draw(weakened(spec))
    if contradictions(Spec.of(spec)):
        return
    assert covers(outline(Spec.of(wide)), outline(Spec.of(spec)))
    facts = data.draw(aimed_at(spec))
    if match(spec, facts) is not None:
        event('match')
        assert match(wide, facts) is not None


@given(st.data(), specs, st.lists(rules, max_size=1))
def test_what_matches_a_covered_spec_matches_the_other(data, spec, more) -> None:
    """Of a weaker spec with one more rule, or with one of its terms changed."""
    wide = [*data.draw(weakened(spec)), *more]
    if wide and data.draw(st.booleans()):
        rule, element = data.draw(st.integers(0, len(wide) - 1)), data.draw(st.integers(0, 3))
        changed = list(wide[rule])
        changed[element] = data.draw(terms | st.sampled_from(('$A', '$B')))
        wide[rule] = tuple(changed)
    if covers(outline(Spec.of(wide)), outline(Spec.of(spec))):
        event('covered')
        facts = data.draw(aimed_at(spec))
        if match(spec, facts) is not None:
            event('covered and matched')
            assert match(wide, facts) is not None


def test_what_is_too_much_to_tell_is_not_told() -> None:
    """And it does not take long to say so."""
    many = 'and(' + ', '.join(f'or(gt({n}), lt({-n}), in(a{n}))' for n in range(30)) + ')'
    assert not is_impossible(frozenset([expression(many)]))
    alike = [('disk', f'$d{n}', 'size', f'$s{n}') for n in range(24)]
    ring = [(*rule[:3], f'$s{(n + 1) % 24}') for n, rule in enumerate(alike)]
    assert not covers(outline(Spec.of([*alike, *ring])), outline(Spec.of([*ring, *ring])))
    assert implies(frozenset([Literal('a')]), Literal('a'))


@given(st.data(), st.lists(st.lists(rules, max_size=2), min_size=1, max_size=3))
def test_the_first_taker_is_found_as_by_asking_each(data, narrower) -> None:
    narrower = [spec for spec in narrower if not contradictions(Spec.of(spec))]
    outlines = [outline(Spec.of(spec)) for spec in narrower]
    takers = Takers(outlines)
    wider = [outline(Spec.of(data.draw(weakened(spec)))) for spec in reversed(narrower)]
    for number, wide in enumerate(wider):
        takers.add(str(number), wide)
    for narrow in outlines:
        covering = (str(number) for number, wide in enumerate(wider) if covers(wide, narrow))
        assert takers.first_of(narrow) == next(covering, None)
