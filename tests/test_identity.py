import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edeploylib.errors import IdentityConflict
from edeploylib.identity import Identity, Key, Machine, identify, keys_of
from edeploylib.inventory import Inventory

U1, U2 = Key('uuid', 'u1'), Key('uuid', 'u2')
S1, S2 = Key('serial', 'HP/s1'), Key('serial', 'HP/s2')
M1, M2, M3 = Key('mac', 'm1'), Key('mac', 'm2'), Key('mac', 'm3')
D1 = Key('digest', 'd1')

ONE = Machine(1, 'one', frozenset({U1, S1, M1}))
TWO = Machine(2, 'two', frozenset({U2, S2, M2}))
CARD = Machine(3, 'card', frozenset({M3}))
PLAIN = Machine(4, 'plain', frozenset({D1}))


@pytest.mark.parametrize(
    ('keys', 'known', 'identity'),
    [
        # 1. known strong keys that all name one machine
        ((U1, S1, M1), [ONE], Identity(ONE)),
        ((U1, S1, M3), [ONE], Identity(ONE, (M3,))),
        ((U1, M2), [ONE, TWO], Identity(ONE, (), ((M2, TWO),))),
        ((S1, U2), [ONE], Identity(ONE, (U2,))),
        ((D1,), [PLAIN], Identity(PLAIN)),
        # 2. no strong key known, but MACs of one machine without another value for it
        ((M1,), [ONE], Identity(ONE)),
        ((S2, M3), [CARD], Identity(CARD, (S2,))),
        # 3. nothing known
        ((U1, M1), [], Identity(None, (U1, M1))),
    ],
)
def test_known_and_new_machines(keys, known, identity) -> None:
    assert identify(keys, known) == identity


@pytest.mark.parametrize(
    ('keys', 'known', 'message'),
    [
        (
            (U1, S2),
            [ONE, TWO],
            "these keys are of 2 machines: uuid 'u1' is of machine 1 (one); "
            "serial 'HP/s2' is of machine 2 (two)",
        ),
        (
            (S2, M1),
            [ONE],
            "this is another machine with a known address: mac 'm1' is of machine 1 (one), "
            "but serial 'HP/s2' is not",
        ),
        ((M1, M2), [ONE, TWO], 'these keys are of 2 machines: '),
        ((M3, M1), [CARD, ONE], 'these keys are of 2 machines: '),
    ],
)
def test_a_conflict_is_refused_with_machines_and_keys(keys, known, message: str) -> None:
    """Never merged, never guessed."""
    with pytest.raises(IdentityConflict) as refused:
        identify(keys, known)
    assert str(refused.value).startswith(message)
    assert 'edeployctl forget-key ' in refused.value.report()
    assert ('IGNOREMACS' in refused.value.report()) == (U1 not in keys)


def commands(conflict: IdentityConflict) -> list[tuple[str, list[str]]]:
    """What is offered: in which case, and the words of the command."""
    lines = [line.strip() for line in conflict.hint.split('\n')[1:]]
    offered = [line.partition(': edeployctl ') for line in lines if 'IGNOREMACS' not in line]
    return [(case, shlex.split(command)) for case, _, command in offered]


def obeyed(command: list[str], known: list[Machine]) -> list[Machine]:
    if command[:2] == ['release', '--forget']:
        return [machine for machine in known if str(machine.id) not in command[2:]]
    assert command[0] == 'forget-key'
    return [
        machine._replace(
            keys=frozenset(key for key in machine.keys if key.value not in command[1:])
        )
        for machine in known
    ]


def check_ways_out(keys: list[Key], known: list[Machine], conflict: IdentityConflict) -> None:
    ways = commands(conflict)
    assert len(ways) >= 2
    for case, command in ways:
        after = obeyed(command, known)
        found = identify(keys, [machine for machine in after if machine.keys & set(keys)])
        expected = None if 'new' in case else int(case.split()[3])
        assert (found.machine.id if found.machine else None) == expected, case


def test_a_hostile_serial_cannot_leave_its_quotes() -> None:
    evil = Key('serial', "HP/x'; reboot\n  it is safe: reboot; $(reboot)")
    with pytest.raises(IdentityConflict) as refused:
        identify((S2, M1), [Machine(1, 'one', frozenset({evil, M1}))])
    (_, command), *_ = commands(refused.value)
    assert command == ['forget-key', evil.value.replace('\n', '\ufffd')]
    dash = Key('serial', '-x/1')
    with pytest.raises(IdentityConflict) as refused:
        identify((S2, M1), [Machine(1, 'one', frozenset({dash, M1}))])
    assert commands(refused.value)[0][1] == ['forget-key', '--', '-x/1']


def facts(uuid: str = '', serial: str = '', *macs: str) -> Inventory:
    return Inventory.of(
        [
            ('system', 'product', 'vendor', 'HP'),
            ('system', 'product', 'uuid', uuid),
            ('system', 'product', 'serial', serial),
            *(('network', f'eth{n}', 'serial', mac) for n, mac in enumerate(macs)),
        ]
    )


def test_keys_are_those_of_an_inventory() -> None:
    assert keys_of(facts('3F0C-1', ' CZ1 ', '02:00:00:00:00:AB')) == (
        Key('uuid', '3f0c-1'),
        Key('serial', 'HP/CZ1'),
        Key('mac', '02:00:00:00:00:ab'),
    )


@pytest.mark.parametrize(
    'junk',
    ['', '0', 'None', 'To be filled by O.E.M.', 'Not Specified', '123456789', '   ', '-', '0000']
    + ['00000000-0000-0000-0000-000000000000', 'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'],
)
def test_junk_is_no_key(junk: str) -> None:
    """Nor are addresses of zeros, nor those that the settings ignore."""
    macs = ('00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff', '00:e0:4c:68:00:01')
    (key,) = keys_of(facts(junk, junk, *macs), ['00:e0:4c:68:00:01'])
    assert key.kind == 'digest'


def test_a_digest_does_not_depend_on_the_order() -> None:
    rows = [('a', 'b', 'c', 1), ('d', 'e', 'f', '2')]
    assert keys_of(Inventory.of(rows)) == keys_of(Inventory.of(rows[::-1]))


keys = st.sampled_from([U1, U2, S1, S2, M1, M2, M3, D1])


@given(st.lists(keys, unique=True, min_size=1), st.lists(st.sets(keys), max_size=4))
def test_a_machine_is_found_among_those_that_share_a_key_or_refused(given_, sets) -> None:
    """And each of the commands that a refusal offers decides as it says."""
    owned: set[Key] = set()
    known = []
    for number, ours in enumerate(sets, 1):
        known.append(Machine(number, f'm{number}', frozenset(ours - owned)))
        owned |= ours
    sharing = [machine for machine in known if machine.keys & set(given_)]
    try:
        found = identify(given_, known)
    except IdentityConflict as conflict:
        assert sharing
        check_ways_out(given_, known, conflict)
        return
    assert (found.machine is None) == (not sharing)
    mine = found.machine.keys if found.machine else frozenset()
    assert mine | set(found.learned) | {key for key, _ in found.moved} >= set(given_)
    assert all(key.kind == 'mac' for key, _ in found.moved)


def test_a_machine_has_so_many_addresses() -> None:
    """An upload of a hundred thousand would hold the lock for seconds, now and ever after."""
    facts = [
        ('network', f'e{n}', 'serial', f'02:00:00:00:{n >> 8:02x}:{n & 255:02x}')
        for n in range(1000)
    ]
    assert len(keys_of(Inventory.of(facts))) == 256
