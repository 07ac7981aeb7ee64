"""What an operator decides, on both stores, and what the next uploads make of it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import test_store
from edeploylib.cmdb import Cmdb
from edeploylib.errors import (
    EdeployError,
    IdentityConflict,
    NotPossible,
    StoreError,
    UnclearEntry,
    UnknownMachine,
)
from edeploylib.identity import Key
from edeploylib.inventory import Inventory
from edeploylib.reassign import Wish, reassign
from edeploylib.release import Ruling, Seen, fail, forget_key, installed, release
from edeploylib.store import MemoryStore
from edeploylib.store.protocol import Transaction
from test_store import HOSTS, KEYED, SIZES, VM, World, edit, lab, machine, rename

make = test_store.make

BIG = VM.replace('gt(4)', 'gt(100)')


def rule(world: World, ruling_of: Callable[[Transaction], Ruling]) -> Ruling:
    with world.store.transaction('an operator') as transaction:
        ruling = ruling_of(transaction)
        transaction.rule(ruling)
        return ruling


def notes(ruling: Ruling) -> list[str]:
    return [note for step in ruling.steps for note in step.notes]


def entries(world: World, profile: str = 'vm') -> list[dict[str, object]]:
    return [dict(entry) for entry in Cmdb.parse(world.texts()[f'{profile}.cmdb']).entries]


def test_a_release_leaves_the_files_as_they_were(make) -> None:
    world = lab(make, state="[('vm', 2)]  # two", vm_cmdb=f'{HOSTS}  # hosts')
    before = dict(world.texts())
    world.upload(machine(1))
    ruling = rule(world, lambda desk: release([1], desk))
    assert world.texts() == before
    assert notes(ruling) == ["a unit of 'vm' given back", 'vm: entry 0 freed']
    assert rule(world, lambda desk: release([1], desk)).steps == ()
    assert world.texts() == before
    assert world.upload(machine(2)).variables['host'] == 'h1'
    assert world.upload(machine(1)).variables['host'] == 'h2'
    assert world.texts()['state'] == "[('vm', 0)]  # two"


def test_a_release_keeps_what_was_edited_since(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    edit(world, 'vm.cmdb', "'host': 'h1'", "'host': 'h1', 'ip': '10.0.0.7'")
    rule(world, lambda desk: release([1], desk))
    assert entries(world) == [{'host': 'h1', 'ip': '10.0.0.7'}, {'host': 'h2'}]


def test_a_failed_machine_has_no_unit_to_give_back(make) -> None:
    world = lab(make)
    before = dict(world.texts())
    world.upload(machine(1))
    world.report(machine(1), 'vm')
    rule(world, lambda desk: release([1], desk))
    assert world.texts() == before


def test_many_are_released_at_once(make) -> None:
    """Of several profiles, of one that was renamed, and one whose entry has gone."""
    world = lab(
        make,
        state="[('big', 9), ('vm', 9)]",
        big_specs=BIG,
        big_configure='pass',
        big_cmdb="[{'host': 'b1'}, {'host': 'b2'}]",
        vm_cmdb="[{'host': 'h1'}, {'host': 'h2'}, {'host': 'h3'}]",
    )
    for number, size in ((1, '10'), (2, '200'), (3, '10'), (4, '200')):
        world.upload(machine(number, size=size))
    first, _, last = entries(world)
    world.write('vm.cmdb', repr([first, {'host': 'x'}, last]))
    for name in ('big.specs', 'big.configure', 'big.cmdb'):
        rename(world, name, name.replace('big', 'huge'))
    edit(world, 'state', "'big'", "'huge'")
    ruling = rule(world, lambda desk: release([1, 2, 3, 4, 1], desk))
    assert [step.machine.id for step in ruling.steps] == [1, 2, 3, 4]
    assert entries(world) == [{'host': 'h1'}, {'host': 'x'}, {'host': 'h3'}]
    assert entries(world, 'huge') == [{'host': 'b1'}, {'host': 'b2'}]
    assert world.texts()['state'] == "[('huge', 7), ('vm', 9)]"
    assert notes(ruling) == [
        "a unit of 'vm' given back",
        'vm: entry 0 freed',
        "the state has no profile 'big' to give the unit back to",
        'huge: entry 0 freed',
        "a unit of 'vm' given back",
        'vm: its entry is no longer there',
        "the state has no profile 'big' to give the unit back to",
        'huge: entry 1 freed',
    ]


def test_all_of_many_or_none(make) -> None:
    """One that is not known, or no longer as it was when the operator looked, stops it."""
    world = lab(make)
    world.upload(machine(1))
    world.upload(machine(2))
    before = dict(world.texts())
    with pytest.raises(UnknownMachine, match='there is no machine 7'):
        rule(world, lambda desk: release([1, 7], desk))
    with pytest.raises(NotPossible, match=r"machine 2 .* was failed as 'vm', and is installing"):
        rule(world, lambda desk: release([1, 2], desk, seen={2: Seen(('vm', 'failed'))}))
    with pytest.raises(NotPossible, match="was released, and is installing as 'vm' by now"):
        rule(world, lambda desk: release([1], desk, seen={1: Seen(None)}))
    assert world.texts() == before
    rule(world, lambda desk: release([1, 2], desk, seen={2: Seen(('vm', 'installing'))}))
    assert world.texts()['vm.cmdb'] == HOSTS


def test_a_forgotten_machine_is_new_when_it_comes_again(make) -> None:
    world = lab(make)
    before = dict(world.texts())
    for number in (1, 2, 3):
        assert world.upload(machine(1)).identity.machine is None
        rule(world, lambda desk, id=number: release([id], desk, forget=True))
        assert world.texts() == before
        with world.store.transaction() as desk:
            assert desk.machine(number) is None
    with pytest.raises(UnknownMachine):
        rule(world, lambda desk: release([1], desk, forget=True))


def unclear(make, edited: str) -> World:
    """Two machines, of which edits have left unclear who holds the entries."""
    world = lab(make, state="[('vm', 9)]", vm_specs=SIZES, vm_cmdb=VLANS)
    world.upload(machine(1))
    world.upload(machine(2))
    world.write('vm.cmdb', edited)
    for number in (1, 2):
        with pytest.raises(UnclearEntry, match='edited so that it is unclear') as refused:
            world.upload(machine(number))
        assert f'edeployctl reassign {number} vm --entry 1' in refused.value.hint
        assert f'edeployctl release {number}' in refused.value.hint
    return world


VLANS = "[{'host': 'a', 'vlan': 1}, {'host': 'b', 'vlan': 1}, {'host': 'c', 'vlan': 1}]"
USED = "'disk': 'vda', 'size': '10', 'used': 1"
EDITED = f"[{{'host': 'c', 'vlan': 1}}, {{'host': 'e', {USED}}}, {{'host': 'f', {USED}}}]"


def test_a_release_decides_whose_entry_it_is_not(make) -> None:
    """What is unclear is left as it is."""
    world = unclear(make, EDITED)
    before = entries(world)
    (left, note) = notes(rule(world, lambda desk: release([1, 2], desk)))[:2]
    assert (left, note) == (
        "a unit of 'vm' given back",
        'vm: it was unclear which of the entries [1, 2] it held: they are left as they are, '
        "delete 'used' where nobody does",
    )
    assert entries(world) == before
    # Entries that have all that the machine is are taken to be its own.
    assert world.upload(machine(1)).variables['host'] == 'e'
    assert world.upload(machine(2)).variables['host'] == 'f'


def test_a_reassignment_decides_whose_entry_it_is(make) -> None:
    world = unclear(make, EDITED)
    with pytest.raises(UnclearEntry, match='unclear which of the entries'):
        rule(world, lambda desk: reassign(1, 'vm', machine(1), desk))
    wishes = ((1, 2), (2, 1))
    for number, index in wishes:
        rule(
            world,
            lambda desk, number=number, index=index: reassign(
                number, 'vm', machine(number), desk, wish=Wish(index)
            ),
        )
    assert world.texts()['state'] == "[('vm', 7)]"
    assert [world.upload(machine(n)).variables['host'] for n in (1, 2)] == ['f', 'e']
    rule(world, lambda desk: release([1, 2], desk))
    assert entries(world) == [{'host': 'c', 'vlan': 1}, {'host': 'e'}, {'host': 'f'}]


def test_a_failure_is_noted_as_the_machine_reports_it(make) -> None:
    """The unit is given back once, and the entry kept."""
    world = lab(make)
    world.upload(machine(1))
    assert notes(rule(world, lambda desk: fail([1], desk))) == [
        "the failure of 'vm' is noted, its quota given back"
    ]
    texts = dict(world.texts())
    assert rule(world, lambda desk: fail([1], desk)).steps == ()
    assert world.texts() == texts
    assert world.report(machine(1), 'vm').note == "ignored: the failure of 'vm' is known already"
    assert world.upload(machine(2)).variables['host'] == 'h2'
    assert world.upload(machine(1)).variables['host'] == 'h1'
    assert world.texts()['state'] == "[('vm', 0)]"


def test_an_installed_machine_keeps_its_unit(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    texts = dict(world.texts())
    assert [step.what for step in rule(world, lambda desk: installed([1], desk)).steps] == [
        'installed'
    ]
    assert rule(world, lambda desk: installed([1], desk)).steps == ()
    assert world.texts() == texts
    world.upload(machine(1))
    assert world.texts() == texts
    rule(world, lambda desk: installed([1], desk))
    rule(world, lambda desk: release([1], desk))
    assert world.texts()['state'] == "[('vm', 2)]"


def test_a_failed_machine_that_is_installed_takes_a_unit_again(make) -> None:
    world = lab(make, state="[('vm', 1)]")
    world.upload(machine(1))
    rule(world, lambda desk: fail([1], desk))
    rule(world, lambda desk: installed([1], desk))
    assert world.texts()['state'] == "[('vm', 0)]"
    rule(world, lambda desk: fail([1], desk))
    world.upload(machine(2))
    with pytest.raises(NotPossible, match="the quota of 'vm' is spent"):
        rule(world, lambda desk: installed([1], desk))


@pytest.mark.parametrize('decide', [fail, installed])
def test_who_holds_nothing_can_neither_fail_nor_be_installed(make, decide) -> None:
    world = lab(make)
    world.upload(machine(1))
    rule(world, lambda desk: release([1], desk))
    with pytest.raises(NotPossible, match=r'machine 1 \(SERIAL1.* holds no profile'):
        rule(world, lambda desk: decide([1], desk))


def test_a_card_that_was_forgotten_may_be_anybodys(make) -> None:
    """The way out of the conflict of a known card in another machine."""
    world = lab(make)
    world.upload(machine(1))
    other = Inventory.of([*machine(2).facts[:2], ('network', 'e', 'serial', '02:00:00:00:00:01')])
    with pytest.raises(IdentityConflict) as refused:
        world.upload(other)
    assert 'edeployctl forget-key 02:00:00:00:00:01' in refused.value.report()
    key = Key('mac', '02:00:00:00:00:01')
    ruling = rule(world, lambda desk: forget_key([key, key], desk))
    assert notes(ruling) == ["no longer known by mac '02:00:00:00:00:01'"]
    assert world.upload(other).variables['host'] == 'h2'
    again = world.upload(machine(1))
    assert again.variables['host'] == 'h1'
    assert [str(former.id) for _, former in again.identity.moved] == ['2']


def test_a_machine_without_keys_is_pointed_at(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    keys = [Key('mac', '02:00:00:00:00:01'), Key('serial', '/SERIAL1')]
    assert notes(rule(world, lambda desk: forget_key(keys, desk)))[-1] == (
        'it has no key left: edeployctl release --forget 1 ends it'
    )
    assert world.upload(machine(1)).variables['host'] == 'h2'
    rule(world, lambda desk: release([1], desk, forget=True))
    assert world.upload(machine(2)).variables['host'] == 'h1'


def test_another_entry_of_the_same_profile(make) -> None:
    """The former one is freed, and the wish is the answer from then on."""
    world = lab(make)
    world.upload(machine(1))
    ruling = rule(
        world,
        lambda desk: reassign(1, 'vm', machine(1), desk, wish=Wish(key='host', value='h2')),
    )
    assert ruling.steps[0].variables['host'] == 'h2'
    assert notes(ruling) == ['vm: entry 1 given']
    texts = dict(world.texts())
    assert entries(world)[0] == {'host': 'h1'}
    assert world.upload(machine(1)).variables['host'] == 'h2'
    assert world.texts() == texts
    assert texts['state'] == "[('vm', 1)]"
    assert world.upload(machine(2)).variables['host'] == 'h1'


TWO = {
    'state': "[('hp', 1), ('vm', 2)]",
    'hp_specs': VM,
    'hp_configure': 'pass',
    'hp_cmdb': "[{'host': 'hp1'}]",
}


def test_a_reassignment_that_would_not_last_is_refused(make) -> None:
    """With what would let it: then it lasts."""
    world = lab(make, **TWO)
    assert world.upload(machine(1)).profile == 'hp'
    before = dict(world.texts())
    with pytest.raises(NotPossible, match="'hp' stands before it in the state, has 1 left") as no:
        rule(world, lambda desk: reassign(1, 'vm', machine(1), desk))
    assert '--retire-unit' in no.value.hint
    assert world.texts() == before
    rule(world, lambda desk: reassign(1, 'vm', machine(1), desk, retire=True))
    texts = dict(world.texts())
    assert texts['state'] == "[('hp', 0), ('vm', 1)]"
    assert texts['hp.cmdb'] == TWO['hp_cmdb']
    again = world.upload(machine(1))
    assert (again.profile, again.variables['host']) == ('vm', 'h1')
    assert world.texts() == texts


def test_a_profile_before_the_one_that_a_machine_holds(make) -> None:
    world = lab(make, **{**TWO, 'state': "[('hp', 0), ('vm', 2)]"})
    assert world.upload(machine(1)).profile == 'vm'
    with pytest.raises(NotPossible, match="the quota of 'hp' is spent"):
        rule(world, lambda desk: reassign(1, 'hp', machine(1), desk))
    edit(world, 'state', "('hp', 0)", "('hp', 1)")
    rule(world, lambda desk: reassign(1, 'hp', machine(1), desk))
    texts = dict(world.texts())
    assert texts['state'] == "[('hp', 0), ('vm', 2)]"
    assert texts['vm.cmdb'] == HOSTS
    assert world.upload(machine(1)).variables['host'] == 'hp1'
    assert world.texts() == texts


@pytest.mark.parametrize(
    ('profile', 'wish', 'message'),
    [
        ('xx', None, "the state has no profile 'xx', it lists hp, vm, keyed, bare, other"),
        ('other', None, r"machine 1 .* cannot be 'other': its spec does not match"),
        ('vm', Wish(2), 'there is no entry 2: expected one of 2, counted from 0'),
        ('vm', Wish(key='host', value='h9'), "no entry has host='h9': expected one of 2"),
        ('keyed', Wish(key='vlan', value='1'), "2 entries have vlan='1'"),
        ('keyed', Wish(1), "entry 1 of 'keyed' is not for machine 1 .*: it has not disk='vda'"),
        ('keyed', Wish(2), 'entry 2 is used, by no machine that is known'),
        ('vm', Wish(0), 'entry 0 is held by machine 2'),
        ('bare', Wish(0), "profile 'bare' has no CMDB, and so no entry 0"),
        ('keyed', None, "'hp' stands before it in the state"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(make, profile, wish, message) -> None:
    world = lab(
        make,
        **{**TWO, 'state': "[('hp', 2), ('vm', 9), ('keyed', 1), ('bare', 1), ('other', 1)]"},
        keyed_specs=KEYED,
        keyed_configure='pass',
        keyed_cmdb="[{'disk': 'vda', 'vlan': 1}, {'disk': 'sda', 'vlan': 1}, {'disk': 'vda', 'used': 1}]",
        bare_specs=VM,
        bare_configure='pass',
        other_specs=BIG,
        other_configure='pass',
    )
    world.upload(machine(1))
    assert world.upload(machine(2)).variables['host'] == 'h1'
    before = dict(world.texts())
    with pytest.raises(NotPossible, match=message):
        rule(world, lambda desk: reassign(1, profile, machine(1), desk, wish=wish))
    assert world.texts() == before


def test_the_inventory_of_another_machine_decides_nothing(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    world.upload(machine(2))
    for stranger in (machine(2), machine(3)):
        with pytest.raises(NotPossible, match=r'is not that of machine 1 \(SERIAL1'):
            rule(world, lambda desk, it=stranger: reassign(1, 'vm', it, desk))
    rule(world, lambda desk: forget_key([Key('mac', '02:00:00:00:00:01')], desk))
    rule(world, lambda desk: reassign(1, 'vm', machine(1), desk))


def test_a_transaction_that_is_over_takes_no_ruling(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    with world.store.transaction() as desk:
        ruling = release([1], desk)
    before = dict(world.texts())
    with pytest.raises(StoreError, match='the transaction is over'):
        desk.rule(ruling)
    assert {name: text for name, text in world.texts().items() if name[0] != '.'} == before


SPECS = (VM, KEYED, BIG, '[]')
CMDBS = (
    None,
    "[{'host': 'a'}, {'host': 'b'}]",
    "generate({'host': 'g1-3'})",
    "[{'disk': 'vda', 'host': 'k'}, {'disk': 'vda', 'host': 'l', 'used': 1}, {'disk': 'vdb'}]",
    "[{'vlan': 1}, {'vlan': 1}]",
)
profiles = st.tuples(
    st.sampled_from([0, 1, 2, '*']), st.sampled_from(SPECS), st.sampled_from(CMDBS)
)
wishes = st.none() | st.builds(Wish, st.integers(0, 2), st.just(''), st.just(''))


@given(
    st.lists(profiles, min_size=1, max_size=3),
    st.lists(st.integers(1, 3), max_size=4),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), wishes, st.booleans()), min_size=1),
)
def test_what_is_reassigned_is_answered_from_then_on(profiles, before, asked) -> None:
    """Or it is refused, and nothing has changed."""
    files = {'state': repr([(f'p{n}', quota) for n, (quota, _, _) in enumerate(profiles)])}
    for number, (_, spec, cmdb) in enumerate(profiles):
        files |= {f'p{number}.specs': spec, f'p{number}.configure': 'pass'}
        files |= {f'p{number}.cmdb': cmdb} if cmdb else {}
    store = MemoryStore(files)
    world = World(store, lambda: store.files)
    for number in before:
        world.upload(machine(number))
    for pick, to, wish, retire in asked if store.names else ():
        id, to = 1 + pick % len(store.names), to % len(profiles)
        hardware = machine(int(store.names[id][len('SERIAL')]))
        texts, held = dict(store.files), dict(store.held)
        try:
            with store.transaction() as desk:
                ruling = reassign(id, f'p{to}', hardware, desk, wish=wish, retire=retire)
                desk.rule(ruling)
        except EdeployError:
            assert (store.files, store.held) == (texts, held)
            continue
        texts = dict(store.files)
        again = world.upload(hardware)
        assert again.profile == f'p{to}'
        if ruling.steps:
            assert again.variables == ruling.steps[0].variables
        assert store.files == texts


@given(st.lists(profiles, min_size=1, max_size=3), st.lists(st.integers(1, 4), max_size=6))
def test_when_all_are_released_all_is_as_it_was(profiles, uploads) -> None:
    """But for synthetic files, which are written out."""
    files = {'state': repr([(f'p{n}', quota) for n, (quota, _, _) in enumerate(profiles)])}
    for number, (_, spec, cmdb) in enumerate(profiles):
        files |= {f'p{number}.specs': spec, f'p{number}.configure': 'pass'}
        files |= {f'p{number}.cmdb': cmdb} if cmdb else {}
    store = MemoryStore(files)
    world = World(store, lambda: store.files)
    for number in uploads:
        world.upload(machine(number))
    rule(world, lambda desk: release(sorted(store.names), desk))
    assert store.held == {}
    for name, text in files.items():
        if name.endswith('.cmdb'):
            assert Cmdb.parse(store.files[name]).entries == Cmdb.parse(text).entries
        else:
            assert store.files[name] == text


def test_a_machine_that_was_heard_of_meanwhile_is_not_released(make) -> None:
    """It may be installing as what it was told at that moment."""
    world = lab(make)
    world.upload(machine(1))
    with world.store.transaction() as desk:
        seen = {1: Seen(('vm', 'installing'), desk.last_note(1))}
    world.upload(machine(1))
    with pytest.raises(NotPossible, match='has been heard of meanwhile'):
        rule(world, lambda desk: release([1], desk, seen=seen))


def test_an_entry_in_doubt_goes_to_one_of_those_it_may_be_of(make) -> None:
    """By the operator's word, and to nobody else by that either."""
    three = "[{'host': 'h1', 'ip': 'i1'}, {'host': 'h2', 'ip': 'i2'}, {'host': 'h3', 'ip': 'i3'}]"
    world = lab(make, state="[('vm', 9)]", vm_cmdb=three)
    for number in (1, 2, 3):
        world.upload(machine(number))
    swapped = [
        {'host': 'h1', 'ip': 'i2', 'used': 1},
        {'host': 'h2', 'ip': 'i1', 'used': 1},
        entries(world)[2],
    ]
    world.write('vm.cmdb', repr(swapped))
    with pytest.raises(UnclearEntry):
        world.upload(machine(1))
    with pytest.raises(NotPossible, match='unclear whether machine 1 or 2 holds entry 0'):
        rule(world, lambda desk: reassign(3, 'vm', machine(3), desk, wish=Wish(0)))
    rule(world, lambda desk: reassign(1, 'vm', machine(1), desk, wish=Wish(0)))
    assert world.upload(machine(1)).variables['host'] == 'h1'
    assert world.upload(machine(2)).variables['host'] == 'h2'


def test_what_is_installed_stays_so_where_nothing_is_reassigned(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    rule(world, lambda desk: installed([1], desk))
    assert rule(world, lambda desk: reassign(1, 'vm', machine(1), desk)).steps == ()
