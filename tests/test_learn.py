"""What is learned from like machines, and a new user's way from inventories to a plan."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import racks
from conftest import ROOT
from edeploylib.accept import accept_all, accept_most, exactly
from edeploylib.inventory import Inventory
from edeploylib.learn import learn, refuse
from edeploylib.match import match
from edeploylib.spec import Spec
from test_desk import desk


def inventories(machines: Sequence[racks.Facts]) -> list[Inventory]:
    return [Inventory.of(facts) for facts in machines]


def rack_with_odd_ones() -> list[racks.Facts]:
    """40 machines; the 8th has an old BIOS, the 31st lacks a disk."""
    machines = racks.rack(40)
    machines[7] = racks.changed(machines[7], ('firmware', 'bios', 'version', 'I31'))
    machines[30] = racks.changed(
        racks.without(machines[30], 'disk', 'sdb'), ('disk', 'logical', 'count', '1')
    )
    return machines


def test_the_spec_accepts_the_like_machines_and_refuses_the_odd() -> None:
    its = inventories(rack_with_odd_ones())
    lesson = learn(its)
    assert lesson.odd == (7, 30)
    assert (lesson.refused, lesson.accepted) == ((), ())
    spec = Spec.parse(lesson.render(['its head']), 'learned.specs')
    assert spec.warnings == ()
    for index, inventory in enumerate(its):
        assert (match(spec, inventory) is None) == (index in lesson.odd)
    found = {(one.what, one.found, one.machines, one.usual_count) for one in lesson.oddities}
    assert ('firmware bios version', 'I31', (7,), 39) in found
    assert ('disk logical count', '1', (30,), 39) in found
    assert ('number of disks', '1', (30,), 39) in found


def test_each_trait_gets_the_rule_that_an_operator_would_write() -> None:
    rules = {rule.terms for rule in learn(inventories(racks.rack(40))).rules}
    assert ('system', 'product', 'name', 'ProLiant BL460c Gen8 (641016-B21)') in rules
    assert ('system', 'product', 'serial', '$serial') in rules
    assert ('disk', '$disk0', 'size', 'range(299, 301)') in rules
    assert ('disk', '$disk1', 'size', '1000') in rules
    assert ('memory', 'total', 'size', 'range(137438937088, 137438953472)') in rules
    assert ('network', '$eth1', 'businfo', 'pci@0000:04:00.1') in rules
    assert ('network', '$eth1', 'serial', '$mac1') in rules
    # By which of several cards a machine has booted may be another the next time.
    assert not any(rule[2] == 'ipv4' for rule in rules)
    texts = repr(rules)
    for volatile in ('bogomips', 'loops', 'kernel', 'scheduler', 'link', 'uuid', 'wwn', "'$ip"):
        assert volatile not in texts


def test_devices_are_aligned_by_what_they_are() -> None:
    """Whatever the system calls them, in whatever order."""
    machines = racks.rack(12)
    swapped = {'sda': 'sdb', 'sdb': 'sda', 'eth0': 'eth1', 'eth1': 'eth0'}
    for number in range(0, 12, 2):
        machines[number] = [
            (category, swapped.get(name, name), prop, value)
            for category, name, prop, value in reversed(machines[number])
        ]
    lesson = learn(inventories(machines))
    assert (lesson.odd, lesson.refused) == ((), ())
    assert ('disk', '$disk1', 'size', '1000') in {rule.terms for rule in lesson.rules}


def test_as_many_may_be_odd_as_the_share_leaves() -> None:
    """More of them are no odd ones but another kind of machine."""
    machines = racks.rack(10)
    for number in range(4):
        machines[number] = racks.changed(machines[number], ('firmware', 'bios', 'version', 'I31'))
    lesson = learn(inventories(machines), 0.8)
    assert lesson.odd == ()
    assert ('firmware', 'bios', 'version', 'in(I31, I35)') in {rule.terms for rule in lesson.rules}
    assert learn(inventories(machines), 0.6).odd == (0, 1, 2, 3)


def test_all_stable_facts_are_learned_on_demand() -> None:
    its = inventories(racks.rack(10))
    some, every = learn(its), learn(its, everything=True)
    rules = {rule.terms for rule in every.rules}
    assert {rule.terms for rule in some.rules} < rules
    assert ('memory', 'bank:0:0', 'slot', 'PROC  1 DIMM  1') in rules
    assert 'kernel' not in repr(rules)
    assert every.refused == ()


def test_what_is_to_be_rejected_is_refused_by_another_rule() -> None:
    its = inventories(racks.rack(10))
    other = racks.changed(racks.rack(11)[10], ('memory', 'bank:0:0', 'slot', 'elsewhere'))
    lesson = learn(its)
    assert match(lesson.spec, other) is not None
    lesson, taken = refuse(lesson, its, inventories([other, racks.rack(12)[11]]))
    assert taken == (1,)
    assert match(lesson.spec, other) is None
    assert all(match(lesson.spec, inventory) for inventory in its)
    assert 'Refuses ProLiantBL460cGen8641016B21-CZ3400011' in lesson.render()


odd_texts = st.sampled_from(
    ['8', '9', '8.5', '', ' ', 'a,b', '"a"', "a'b", '\'a"b', '$d', 'gt(1)', 'Foo(x)', 'é\n', '1_0']
) | st.text(max_size=4).filter(lambda text: text.isprintable())


@given(st.lists(odd_texts, min_size=1, max_size=6))
def test_an_expression_holds_for_the_texts_that_it_was_made_of(texts: list[str]) -> None:
    for accepted in (accept_all(texts), exactly(sorted(set(texts)))):
        if accepted is not None:
            spec = [('a', 'b', 'c', accepted.term)]
            assert all(match(spec, [('a', 'b', 'c', text)]) for text in texts)
            assert not match(spec, [('a', 'b', 'c', 'something else')])
    assert exactly(sorted(set(texts))) is not None


@given(st.dictionaries(odd_texts, st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 3))
def test_most_is_as_much_as_was_asked(texts: dict[str, int], without: int) -> None:
    counts: dict[str | None, int] = {**texts, **({None: without} if without else {})}
    accepted = accept_most(counts, 0.8)
    if accepted is not None:
        assert sum(texts.get(text, 0) for text in accepted.texts) >= 0.8 * sum(counts.values())


facts = st.tuples(
    st.sampled_from(['disk', 'network', 'system', 'memory']),
    st.sampled_from(['sda', 'sdb', '1:2', 'eth0', 'product', 'logical', 'total']),
    st.sampled_from(['size', 'serial', 'name', 'count', 'driver', 'businfo', 'gt(1)']),
    odd_texts,
)


@settings(max_examples=150)
@given(st.lists(st.lists(facts, max_size=8), min_size=1, max_size=6), st.booleans())
def test_whatever_the_machines_the_spec_accepts_those_that_are_not_odd(
    machines: list[racks.Facts], everything: bool
) -> None:
    its = inventories(machines)
    lesson = learn(its, everything=everything)
    assert lesson.refused == ()
    assert sorted((*lesson.alike, *lesson.odd)) == list(range(len(its)))
    assert len(lesson.odd) <= 0.2 * len(its)
    assert {index for one in lesson.oddities for index in one.machines} == set(lesson.odd)
    read = Spec.parse(lesson.render(), 'learned.specs')
    assert (read.rules, read.warnings) == (lesson.spec.rules, ())
    assert all(match(read, its[index]) for index in lesson.alike)


def test_odd_machines_are_told_and_rejects_are_proved(tmp_path: Path) -> None:
    rack = racks.write(tmp_path / 'rack', rack_with_odd_ones())
    status, out, err = desk('learn', rack, '--name', 'blade')
    assert status == 0
    assert out.startswith('# blade: learned from 38 of 40 machines by edeployctl learn.\n')
    name = 'ProLiantBL460cGen8641016B21-CZ3400008-9c-b6-54-00-08-00'
    assert f"odd: 1 of 40 has firmware bios version 'I31', 39 have 'I35': {name}\n" in err
    assert err.endswith('the spec accepts 38 of 38 like machines, and refuses 2 of 2 odd ones\n')
    samples = ROOT / 'config' / 'inventories'
    status, _, err = desk('learn', rack, '--reject', samples)
    assert (status, '3 of 3 to be rejected' in err) == (0, True)
    status, _, err = desk('learn', rack, '--reject', rack / 'm001.json')
    assert (status, 'accepted, though it is to be rejected' in err) == (1, True)
    status, out, _ = desk('learn', rack, '--json')
    answer = json.loads(out)
    assert answer['odd'] == [str(rack / 'm008.json'), str(rack / 'm031.json')]
    assert Spec.parse(answer['spec']).rules


def test_a_broken_inventory_does_not_hide_the_rest(tmp_path: Path) -> None:
    rack = racks.write(tmp_path / 'rack', racks.rack(3))
    (rack / 'm002.json').write_text('[')
    status, out, err = desk('learn', rack)
    assert status == 2
    assert 'Learned from 2 of 2 machines' in out
    assert f'{rack}/m002.json:1:2: not JSON' in err
    assert desk('learn', tmp_path / 'none')[0] == 2
    (tmp_path / 'nothing').mkdir()
    assert 'expected inventories' in desk('learn', tmp_path / 'nothing')[2]
    assert desk('learn', rack, '--min-share', '0.1')[0] == 2


def test_the_real_blades_of_the_package_hardware_are_learned(tmp_path: Path) -> None:
    """19 of them, of which one has more drives: of what a spec can say, it is like the others."""
    hardware = pytest.importorskip('hardware')
    samples = sorted(Path(hardware.__file__).parent.glob('tests/cardiff_samples/*.hw_'))
    assert len(samples) == 19
    status, out, err = desk('learn', *samples)
    assert status == 1
    assert "number of drives '8', 18 have '2'" in err
    assert 'accepted, though it is odd' in err
    assert len(Spec.parse(out)) > 20


def test_a_new_user_gets_from_nothing_to_a_checked_configuration(tmp_path: Path) -> None:
    """The commands of the README, with what they are said to print."""
    rack = racks.write(tmp_path / 'rack', rack_with_odd_ones())
    readme = (ROOT / 'README.rst').read_text()
    done = subprocess.run(
        [sys.executable, '-m', 'edeploylib', 'learn', rack.name, '--name', 'blade'],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for line in done.stderr.splitlines():
        assert f'    {line}\n' in readme
    config = tmp_path / 'config'
    config.mkdir()
    (config / 'blade.specs').write_text(done.stdout)
    (config / 'state').write_text("[('blade', 38)]\n")
    (config / 'blade.cmdb').write_text(
        "generate({'hostname': 'blade01-38', 'ip': '10.0.0.11-48'})\n"
    )
    (config / 'blade.configure').write_text("run(['hostname', var['hostname']])\n")
    done = subprocess.run(
        [sys.executable, '-m', 'edeploylib', 'plan', rack.name, '--configdir', 'config'],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert last == '38 of 40 machines get a profile: blade 38; 2 refused'
    assert f'    {last}\n' in readme
