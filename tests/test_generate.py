import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edeploylib.errors import ModelError
from edeploylib.generate import generate


def counted(text: str) -> list[object]:
    return [entry['x'] for entry in generate({'x': text})]


@pytest.mark.parametrize(
    ('text', 'values'),
    [
        ('192.168.122.3-7', [f'192.168.122.{n}' for n in range(3, 8)]),
        ('host03-07', ['host03', 'host04', 'host05', 'host06', 'host07']),
        ('host8-12', ['host8', 'host9', 'host10', 'host11', 'host12']),
        ('098-101', ['098', '099', '100', '101']),
        ('10-08', ['10', '09', '08']),
        ('10.0.1-2.253-254', ['10.0.1.253', '10.0.1.254', '10.0.2.253', '10.0.2.254']),
        ('10.0.0.1-2:9-10', ['10.0.0.1', '10.0.0.2', '10.0.0.9', '10.0.0.10']),
        ('1-3:10-12', ['1', '2', '3', '10', '11', '12']),
        ('100-100:94-90', ['100', '94', '93', '92', '91', '90']),
        ('rack1-2-node', ['rack1-node', 'rack2-node']),
        ('rack1-2-node3-9', ['rack1-node3-9', 'rack2-node3-9']),
        ('52:54:00:12:34:01-03', ['52:54:00:12:34:01', '52:54:00:12:34:02', '52:54:00:12:34:03']),
        ('10.0.0.1-2:8080', ['10.0.0.1:8080', '10.0.0.2:8080']),
        ('a.b.c.1-2', ['a.b.c.1', 'a.b.c.2']),
        ('5-5', ['5']),
        ('no range', ['no range']),
        ('10.0.0.1', ['10.0.0.1']),
        ('', ['']),
        ('-', ['-']),
    ],
)
def test_what_counts_in_a_text(text: str, values: list[str]) -> None:
    assert counted(text) == values


def test_the_guides_example() -> None:
    assert generate({'ip': '192.168.122.3-7', 'hostname': 'host03-07'}) == [
        {'ip': f'192.168.122.{n}', 'hostname': f'host{n:02}'} for n in range(3, 8)
    ]


def test_lists_and_tuples_of_scalars_give_their_items_in_turn() -> None:
    model = {'tag': ('TAG1', 'TAG2', 'TAG3'), 'ip': '192.168.122.3-5', 'rack': [1, None, 'c']}
    assert generate(model) == [
        {'tag': 'TAG1', 'ip': '192.168.122.3', 'rack': 1},
        {'tag': 'TAG2', 'ip': '192.168.122.4', 'rack': None},
        {'tag': 'TAG3', 'ip': '192.168.122.5', 'rack': 'c'},
    ]


@pytest.mark.parametrize(
    'constant',
    [7, None, True, 1.5, 'x', {'a': '1-3'}, [{'a': '1-3'}], ({'a': 1}, 2), [], [[1, 2]]],
)
def test_all_else_is_constant(constant) -> None:
    """A copy for each entry, so that they share nothing."""
    first, second = generate({'x': constant, 'n': '1-2'})
    assert first == {'x': constant, 'n': '1'}
    assert second == {'x': constant, 'n': '2'}
    if isinstance(constant, dict | list) and constant:
        assert first['x'] is not second['x']


def test_the_shortest_counting_value_ends_it() -> None:
    assert generate({'a': '1-5', 'b': ('x', 'y')}) == [{'a': '1', 'b': 'x'}, {'a': '2', 'b': 'y'}]


def test_a_range_that_is_not_reached_costs_nothing() -> None:
    assert generate({'a': '0-999999999999999999', 'b': '7-8'}) == [
        {'a': '0', 'b': '7'},
        {'a': '1', 'b': '8'},
    ]


def test_nothing_to_count_gives_one_entry() -> None:
    assert generate({'a': 'x'}) == [{'a': 'x'}]
    assert generate({}) == [{}]


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        ([1], r'expected a dict, found \[1\]'),
        ([10**5000], 'expected a dict, found a list beyond reason'),
        ({1: '1-2'}, 'expected texts as keys, found 1'),
        ({'a': '1-2000000'}, "'a': '1-2000000' gives 2000000 entries, expected at most 1000000"),
        ({'a': '0-255.0-255.0-255.0-255'}, 'gives 4294967296 entries'),
    ],
)
def test_a_model_that_is_none_is_refused(model, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        generate(model)


values = st.one_of(
    st.none(),
    st.integers(),
    st.text(alphabet='0123456789-:.ah', max_size=12),
    st.lists(st.integers() | st.text(max_size=3), max_size=4),
    st.lists(st.dictionaries(st.text(max_size=2), st.integers(), max_size=2), max_size=2),
)


@given(st.dictionaries(st.text(max_size=4), values, max_size=4))
def test_laws(model) -> None:
    """The model is unchanged; every entry has its keys; nothing else is raised."""
    before = copy.deepcopy(model)
    try:
        entries = generate(model, limit=1000)
    except ModelError:
        entries = []
    assert model == before
    assert all(list(entry) == list(model) for entry in entries)


def test_a_constant_in_itself_is_refused() -> None:
    ring: list[object] = [{}]
    ring.append(ring)
    with pytest.raises(ModelError, match='nested too deep'):
        generate({'a': ring})
