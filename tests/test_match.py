import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies as our
from edeploylib.errors import SearchLimitExceeded
from edeploylib.inventory import Inventory
from edeploylib.match import match
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
