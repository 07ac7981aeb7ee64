import json
import re
from itertools import permutations, product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies as our
from edeploylib.errors import SearchLimitExceeded, SpecError
from edeploylib.inventory import Inventory
from edeploylib.match import match
from edeploylib.search import Meter, first
from edeploylib.spec import Spec
from oracle import first_assignment

CASES = sorted((Path(__file__).parent / 'cases' / 'match').glob('*.json'))


@pytest.mark.parametrize('path', CASES, ids=lambda path: path.stem)
def test_cases(path: Path) -> None:
    """Each file holds facts, a spec and the answer."""
    case = json.loads(path.read_text())
    found = match([tuple(rule) for rule in case['spec']], case['facts'])
    answer = found and {
        'variables': found.variables,
        'keys': found.keys,
        'facts': list(found.facts),
    }
    assert answer == case['match']


@settings(max_examples=10_000)
@given(our.specs, our.inventories)
def test_the_answer_is_that_of_exhaustive_search(spec, facts) -> None:
    """Whether, and with which facts."""
    found = match(our.text_of(spec), facts)
    assert (found and found.facts) == first_assignment(spec, facts)


@given(our.specs, our.inventories)
def test_captures_are_what_the_chosen_facts_say(spec, facts) -> None:
    """With the value and the type of the fact of the first rule that captures."""
    found = match(our.text_of(spec), facts)
    if found is None:
        return
    captured: dict[str, object] = {}
    for rule, index in zip(spec, found.facts, strict=True):
        for element, term in enumerate(rule):
            if term.variable:
                value = facts[index][element]
                captured.setdefault(term.variable, str(value) if element < 3 else value)
    assert {name: (value, type(value)) for name, value in found.variables.items()} == {
        name: (value, type(value)) for name, value in captured.items()
    }
    keys = {t.variable for rule in spec for t in rule if t.text.startswith('$$')}
    assert found.keys == {name: captured[name] for name in keys}


@given(our.specs, our.inventories, st.randoms(use_true_random=False))
def test_shuffled_facts_match_the_same(spec, facts, random) -> None:
    """The order of facts decides which of them, not whether."""
    before = match(our.text_of(spec), facts)
    random.shuffle(facts)
    assert (match(our.text_of(spec), facts) is None) == (before is None)


@given(our.specs, our.rules, our.inventories)
def test_adding_a_rule_can_only_narrow(spec, rule, facts) -> None:
    if match(our.text_of([*spec, rule]), facts) is not None:
        assert match(our.text_of(spec), facts) is not None


def test_an_empty_spec_matches_every_machine() -> None:
    assert match([], [('a', 'b', 'c', 'd')]) == ({}, {}, ())


def test_giving_up_is_an_error_and_not_a_no() -> None:
    """A search past its budget says so, and which rules it fought with."""
    facts = [('disk', f'sd{i}', 'size', '1') for i in range(30)]
    spec = [('disk', f'${i}', 'size', '1') for i in range(31)]
    assert match(spec, facts) is None
    with pytest.raises(SearchLimitExceeded) as gave_up:
        match(spec, facts, budget=1000)
    assert str(gave_up.value).startswith('gave up after 1000 steps, mostly at rule 1: ')


def test_parsed_and_listed_arguments_are_the_same() -> None:
    spec = [('disk', '$disk', 'size', 'gt(4)')]
    facts = [('disk', 'vda', 'size', '10')]
    assert match(Spec.of(spec), Inventory.of(facts)) == match(spec, facts)
    assert match(spec, facts).variables == {'disk': 'vda'}


@given(our.specs, our.inventories)
def test_a_renamed_variable_changes_nothing_but_the_name(spec, facts) -> None:
    rules = our.text_of(spec)
    renamed = [tuple(re.sub(r'^(\$\$?)', r'\1new ', text) for text in rule) for rule in rules]
    before, after = match(rules, facts), match(renamed, facts)
    assert (before and before.facts) == (after and after.facts)
    assert {
        f'new {name}': value for name, value in (before.variables if before else {}).items()
    } == (after.variables if after else {})


@given(our.specs, our.inventories)
def test_the_answer_satisfies_the_spec(spec, facts) -> None:
    """By putting the captured values in the places of the variables."""
    found = match(our.text_of(spec), facts)
    if found is None:
        return
    assert len(set(found.facts)) == len(spec)
    for rule, index in zip(spec, found.facts, strict=True):
        for term, value in zip(rule, facts[index], strict=True):
            assert term.holds(str(value))
            if term.variable:
                assert str(found.variables[term.variable]) == str(value)


@given(our.specs, our.inventories)
def test_a_fact_of_no_rule_in_front_changes_no_binding(spec, facts) -> None:
    before = match(our.text_of(spec), facts)
    unrelated = ('unrelated', 'unrelated', 'unrelated', 'unrelated')
    after = match(our.text_of(spec), [unrelated, *facts])
    if before is not None:
        assert after is not None
        used = [index for index in after.facts if index == 0]
        if not used:
            assert after.facts == tuple(index + 1 for index in before.facts)


@st.composite
def planted(draw: st.DrawFn):
    """A large inventory, and a spec that some of its devices satisfy."""
    random = draw(st.randoms(use_true_random=False))
    size = draw(st.sampled_from([60, 200, 600, 2000]))
    kinds = ['disk', 'network', 'cpu', 'bank']
    facts = []
    for device in range(size // 10):
        kind = random.choice(kinds)
        facts += [
            (kind, f'{kind}{device}', f'p{n}', random.choice(['a', 'b', 1, 2, f'{device}']))
            for n in range(10)
        ]
    devices = random.sample(range(size // 10), k=min(size // 10, draw(st.integers(5, 15))))
    rules = []
    for number, device in enumerate(devices):
        for fact in random.sample(facts[device * 10 : device * 10 + 10], k=4):
            kind, _, prop, value = fact
            term = random.choice([str(value), f'$v{random.randrange(1000)}', f'in({value}, q)'])
            if term.startswith('$v'):
                term = f'$v{number} {prop}'
            rules.append((kind, f'$d{number}', prop, term))
    random.shuffle(facts)
    random.shuffle(rules)
    return rules, facts


@settings(max_examples=60)
@given(planted())
def test_what_is_planted_is_found(instance) -> None:
    rules, facts = instance
    found = match(rules, facts)
    assert found is not None
    assert len(set(found.facts)) == len(rules)
    for rule, index in zip(rules, found.facts, strict=True):
        for term, value in zip(rule, facts[index], strict=True):
            if term.startswith('$'):
                assert str(found.variables[term[1:]]) == str(value)


def answered(spec, facts) -> str:
    """How a search ends: in any case it does."""
    try:
        return 'no' if match(spec, facts) is None else 'yes'
    except SearchLimitExceeded as gave_up:
        assert 'gave up after 4000000 steps' in str(gave_up)
        return 'gave up'


def disks(count: int, *, alike: bool = True) -> list[tuple[object, ...]]:
    return [
        ('disk', f'sd{n}', prop, 'x' if alike else f'{prop}{n}')
        for n in range(count)
        for prop in ('size', 'vendor', 'serial')
    ]


@pytest.mark.parametrize('count', [3, 24, 200])
def test_pigeons_in_too_few_holes_are_refused(count: int) -> None:
    """One device more than there are, each with two rules."""
    spec = [
        ('disk', f'$d{n}', prop, f'${prop}{n}')
        for n in range(count + 1)
        for prop in ('size', 'serial')
    ]
    assert answered(spec, disks(count)) == 'no'
    assert answered(spec[:-2], disks(count)) == 'yes'


@pytest.mark.parametrize('count', [3, 24, 100])
def test_the_right_device_may_be_the_last(count: int) -> None:
    spec = [
        ('disk', '$d', 'size', '$s'),
        ('disk', '$d', 'vendor', '$v'),
        ('disk', '$d', 'serial', f'serial{count - 1}'),
    ]
    assert match(spec, disks(count, alike=False)).variables['d'] == f'sd{count - 1}'


def test_devices_that_must_be_permuted_are() -> None:
    """Each may serve two rules, and only one order serves all."""
    count = 30
    spec = [('disk', f'$d{n}', 'serial', f'in(serial{n}, serial{n + 1})') for n in range(count)]
    spec += [('disk', '$last', 'serial', 'serial0')]
    found = match(spec, disks(count + 1, alike=False))
    assert [found.variables[f'd{n}'] for n in range(count)] == [f'sd{n + 1}' for n in range(count)]


def graph(edges: set[tuple[int, int]]) -> list[tuple[str, ...]]:
    return [('edge', str(a), 'to', str(b)) for a, b in sorted(edges)]


def test_a_clique_that_is_not_there_is_refused_or_given_up() -> None:
    """A hard problem in disguise: cross-linked variables in two places."""
    random = Random(7)
    edges = {(a, b) for a in range(40) for b in range(40) if a < b and random.random() < 0.6}
    spec = [('edge', f'${a}', 'to', f'${b}') for a in range(12) for b in range(a + 1, 12)]
    assert answered(spec, graph(edges)) in ('no', 'gave up')


@pytest.mark.parametrize(
    ('spec', 'facts'),
    [
        # thousands of like facts, variables in all four places
        ([tuple(f'${n}{e}' for e in range(4)) for n in range(40)], [('a', 'b', 'c', 'd')] * 5000),
        # every value equal, all variables shared
        ([('$a', '$b', '$c', '$d')] * 30, [('x', 'x', 'x', 'x')] * 3000),
        ([('$a', '$b', '$c', '$a')] * 30, [(str(n), 'x', 'x', str(n)) for n in range(3000)]),
        # a chain through all facts that breaks at its end
        (
            [('n', f'${n}', 'next', f'${n + 1}') for n in range(60)],
            [('n', str(n), 'next', str(n + 1)) for n in range(59)] * 20,
        ),
        (
            [('n', f'${n}', '$p', f'${n + 1}') for n in range(30)] + [('n', '$30', 'x', '$0')],
            [('n', str(a), 'x', str(b)) for a in range(40) for b in range(40)],
        ),
    ],
    ids=['like facts', 'equal values', 'tied places', 'a broken chain', 'a ring'],
)
def test_hostile_inventories_end_within_the_budget(spec, facts) -> None:
    assert answered(spec, facts) in ('yes', 'no', 'gave up')


@pytest.mark.parametrize(
    ('pattern', 'value', 'answer'),
    [
        (r'(a+)+$', 'a' * 60 + '!', 'gave up'),
        (r'(a|a)*$', 'a' * 60 + '!', 'gave up'),
        (r'(.*){12}x', 'a' * 60, 'gave up'),
        (r'a*a*a*a*b', 'a' * 5000, 'gave up'),
        (r'(a+)\1b', 'a' * 9900, 'gave up'),
        (r'(?x) (a+) +$', 'a' * 27 + '!', 'gave up'),
        (r'(a+)(?#x)+$', 'a' * 27 + '!', 'gave up'),
        (r'^([a-z]+|[0-9a-f]+|[-_.])+$', 'a' * 23 + '!', 'gave up'),
        (r'^(\w+\s?)*(\w+)*$', 'a' * 24 + '!', 'gave up'),
        ('a?' * 28 + 'a' * 28, 'a' * 28, 'gave up'),
        (r'(?:(?i:a)*A)*b', 'A' * 29, 'gave up'),
        (r'a*(?=a*(?=a*(?=a*c)))', 'a' * 400, 'gave up'),
        (r'a*(?=a*c)', 'a' * 6000, 'gave up'),
        (r'(?:(?=a*b)a)*c', 'a' * 4000 + 'b', 'gave up'),
        (r'(a+)+$', 'a' * 12, 'yes'),
        (r'^(\w{1,8}-?){8}$', 'A' * 56 + '!', 'no'),
        (r'vmx.*aes.*avx2', 'fpu vmx aes ' * 120, 'no'),
        (r'^(?=.*\bvmx\b)(?=.*\baes\b)', 'fpu vmx ' * 180 + 'aes', 'yes'),
        (r'.*avx.*f16c.*', 'fpu vme avx ' * 300 + 'f16c', 'yes'),
        (
            r'^Intel.*Xeon.*E5-[0-9]+.*@ [0-9.]+GHz$',
            'Intel(R) Xeon(R) CPU E5-2650 0 @ 2.00GHz',
            'yes',
        ),
        (r'Intel\(R\)\s+Xeon\(R\)\s+CPU\s+E5-\d+\s+v\d', 'Intel(R) Xeon(R) CPU E5-2650 v3', 'yes'),
        ('^(' + '|'.join(f'sd{c}' for c in 'abcdefghijklmnopqrstuvwx') + r')\d*$', 'sdq1', 'yes'),
        (r'^ProLiant.*Gen9|^PowerEdge R\d+|^System x\d+|^UCS.*M\d', 'ProLiant DL380 Gen10', 'no'),
        (r'(?:E5-)+', 'Xeon E5-2650' * 4, 'yes'),
        (r'(\d+\.)+\d+', '10.0.0.1.2.3.4.5.6.7.8.9.10.11.12', 'yes'),
        (r'^\d+\.\d+\.\d+(-\d+)?(-[a-z0-9]+)*$', '5.15.0-105-generic-hwe-22-x86x', 'yes'),
        (r'root=UUID=[0-9a-f-]+ .*console=\S+', 'root=UUID=' + '0a-' * 50 + ' console=tty', 'yes'),
        (r'(foo|bar)+', 'foobar' * 10, 'yes'),
        (r'^([0-9a-f]{2}:){5}[0-9a-f]{2}$', '52:54:00:88:17:3c', 'yes'),
        (r'^S{1,2}(T|U)', 'SST', 'yes'),
        (r'^\d+\.\d+\.\d+\.\d+$', '192.168.122.3', 'yes'),
        (r'a$', 'b' * 100_000 + 'a', 'yes'),
        ('(' * 70 + '(a*){9}' + '){9}' * 70, 'aaaa', 'gave up'),
    ],
)
def test_regular_expressions_end_within_the_budget(pattern, value, answer) -> None:
    """What could take for ever on a value is given up before it is tried."""
    facts = [('a', 'b', 'c', value)]
    assert answered([('a', 'b', 'c', f'regexp({pattern})')], facts) == answer
    assert answered([('a', 'b', 'c', f'and(ne(q), regexp("{pattern}"))')], facts) == answer


@given(st.sampled_from(['a', 'a.*', '.*a', '.*', r'\.*', r'a\\.*', '.*?a', '.*|b', 'a|.*', '(.*){2}']),
       st.text(alphabet='ab.\\\n', max_size=6))  # fmt: skip
def test_a_pattern_means_what_python_says(pattern: str, value: str) -> None:
    """Though the ends of some are left away."""
    found = match([('a', 'b', 'c', f'regexp({pattern})')], [('a', 'b', 'c', value)])
    assert (found is not None) == (re.search(pattern, value) is not None)


@pytest.mark.parametrize('count', [100, 20_000])
def test_thousands_of_devices_of_which_the_first_is_incomplete(count: int) -> None:
    """What one device lacks is found without a search through all."""
    facts = [('disk', 'b', prop, '1') for prop in ('size', 'model')]
    facts += [
        (*('disk', f'd{n}', prop), f'{n}')
        for n in range(count)
        for prop in ('size', 'model', 'rev')
    ]
    spec = [
        ('disk', '$d', 'size', 'ge(0)'),
        ('disk', '$d', 'model', '$m'),
        ('disk', '$d', 'rev', '$r'),
    ]
    assert match(spec, facts).variables == {'d': 'd0', 'm': '0', 'r': '0'}


@st.composite
def tied_domains(draw: st.DrawFn):
    """Rules' domains over few facts, and links over few values, so that choices must be undone."""
    facts = draw(st.integers(4, 7))
    domain = st.sets(st.integers(0, facts - 1), min_size=1).map(sorted)
    domains = draw(st.lists(domain, min_size=3, max_size=5))
    values = st.lists(st.sampled_from('xyz'), min_size=facts, max_size=facts)
    numbers = st.sets(st.integers(0, len(domains) - 1), min_size=2).map(sorted)
    links = draw(st.lists(numbers, max_size=4))
    return domains, [[(rule, draw(values)) for rule in link] for link in links]


@settings(max_examples=3000)
@given(tied_domains())
def test_the_search_itself_is_exhaustive(instance) -> None:
    """On domains and links of any kind, also such as no spec gives rise to."""
    domains, links = instance

    def fits(chosen: tuple[int, ...]) -> bool:
        return len({*chosen}) == len(chosen) and all(
            len({values[chosen[rule]] for rule, values in link}) == 1 for link in links
        )

    expected = next(filter(fits, product(*domains)), None)
    found = first(domains, links, Meter(10**6))
    assert (found and tuple(found)) == expected


def test_a_smaller_choice_that_only_looks_possible_is_not_taken() -> None:
    """Three rules of two colours each, tied in a triangle of unlike pairs, have no solution."""
    unlike = [('a', 'b'), ('b', 'a')]
    facts = [('p', f'{x}{y}', x, y) for x, y in unlike for _ in range(3)]
    facts += [('p', 'ac', 'a', 'c'), ('p', 'cb', 'c', 'b'), ('p', 'ba', 'b', 'a')]
    spec = [('p', '$1', '$x', '$y'), ('p', '$2', '$y', '$z'), ('p', '$3', '$z', '$x')]
    found = match(spec, facts)
    triples = (
        chosen
        for chosen in permutations(range(len(facts)), 3)
        if all(facts[chosen[n]][3] == facts[chosen[(n + 1) % 3]][2] for n in range(3))
    )
    assert found.facts == next(triples)


@pytest.mark.parametrize('depth', [10, 400, 2000])
def test_a_deep_regular_expression_is_answered_or_given_up_on(depth: int) -> None:
    """How deep is too deep is up to the Python; no wrong answer, nor a crash, comes of it."""
    deep = '(' * depth + 'a' + ')' * depth
    try:
        found = match([('a', 'b', 'c', f'regexp({deep})')], [('a', 'b', 'c', 'aaaa')])
    except (SearchLimitExceeded, SpecError):
        assert depth > 10
    else:
        assert found is not None
