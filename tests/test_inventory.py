import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies as our
from edeploylib.errors import InventoryError
from edeploylib.inventory import Inventory

DISK = ('disk', 'vda', 'size', '10')


@pytest.mark.parametrize(
    'text',
    [
        '[["disk", "vda", "size", "10"]]',
        b'[["disk", "vda", "size", "10"]]',
        b'\xef\xbb\xbf[["disk", "vda", "size", "10"]]',
        "[('disk', 'vda', 'size', '10')]",
        "# detected\n[('disk', 'vda', 'size', '10'),\n]\n",
        "[['disk', 'vda', 'size', '10']]",
        '\n [\n# first\n("disk", "vda", "size", "10")]',
        '\ufeff[["disk", "vda", "size", "10"]]',
    ],
)
def test_both_forms_are_read(text: str | bytes) -> None:
    assert Inventory.parse(text).facts == (DISK,)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'hw: expected a list of facts, found an empty file'),
        (' \n', 'hw: expected a list of facts, found an empty file'),
        ('{}', 'hw: expected a list of facts, found an object'),
        ('"a"', 'hw: expected a list of facts, found a text'),
        ('7', 'hw: expected a list of facts, found a number'),
        ('null', 'hw: expected a list of facts, found null'),
        ('[7]', 'hw: fact [0]: expected a list (category, name, property, value), found a number'),
        (
            '[["a","b","c","d"],["a","b","c"]]',
            'hw: fact [1]: expected 4 elements (category, name, property, value), found 3',
        ),
        (
            '[["a","b","c","d","e"]]',
            'hw: fact [0]: expected 4 elements (category, name, property, value), found 5',
        ),
        (
            '[["a",null,"c","d"]]',
            'hw: fact [0]: expected texts for category, name and property, found null',
        ),
        (
            '[["a","b",true,"d"]]',
            'hw: fact [0]: expected texts for category, name and property, found the bool True',
        ),
        ('[["a","b","c","d"]\n ["e"]]', "hw:2:2: not JSON: Expecting ',' delimiter"),
        ('[["a",', 'hw:1:7: not JSON: Expecting value'),
        ("[('a','b'", "hw:1:2: not a Python literal: '(' was never closed"),
        ("[('a','b','c',open('x'))]", "hw:1:15: expected a literal, found a call of 'open'"),
        ('[' * 100_000, 'hw: nested too deep for a list of facts'),
        ('[(' * 100_000, 'hw:1:201: not a Python literal: too many nested parentheses'),
        (b'[["a","b","c","\xff"]]', 'hw: expected UTF-8, found byte 0xff at offset 15'),
    ],
)
def test_what_is_no_list_of_facts_is_refused(text: str | bytes, message: str) -> None:
    """With the index or the place, what was expected and what was found."""
    with pytest.raises(InventoryError) as refused:
        Inventory.parse(text, 'hw')
    assert str(refused.value) == message


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(InventoryError, match='hw: not JSON: Exceeds the limit'):
        Inventory.parse(f'[["a","b","c",{"9" * 5000}]]', 'hw')


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        ('null', 'null'),
        ('[1]', 'a list'),
        ('{"a": 1}', 'an object'),
        ('NaN', 'not a finite number'),
        ('1e999', 'not a finite number'),
        ('9' * 4000, 'too large a number'),
        ('"\\ud800"', 'not valid Unicode'),
    ],
)
def test_an_odd_value_leaves_its_fact_out(value: str, reason: str) -> None:
    """One odd value must not keep a rack from being installed."""
    found = Inventory.parse(f'[["a", "b", "c", {value}], {json.dumps(DISK)}]')
    assert found.facts == (DISK,)
    assert found.warnings == (f"fact [0] ('a', 'b', 'c') left out: its value is {reason}",)


def test_values_keep_their_type_and_names_become_texts() -> None:
    facts = [['cpu', 0, 'number', 2], ['cpu', '0', 'ghz', 2.5], ['disk', 'a', 'ssd', True]]
    assert Inventory.of(facts).facts == (
        ('cpu', '0', 'number', 2),
        ('cpu', '0', 'ghz', 2.5),
        ('disk', 'a', 'ssd', True),
    )


@given(our.inventories)
def test_a_rendered_inventory_parses_back(facts) -> None:
    inventory = Inventory.of(facts)
    assert Inventory.parse(inventory.render()) == inventory
    assert Inventory.parse(json.dumps(facts)) == inventory


def test_what_is_left_out_is_told_in_the_rendered_file() -> None:
    rendered = Inventory.parse('[["a", "b", "c", null]]').render()
    assert rendered == "# fact [0] ('a', 'b', 'c') left out: its value is null\n[]\n"


SYSTEM = ('system', 'product')


@pytest.mark.parametrize(
    ('facts', 'name'),
    [
        (
            [
                (*SYSTEM, 'name', 'VirtualBox'),
                (*SYSTEM, 'vendor', 'innotek GmbH'),
                (*SYSTEM, 'serial', '0'),
                ('network', 'eth0', 'serial', '08:00:27:6F:77:22'),
                ('network', 'eth1', 'serial', '08:00:27:6f:77:23'),
            ],
            'VirtualBox-0-08-00-27-6f-77-22',
        ),
        ([(*SYSTEM, 'vendor', 'HP / é')], 'HP'),
        ([(*SYSTEM, 'name', '../../etc/passwd'), (*SYSTEM, 'serial', 'a\nb')], 'etcpasswd-ab'),
        ([(*SYSTEM, 'serial', 'x' * 500)], 'x' * 80),
        ([('network', 'ib0', 'serial', '80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:45:af:21')],
         'unknown-'),
    ],
)  # fmt: skip
def test_sysname(facts, name: str) -> None:
    """Product name (else vendor), serial and first MAC, in letters that suit a file name."""
    sysname = Inventory.of(facts).sysname
    assert sysname == name or (name == 'unknown-' and sysname.startswith(name))


def test_macs_are_those_of_ethernet() -> None:
    """Six bytes, in lower case, each once."""
    serials = ['52:54:00:88:17:3C', '52-54-00-88-17-3c', '80:00:02', 'N/A', '02:00:00:00:00:01']
    facts = [('network', f'eth{i}', 'serial', serial) for i, serial in enumerate(serials)]
    assert Inventory.of(facts).macs == ('52:54:00:88:17:3c', '02:00:00:00:00:01')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=30,
)


@given(st.text() | json_values.map(json.dumps) | st.binary())
def test_no_other_exception_leaves_parse(text) -> None:
    try:
        Inventory.parse(text)
    except InventoryError as error:
        assert error.report()


@given(st.text(alphabet='[](){}\'",.$ #\\nab01-+*/\n', max_size=80))
def test_no_other_exception_leaves_parse_of_near_literals(text: str) -> None:
    try:
        Inventory.parse(text)
    except InventoryError as error:
        assert error.report()


@pytest.mark.parametrize('value', [None, 7, ['a']])
def test_what_is_no_text_is_refused(value) -> None:
    with pytest.raises(InventoryError, match='hw: expected a text, found'):
        Inventory.parse(value, 'hw')


def test_a_large_file_in_python_has_a_fact_a_line() -> None:
    """Its syntax tree would take hundreds of times its size."""
    inventory = Inventory.of([('disk', f'sd{n}', 'serial', f'ü{n}') for n in range(20_000)])
    assert Inventory.parse(inventory.render()) == inventory
    with pytest.raises(InventoryError, match='hw: line 1 is too long for a fact in Python'):
        Inventory.parse(repr(list(inventory.facts)), 'hw')
    broken = inventory.render().replace("'ü7')", "'ü7'")
    with pytest.raises(InventoryError, match=r"hw:8:1:1: .* '\(' was never closed"):
        Inventory.parse(broken, 'hw')
