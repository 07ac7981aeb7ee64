import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given

import strategies as our
from conftest import INVENTORIES
from edeploylib.explain import NO_FACT, Explanation, explain
from edeploylib.inventory import Inventory
from edeploylib.match import match
from edeploylib.spec import Spec

CASES = sorted((Path(__file__).parent / 'cases' / 'explain').glob('*.json'))


@pytest.mark.parametrize('path', CASES, ids=lambda path: path.stem)
def test_cases(path: Path) -> None:
    """Each file holds facts, a spec and the explanation."""
    case = json.loads(path.read_text())
    found = explain([tuple(rule) for rule in case['spec']], case['facts'], case['budget'])
    assert found.lines() == case['lines']
    assert [reason.kind for reason in found.reasons] == case['kinds']
    assert [list(reason.rules) for reason in found.reasons] == case['rules']
    assert [[one.fact, one.choices] for one in found.served] == case['served']
    assert (found.match is not None) == (case['kinds'] == [])
    json.dumps(found.as_dict())


def check_minimal(found: Explanation) -> None:
    for reason in found.reasons:
        rules = [found.spec.rules[number - 1] for number in reason.rules]
        assert match(Spec(tuple(rules)), found.inventory) is None
        for left_out in range(len(rules)):
            rest = rules[:left_out] + rules[left_out + 1 :]
            assert match(Spec(tuple(rest)), found.inventory) is not None


@given(our.specs, our.inventories)
def test_what_cannot_hold_together_is_minimal(spec, facts) -> None:
    """Without any one of its rules, the rest of a reason's rules matches."""
    found = explain(our.text_of(spec), facts)
    assert (found.match is None) == bool(found.reasons)
    assert found.match == match(our.text_of(spec), facts)
    check_minimal(found)
    assert len(found.lines()) >= len(found.reasons)


@given(our.specs, our.inventories)
def test_a_rule_without_facts_is_named_with_those_that_differ(spec, facts) -> None:
    """And the differences are so."""
    for reason in explain(our.text_of(spec), facts).reasons:
        if reason.kind == NO_FACT:
            assert len(reason.rules) == 1
            for near in reason.near:
                assert near.differences
                for one in near.differences:
                    assert str(facts[near.fact][one.element]) == one.found
                    assert one.wanted


@given(our.specs, our.inventories)
def test_captures_are_those_of_the_match(spec, facts) -> None:
    found = explain(our.text_of(spec), facts)
    if found.match is None:
        return
    assert {one.variable: one.value for one in found.captures} == found.match.variables
    assert {one.variable for one in found.captures if one.is_key} == set(found.match.keys)
    assert tuple(one.fact for one in found.served) == found.match.facts
    assert all(one.choices >= 1 for one in found.served)


def test_a_wrong_rule_among_twenty_is_named_in_a_real_inventory() -> None:
    """Of what hardware-detect finds on this machine, with devices as of a server beside."""
    done = subprocess.run(
        [sys.executable, '-c', 'from hardware.detect import main; main()'],
        capture_output=True,
        check=True,
    )
    storage = json.loads((INVENTORIES / 'storage.json').read_bytes())
    disks = [
        ['disk', f'sd{letter}', prop, f'{prop}-{letter}']
        for letter in 'cdefghij'
        for prop in ('size', 'vendor', 'model', 'rev', 'serial', 'wwn', 'rotational')
    ]
    inventory = Inventory.of([*json.loads(done.stdout), *storage, *disks])
    assert len(inventory) > 100
    spec = [('cpu', 'logical', 'number', '$cpus'), ('network', '$nic', 'ipv4', '10.0.3.21')]
    spec += [
        (kind, name, prop, '$' + f'{kind} {name} {prop}') for kind, name, prop, _ in disks[:17]
    ]
    assert explain(spec, inventory).match
    found = explain([*spec, ('disk', '$d', 'size', 'gt(9000)')], inventory)
    (reason,) = found.reasons
    assert reason.rules == (20,)
    assert "rule 20 ('disk', '$d', 'size', 'gt(9000)')" in reason.text
    assert reason.near[0].differences[0].wanted == 'gt(9000)'


GOOD = """[
    ('system', 'product', 'vendor', 'HPE'),
    ('disk', '$system', 'size', 'range(100, 500)'),
    ('disk', '$data', 'size', 'gt(1000)'),
    ('memory', 'total', 'size', 'ge(64GiB)'),
    ('network', '$eth', 'ipv4', 'network(10.0.0.0/16)'),
    ('network', '$eth', 'serial', '$mac'),
    ('network', '$eth', 'link', 'yes'),
]
"""


@pytest.mark.parametrize(
    ('right', 'wrong', 'message'),
    [
        (
            "('disk', '$data'",
            "('disc', '$data'",
            "no fact has the category 'disc': did you mean 'disk'?",
        ),
        (
            "'size', 'gt(1000)'",
            "'sizes', 'gt(1000)'",
            "no 'disk' has the property 'sizes': did you mean 'size'?",
        ),
        ("'gt(1000)'", "'gt(1TB)'", "gt(1TB) is in bytes, is '4000' in another unit?"),
        ("'HPE'", "'hpe'", "'hpe' and 'HPE' differ in case only"),
        ("'yes'", '\'"yes"\'', 'differ in quotes only: quotes are part of a text'),
        (
            "    ('memory'",
            "    ('disk', '$spare', 'size', '$s'),\n    ('memory'",
            "need 3 different facts, and there are 2: [9] ('disk', 'sda', 'size', '4000')",
        ),
        (
            "'yes'",
            "'no'",
            "$eth has no value that suits rules 5 and 7: 'eno2' by rule 5 and 'eno1' by rule 7",
        ),
        (
            '10.0.0.0/16',
            '10.1.0.0/16',
            "'10.0.3.21' is just outside of 10.1.0.0/16: 10.0.0.0/15 has both",
        ),
        ("'range(100, 500)'", "'rnage(100, 500)'", 'unknown operator: did you mean range?'),
        ("'gt(1000)'),", "'gt(1000)')", "bad.specs:5:5: expected ',' between rules, found '('"),
        ("'gt(1000)'),", "'gt(1000'),", 'begins like a test, but is taken as a text'),
        (
            "'ge(64GiB)'",
            "'ge(64Gib)'",
            "bad.specs:5:33: 'ge(64Gib)': expected a number, found '64Gib'",
        ),
        (
            "'vendor', 'HPE'",
            "'vendor' 'HPE'",
            'bad.specs:2:5: expected 4 elements (category, name, property, value), found 3',
        ),
    ],
)
def test_each_message_alone_is_enough_to_mend_it(
    tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    """A pair that matches, broken in the ways in which people break it."""
    specs = tmp_path / 'bad.specs'
    hw = str(INVENTORIES / 'storage.json')
    command = [sys.executable, '-m', 'edeploylib.match', hw, 'bad.specs']
    specs.write_text(GOOD)
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    assert right in GOOD
    specs.write_text(GOOD.replace(right, wrong, 1))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert message in done.stdout + done.stderr


def test_an_explanation_costs_no_more_than_the_match() -> None:
    """A test that cannot be afforded counts as failed, and many rules are halved, not dropped."""
    facts = [('n', 'e', 'p', 'a' * 60 + 'b')]
    (reason,) = explain([('q', 'q', 'q', 'regexp((a+)+$)')], facts).reasons
    assert reason.kind == NO_FACT
    facts = [('n', f'e{n}', 'p', f'v{n}') for n in range(1000)]
    spec = [('n', f'$e{n}', 'p', f'$v{n}') for n in range(58)]
    spec += [('n', '$e0', 'p', '$w'), ('n', '$e5', 'p', '$w1')]
    (reason,) = explain(spec, facts).reasons
    assert reason.rules in ((1, 59), (6, 60))
