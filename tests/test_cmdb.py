import ast
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edeploylib.claims import Claim
from edeploylib.cmdb import Cmdb, NoEntry
from edeploylib.errors import CmdbError
from edeploylib.plain import plain_dicts


@pytest.mark.parametrize(
    ('text', 'entries'),
    [
        ('[]', []),
        ("[{'ip': '10.0.0.1', 'n': -1, 'm': [1, (2.5, None)], 'd': {'a': True}}]",
         [{'ip': '10.0.0.1', 'n': -1, 'm': [1, (2.5, None)], 'd': {'a': True}}]),
        ("generate({'ip': '10.0.0.1-2'})", [{'ip': '10.0.0.1'}, {'ip': '10.0.0.2'}]),
        ("generate({'a': ('x', 'y')}) + [{'a': 'z'}]", [{'a': 'x'}, {'a': 'y'}, {'a': 'z'}]),
        ("[{'a': 1}] + ([{'a': 2}] + generate({'a': 3}))\n+ [{'a': 4}]".replace('\n', ' '),
         [{'a': 1}, {'a': 2}, {'a': 3}, {'a': 4}]),
        ("# a comment\n\n  [{'a': 1}]", [{'a': 1}]),
    ],
)  # fmt: skip
def test_every_form_is_read(text: str, entries: list[object]) -> None:
    assert list(Cmdb.parse(text).entries) == entries


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'hp.cmdb: the file is empty'),
        ('7', 'hp.cmdb:1:1: expected a list of entries, found a number'),
        ("{'a': 1}", 'hp.cmdb:1:1: expected a list of entries, found a dict'),
        ("[{'a': 1}, 7]", 'hp.cmdb:1:12: expected an entry, a dict'),
        ("[{'a': 1}, x]", "hp.cmdb:1:12: expected a literal, found the name 'x'"),
        ("[{'a': 1}] + 7", 'hp.cmdb:1:14: expected a list of entries, found a number'),
        ("[{'a': 1}] * 3", 'hp.cmdb:1:1: expected a list of entries, found an operation'),
        ('[{1: 2}]', 'hp.cmdb:1:3: expected a text as key, found a number'),
        ("[{'a': open('x')}]", "hp.cmdb:1:8: expected a literal, found a call of 'open'"),
        ('exec({})', "hp.cmdb:1:1: expected a list of entries, found a call of 'exec'"),
        ('generate()', 'hp.cmdb:1:1: expected generate({...}) with one dict'),
        ('generate({}, x=1)', 'hp.cmdb:1:1: expected generate({...}) with one dict'),
        ('generate([1])', 'hp.cmdb:1:10: expected a dict as the argument of generate()'),
        ("generate({'a': '1-9999999'})",
         "hp.cmdb:1:10: 'a': '1-9999999' gives 9999999 entries, expected at most 1000000"),
        ("[{'a': 1e999}]", 'hp.cmdb:1:8: the number is too large'),
        ("[{'a': b'x'}]",
         'hp.cmdb:1:8: expected a text, a number, True, False or None, found bytes'),
        ("[{'a': 1}, {**b}]", "hp.cmdb:1:15: expected a text as key, found the name 'b'"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(CmdbError) as refused:
        Cmdb.parse(text, 'hp.cmdb')
    assert str(refused.value) == message


def test_a_long_sum_is_read_or_refused_but_never_crashes() -> None:
    try:
        assert len(Cmdb.parse('[]' + " + [{'a': 1}]" * 5000)) == 5000
    except CmdbError as error:
        assert str(error) == '<cmdb>:1:1: nested too deep'


LAB = """\
# The lab, bottom to top.
[ {'ip': '10.0.0.1',  'hostname': 'é1'},   # door side
  {'ip': '10.0.0.2',  'hostname': 'é2'},\r
  {'ip': '10.0.0.3',  'hostname': 'é3'} ]  # window side
"""


def test_giving_an_entry_changes_that_entry_alone() -> None:
    """Comments, layout and order of the rest survive, line ends included."""
    given_ = Cmdb.parse(LAB).give(1, {'mac': '52:54:00:88:17:3c'})
    assert given_.render() == LAB.replace(
        "{'ip': '10.0.0.2',  'hostname': 'é2'}",
        "{'ip': '10.0.0.2', 'hostname': 'é2', 'mac': '52:54:00:88:17:3c', 'used': 1}",
    )
    assert given_.entries[1] == {
        'ip': '10.0.0.2',
        'hostname': 'é2',
        'mac': '52:54:00:88:17:3c',
        'used': 1,
    }


def test_a_long_entry_is_written_with_a_line_for_each_key() -> None:
    cmdb = Cmdb.parse("[\n  {'ip': '10.0.0.1'},\n]").give(0, {'a': 'x' * 60, 'b': 2})
    assert cmdb.render() == (
        f"[\n  {{'ip': '10.0.0.1',\n   'a': '{'x' * 60}',\n   'b': 2,\n   'used': 1}},\n]"
    )


def test_several_entries_change_together() -> None:
    cmdb = Cmdb.parse(LAB).give(2, {'x': 1}).give(0, {'y': 2})
    assert Cmdb.parse(cmdb.render()).entries == cmdb.entries


def test_a_synthetic_file_is_written_in_its_regular_form() -> None:
    cmdb = Cmdb.parse("generate({'ip': '192.168.122.3-4'})").give(0, {'eth': 'eth0'})
    assert cmdb.is_synthetic
    assert cmdb.render() == (
        "[\n {'ip': '192.168.122.3', 'eth': 'eth0', 'used': 1},\n {'ip': '192.168.122.4'}\n]\n"
    )


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
entries = st.lists(
    st.dictionaries(
        st.text(max_size=5), scalars | st.lists(scalars) | st.tuples(scalars), max_size=4
    ),
    max_size=5,
)


@given(entries, st.data())
def test_a_rendered_cmdb_parses_back(listed, data) -> None:
    cmdb = Cmdb.of(listed)
    if listed:
        cmdb = cmdb.give(data.draw(st.integers(0, len(listed) - 1)), {'k': 'v'})
    assert Cmdb.parse(cmdb.render()).entries == cmdb.entries


FREE = {'ip': '10.0.0.1'}
MINE = Claim.of(
    7, {'ip': '10.0.0.2'}, {'ip': '10.0.0.2', 'mac': 'm', 'used': 1}, own=['ip', 'mac']
)
THEIRS = Claim.of(
    8, {'ip': '10.0.0.3'}, {'ip': '10.0.0.3', 'mac': 'n', 'used': 1}, own=['ip', 'mac']
)


@pytest.mark.parametrize(
    ('entries', 'variables', 'keys', 'expected'),
    [
        # 1. that M already holds
        ([FREE, THEIRS.after, MINE.after], {'mac': 'm'}, {}, 2),
        ([FREE, THEIRS.after, MINE.after], {'mac': 'other'}, {}, 2),
        # ... though the operator has freed or edited it
        ([FREE, MINE.before], {'mac': 'm'}, {}, 1),
        ([FREE, {**MINE.after, 'note': 'x'}], {'mac': 'm'}, {}, 1),
        # 2. includes all the variables
        ([FREE, {'ip': 'a', 'mac': 'm'}], {'mac': 'm'}, {}, 1),
        ([FREE, {'ip': 'a', 'mac': 'm', 'used': 1}], {'mac': 'm'}, {}, 1),
        ([{'n': 2, 'used': 1}, FREE], {'n': '2'}, {}, 0),
        ([FREE, {'ip': 'a', 'used': 1}], {}, {}, 0),
        # 3. has no used
        ([{'a': 1, 'used': 1}, {'a': 2, 'used': 0}, {'a': 3}], {'mac': 'm'}, {}, 1),
        ([THEIRS.before, FREE], {'mac': 'm'}, {}, 1),
        # 4. with keys only: used, but by no machine that the ledger knows
        ([{'tag': 'T', 'used': 1}], {'tag': 'T', 'mac': 'm'}, {'tag': 'T'}, 0),
        ([{'rack': 1, 'used': 1}, {'rack': 1}], {'rack': '1'}, {'rack': '1'}, 0),
        ([{'rack': 1, 'ip': 'a'}, {'rack': 2}, {'rack': 1}], {'rack': '1', 'mac': 'm'}, {'rack': '1'}, 0),
        # none
        ([FREE], {'tag': 'TAG9'}, {'tag': 'TAG9'}, "no entry has tag='TAG9'"),
        ([THEIRS.after], {'mac': 'n'}, {}, 'no entry left: 1 of 1 used'),
        ([{'a': 1, 'used': 1}] * 3, {'mac': 'm'}, {}, 'no entry left: 3 of 3 used'),
        ([], {}, {}, 'no entry left: 0 of 0 used'),
        ([THEIRS.after], {'ip': '10.0.0.3', 'mac': 'm'}, {'ip': '10.0.0.3'},
         "no entry has ip='10.0.0.3' and is free: 1 of 1 used"),
    ],
)  # fmt: skip
def test_which_entry_a_machine_gets(entries, variables, keys, expected) -> None:
    """In the order of the rules, and the reason where there is none."""
    found = Cmdb.of(entries).find(variables, keys, MINE.machine, [THEIRS, MINE])
    assert found == (NoEntry(expected) if isinstance(expected, str) else expected)


def test_equal_entries_are_held_one_by_one() -> None:
    pool = {'rack': 1}
    after = {'rack': 1, 'used': 1}
    cmdb = Cmdb.of([after, after, pool])
    claims = [Claim.of(1, pool, after), Claim.of(2, pool, after)]
    assert cmdb.holders(claims) == ({0: 1, 1: 2}, {})
    assert cmdb.find({'rack': '1'}, {'rack': '1'}, 3, claims) == 2


H1, H2 = {'host': 'h1', 'ip': '1'}, {'host': 'h2', 'ip': '2'}
DISK = {'disk': 'vda', 'used': 1}
OWN = ['host', 'ip']
ONE = Claim.of(1, H1, {**H1, **DISK}, 0, OWN)
TWO = Claim.of(2, H2, {**H2, **DISK}, 1, OWN)


@pytest.mark.parametrize(
    ('entries', 'held', 'doubtful'),
    [
        # as they were left, wherever they stand
        ([ONE.after, TWO.after], {0: 1, 1: 2}, {}),
        ([TWO.after, {'new': 1}, ONE.after], {0: 2, 2: 1}, {}),
        # freed, deleted, added to
        ([H1, TWO.after], {0: 1, 1: 2}, {}),
        ([TWO.after], {0: 2}, {}),
        ([{**TWO.after, 'note': 'x'}], {0: 2}, {}),
        ([], {}, {}),
        # a field edited where they stand, though what was captured is not their own
        ([{**ONE.after, 'ip': '9'}, {**TWO.after, 'ip': '9'}], {0: 1, 1: 2}, {}),
        ([{**ONE.after, 'ip': '9'}, {'free': 1}], {0: 1}, {}),
        # freed and edited where they stand
        ([{'host': 'h1', 'ip': '9'}, {'host': 'h2', 'ip': '9'}], {0: 1, 1: 2}, {}),
        # edited and moved
        (
            [{'new': 1}, {'new': 2}, {**ONE.after, 'ip': '9'}, {**TWO.after, 'ip': '9'}],
            {2: 1, 3: 2},
            {},
        ),
        # the line above deleted, and a field edited
        ([{**TWO.after, 'ip': '9'}], {0: 2}, {}),
        # another's entry at the old place, which is used by hand
        ([{'host': 'h3', 'ip': '3', 'used': 1}], {}, {}),
        # nothing is left that tells them apart
        (
            [{'new': 1}, {'new': 2}, {'host': 'x', **DISK}, {'host': 'y', **DISK}],
            {},
            {2: frozenset({1, 2}), 3: frozenset({1, 2})},
        ),
    ],
)
def test_who_holds_what_after_an_edit_by_hand(entries, held, doubtful) -> None:
    """Nobody else is ever taken for the holder, and nobody gets what is in doubt."""
    cmdb = Cmdb.of(entries)
    assert cmdb.holders([ONE, TWO]) == (held, doubtful)
    assert cmdb.holders([TWO, ONE]) == (held, doubtful)
    given = cmdb.find({'disk': 'vda'}, {}, 3, [ONE, TWO])
    assert given not in {*held, *doubtful}


def test_an_entry_is_of_the_one_that_has_most_of_its_own_there() -> None:
    """A value that was another's by chance, such as a rack that had one host, takes it from none."""
    one, two = ({'host': f'h{n}', 'ip': f'i{n}', 'rack': f'r{n}'} for n in (1, 2))
    claims = [
        Claim.of(n, entry, {**entry, 'used': 1}, n - 1, ['host', 'ip', 'rack'])
        for n, entry in ((1, one), (2, two))
    ]
    moved = Cmdb.of([{**one, 'rack': 'r2', 'used': 1}])
    assert moved.holders(claims) == ({0: 1}, {})
    assert moved.holders(claims[::-1]) == ({0: 1}, {})


def test_a_release_restores_what_the_entry_was() -> None:
    before = Cmdb.parse(LAB)
    after = before.give(1, {'hostname': 'new', 'mac': 'm'})
    claim = Claim.of(1, before.entries[1], after.entries[1])
    assert Cmdb.parse(after.render()).release(1, claim).entries == before.entries


def test_a_release_keeps_what_was_edited_since() -> None:
    claim = Claim.of(1, {'ip': 'a', 'host': 'x'}, {'ip': 'a', 'host': 'x', 'mac': 'm', 'used': 1})
    edited = Cmdb.of([{'ip': 'a', 'host': 'y', 'mac': 'm', 'used': 1, 'note': 'moved'}])
    (entry,) = edited.release(0, claim).entries
    assert entry == {'ip': 'a', 'host': 'y', 'note': 'moved'}


@pytest.mark.parametrize('entries', [7, [7], [{'a': 10**5000}], [{1: 2}], [{'a': object()}], None])
def test_a_list_that_is_no_cmdb_is_refused(entries) -> None:
    with pytest.raises(CmdbError):
        Cmdb.of(entries)


def test_a_deep_stack_of_the_caller_is_no_traceback() -> None:
    text = '[{"a": ' + '[' * 90 + ']' * 90 + '}]'

    def called(depth: int) -> None:
        if depth:
            called(depth - 1)
        else:
            Cmdb.parse(text)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        for depth in range(500, 960, 10):
            try:
                called(depth)
            except (CmdbError, RecursionError) as error:
                assert isinstance(error, CmdbError) or depth > 850
    finally:
        sys.setrecursionlimit(limit)


plain = st.text(alphabet='ab\'"\\#,:{}[] \n\té', max_size=6)


@given(
    st.lists(
        st.dictionaries(plain, plain | st.integers() | st.booleans() | st.none(), max_size=3)
    ),
    st.sampled_from(['\n', '\r\n', ' ', '', '# a comment, {"x": 1}\n', '\ufeff', '\f']),
    st.sampled_from(['', ',', ' ,', ', # more\n', '+[]', ']']),
)
def test_what_is_scanned_is_what_the_tree_says(listed, before, after) -> None:
    """The quick way reads as much as it is sure of, and that as Python does."""
    text = f'{before}[{", ".join(map(repr, listed))}{after}]'
    scanned = plain_dicts(text)
    if scanned is None:
        return
    assert scanned[0] == ast.literal_eval(text.lstrip('\ufeff \r\n'))
    assert [ast.literal_eval(text[start:end]) for start, end in scanned[1]] == scanned[0]


@given(st.text(alphabet='[]{}\'",:# \n\\a01-T', max_size=40))
def test_near_literals_are_scanned_as_the_tree_reads_them(text: str) -> None:
    scanned = plain_dicts(text)
    if scanned is not None:
        assert scanned[0] == ast.literal_eval(text.strip())


@pytest.mark.parametrize(
    'text', ["[{# 'host': 'h9'\n}, {'host': 'h2'}]", "[{'a': 1 # 'b': 2,\n}]", "[{ #\n'a': 1}]"]
)
def test_what_stands_in_a_comment_is_none(text: str) -> None:
    assert list(Cmdb.parse(text).entries) == ast.literal_eval(text)


@pytest.mark.parametrize('after', ['\n  ', '\r\n\t', '\n\n # end \n  '])
def test_blanks_at_the_end_are_none(after: str) -> None:
    """In what is scanned, and in what takes a tree."""
    for text in ("[{'a': 'b'}]", "[{'a': 'b\\\\c'}]", "generate({'a': '1-2'})"):
        assert Cmdb.parse(text + after).entries == Cmdb.parse(text).entries


def test_what_the_server_writes_is_scanned() -> None:
    """So that large files are quick."""
    cmdb = Cmdb.parse("generate({'ip': '10.0.0-9.0-99', 'n': '1-1000'})").give(
        3, {'mac': 'm' * 80}
    )
    assert plain_dicts(cmdb.render()) is not None
    assert Cmdb.parse(cmdb.render()).entries == cmdb.entries


def test_only_what_was_a_claims_own_tells_it_apart() -> None:
    """Not a value that was shared, though one other entry alone has it now."""
    before = {'host': 'a', 'vlan': 1}
    claim = Claim.of(1, before, {**before, 'used': 1}, 0, ['host'])
    edited = Cmdb.of([{'host': 'b', 'vlan': 1}, {'host': 'c', 'vlan': 2}])
    assert edited.holders([claim]) == ({}, {})
    moved = Cmdb.of([{'host': 'b', 'vlan': 1}, {'host': 'a', 'vlan': 2}])
    assert moved.holders([claim]) == ({1: 1}, {})
