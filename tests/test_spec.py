import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies as our
from edeploylib.errors import SpecError
from edeploylib.spec import OPERATORS, Spec
from edeploylib.term import Call, Literal

CASES = sorted((Path(__file__).parent / 'cases' / 'mistakes').glob('*.json'))

DEEP: list[object] = []
for _ in range(100_000):
    DEEP = [DEEP]


def spec_of(value: str) -> str:
    return f"[('a', 'b', 'c', {value!r})]"


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'hp.specs: the file is empty'),
        ('# only a comment\n', 'hp.specs: the file is empty'),
        ('{}', 'hp.specs:1:1: expected a list of rules, found a dict'),
        ("('a', 'b', 'c', 'd')", 'hp.specs:1:1: expected a list of rules, found a tuple'),
        (
            "[\n ('a', 'b', 'c', 'd')  # no comma\n ('e', 'f', 'g', 'h'),\n]",
            "hp.specs:3:2: expected ',' between rules, found '('",
        ),
        (
            "[['a', 'b', 'c', 'd'] ['e', 'f', 'g', 'h']]",
            "hp.specs:1:23: expected ',' between rules, found '['",
        ),
        (
            "[('a','b','c','d') ('e','f','g','h') ('i','j','k','l')]",
            "hp.specs:1:20: expected ',' between rules, found '('",
        ),
        (
            "[('a', 'b', 'c')]",
            'hp.specs:1:2: expected 4 elements (category, name, property, value), found 3',
        ),
        (
            "[('a', 'b', 'c', 'd', 'e')]",
            'hp.specs:1:2: expected 4 elements (category, name, property, value), found 5',
        ),
        ("['abcd']", 'hp.specs:1:2: expected a rule, a tuple of 4 texts'),
        ("[('a', 'b', 'c', None)]", 'hp.specs:1:18: expected a text, found None'),
        ("[('a', 'b', 'c', ('d',))]", "hp.specs:1:18: expected a text, found ('d',)"),
        ("[('a', 'b', 'c', x)]", "hp.specs:1:18: expected a literal, found the name 'x'"),
        (
            "[('a', 'b', 'c', __import__('os'))]",
            "hp.specs:1:18: expected a literal, found a call of '__import__'",
        ),
        ("[('é', 'b', 'c', 1 + 1)]", 'hp.specs:1:18: expected a literal, found an operation'),
        (spec_of('$'), "hp.specs:1:18: '$': expected the name of a variable after '$'"),
        (spec_of('$$'), "hp.specs:1:18: '$$': expected the name of a variable after '$'"),
        (
            spec_of('$=gt(1)'),
            "hp.specs:1:18: '$=gt(1)': expected the name of a variable after '$'",
        ),
        (spec_of('gt()'), "hp.specs:1:18: 'gt()': expected gt(n), found 0 arguments"),
        (
            spec_of('range(1)'),
            "hp.specs:1:18: 'range(1)': expected range(lo, hi), found 1 argument",
        ),
        (
            spec_of('range(1, 2, 3)'),
            "hp.specs:1:18: 'range(1, 2, 3)': expected range(lo, hi), found 3 arguments",
        ),
        (spec_of('in()'), "hp.specs:1:18: 'in()': expected in(a, b, ...), found 0 arguments"),
        (spec_of('gt(4, 5)'), "hp.specs:1:18: 'gt(4, 5)': expected a number, found '4, 5'"),
        (spec_of('gt(four)'), "hp.specs:1:18: 'gt(four)': expected a number, found 'four'"),
        (spec_of('gt(1_0)'), "hp.specs:1:18: 'gt(1_0)': expected a number, found '1_0'"),
        (spec_of('gt(nan)'), "hp.specs:1:18: 'gt(nan)': expected a number, found 'nan'"),
        (spec_of('gt(inf)'), "hp.specs:1:18: 'gt(inf)': expected a number, found 'inf'"),
        (spec_of('gt(4 gb)'), "hp.specs:1:18: 'gt(4 gb)': expected a number, found '4 gb'"),
        (
            spec_of('network(10.0.0.0/33)'),
            "hp.specs:1:18: 'network(10.0.0.0/33)': expected a network such as 192.168.122.0/24, "
            "found '10.0.0.0/33'",
        ),
        (
            spec_of('network(fe80::%eth0/64)'),
            "hp.specs:1:18: 'network(fe80::%eth0/64)': expected a network such as "
            "192.168.122.0/24, found 'fe80::%eth0/64'",
        ),
        (
            spec_of('regexp(()'),
            "hp.specs:1:18: 'regexp(()': expected a regular expression, found '(': "
            'missing ), unterminated subpattern at position 0',
        ),
        (
            spec_of('not(or(gt(x), a))'),
            "hp.specs:1:18: 'not(or(gt(x), a))': expected a number, found 'x'",
        ),
        (
            "[\n ('a', 'b', 'c', 'd'",
            "hp.specs:2:2: not a Python literal: '(' was never closed",
        ),
        (
            "[('a', 'b', 'c', 'd)]",
            'hp.specs:1:18: not a Python literal: unterminated string literal (detected at line 1)',
        ),
        (b"[\n('a', 'b', 'c', '\xff')]", 'hp.specs:2: expected UTF-8, found byte 0xff'),
        (
            '[\0]',
            'hp.specs:1:1: not a Python literal: source code string cannot contain null bytes',
        ),
        ('-' * 100_000 + '1', 'hp.specs:1:1: nested too deep'),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str | bytes, message: str) -> None:
    """File, line and column, what was expected and what was found."""
    with pytest.raises(SpecError) as refused:
        Spec.parse(text, 'hp.specs')
    assert (
        str(refused.value).replace('cannot contain null characters', 'cannot contain null bytes')
        == message
    )


@pytest.mark.parametrize('path', CASES, ids=lambda path: path.stem)
def test_cases(path: Path) -> None:
    """Each file holds a spec and what is reported of it."""
    case = json.loads(path.read_text())
    with pytest.raises(SpecError) as refused:
        Spec.parse('\n'.join(case['text']), 'hp.specs')
    assert refused.value.report().split('\n') == case['report']


def test_a_report_has_the_line_a_caret_and_a_hint() -> None:
    text = "[\n\t('é', 'b', 'c',\t'gt(4 gb)'),\n]"
    with pytest.raises(SpecError) as refused:
        Spec.parse(text, 'hp.specs')
    assert refused.value.report() == (
        "hp.specs:2:18: 'gt(4 gb)': expected a number, found '4 gb'\n"
        "    \t('é', 'b', 'c',\t'gt(4 gb)'),\n"
        '    \t               \t^\n'
        'hint: write 12, -3, 10.5 or 1e9; kB, MB, GB, TB, KiB, MiB, GiB and TiB may follow'
    )


def test_calls_nested_beyond_reason_are_refused() -> None:
    with pytest.raises(SpecError, match='expected at most 40 calls within each other'):
        Spec.parse(spec_of('not(' * 1000 + 'a' + ')' * 1000))


@pytest.mark.parametrize(
    ('text', 'expression'),
    [
        ('gt(4)', Call('gt', (4,))),
        ('gt( 4 )', Call('gt', (4,))),
        ('gt("4")', Call('gt', (4,))),
        ('ge(1.5KiB)', Call('ge', (1536,))),
        ('ge(256 GiB)', Call('ge', (256 * 1024**3,))),
        ('in("a,b", "c d")', Call('in', ('a,b', 'c d'))),
        ('in(8, "a,b",  "c,d")', Call('in', ('8', 'a,b', 'c,d'))),
        ("in(it's, 5\")", Call('in', ("it's", '5"'))),
        ('in(a(b), c)', Call('in', ('a(b)', 'c'))),
        ('in(" a ", b)', Call('in', (' a ', 'b'))),
        ('in(a, )', Call('in', ('a', ''))),
        ('ne(a, b)', Call('ne', ('a, b',))),
        ('ne("")', Call('ne', ('',))),
        ('regexp(^S{1,2}(T|U))', Call('regexp', ('^S{1,2}(T|U)',))),
        ('network(10.0.0.7/8, fd00::1/8)', Call('network', ('10.0.0.0/8', 'fd00::/8'))),
        ('network(10.0.0.7/255.0.0.0)', Call('network', ('10.0.0.0/8',))),
        ('not(gt(4))', Call('not', (Call('gt', (4,)),))),
        ('and(regexp("a[(]b,"), in(c, d))',
         Call('and', (Call('regexp', ('a[(]b,',)), Call('in', ('c', 'd'))))),
        ('or("gt(4)", x)', Call('or', (Literal('gt(4)'), Literal('x')))),
        ('gt (4)', Literal('gt (4)')),
        (' gt(4)', Literal(' gt(4)')),
        ('gt(4) ', Literal('gt(4) ')),
        ('GT(4)', Literal('GT(4)')),
        ('gt', Literal('gt')),
        ('a=$b', Literal('a=$b')),
    ],
)  # fmt: skip
def test_expressions(text: str, expression: Call | Literal) -> None:
    (rule,) = Spec.of([('a', 'b', 'c', text)]).rules
    assert rule.value.expression == expression


@pytest.mark.parametrize(
    ('text', 'variable', 'is_key', 'expression'),
    [
        ('$v', 'v', False, None),
        ('$$v', 'v', True, None),
        ('$v=gt(4)', 'v', False, Call('gt', (4,))),
        ('$v=yes', 'v', False, Literal('yes')),
        ('$v=', 'v', False, Literal('')),
        ('$v=a=b', 'v', False, Literal('a=b')),
        ('$$v=$w', 'v', True, Literal('$w')),
        ('$ipmi-channel 1', 'ipmi-channel 1', False, None),
    ],
)
def test_variables(text: str, variable: str, is_key: bool, expression: object) -> None:
    (rule,) = Spec.of([('a', 'b', 'c', text)]).rules
    assert rule.value == (text, variable, is_key, expression)


def test_numbers_stand_for_their_texts() -> None:
    (rule,) = Spec.parse("[('cpu', 0, 'number', 2)]").rules
    assert [term.text for term in rule] == ['cpu', '0', 'number', '2']


def test_comments_and_both_brackets_are_read() -> None:
    text = "# -*- python -*-\n[\n  ['a', 'b', 'c', 'd'],  # one\n  ('e', 'f', 'g', 'h'),\n]\n"
    assert Spec.parse(text) == Spec.of([('a', 'b', 'c', 'd'), ('e', 'f', 'g', 'h')])


UNKNOWN = 'looks like a call of an unknown operator: '
TEXT = 'begins like a test, but is taken as a text'


@pytest.mark.parametrize(
    ('value', 'slips'),
    [
        ('rnage(1, 2)', [f'{UNKNOWN}did you mean range?']),
        ('Range(1, 2)', [f'{UNKNOWN}did you mean range?']),
        ('Intel(R)', [f'{UNKNOWN}it is taken as a text']),
        ('$v=regex(a)', [f'{UNKNOWN}did you mean regexp?']),
        ('not(or(rnage(1, 2), x))', [f'{UNKNOWN}did you mean range?']),
        ('gt(4', [TEXT]),
        ('gt (4)', [TEXT]),
        ('and(gt(1), > 4)', [TEXT]),
        ('$v==ge(4)', [TEXT]),
        ('range(2, 1)', ['is a range that nothing is in']),
        ('$mac > 5', ["is a variable with the name 'mac > 5': did you forget an '='?"]),
        ('$vgt(4)', ["is a variable with the name 'vgt(4)': did you forget an '='?"]),
        ('$ ipmi', ["is a variable with blanks around its name ' ipmi'"]),
        ('$ipmi-channel 1', []),
        ('edeploy_test_vm ()', []),
        ('ProLiant DL360p Gen8 (654081-B21)', []),
        ('DIMM DDR3 (0.6 ns)', []),
        ('gt', []),
        ('gt(4)', []),
    ],
)
def test_a_likely_slip_is_kept_with_a_warning(value: str, slips: list[str]) -> None:
    spec = Spec.parse(spec_of(value), 'hp.specs')
    assert list(spec.warnings) == [f'hp.specs:1:18: {value!r} {slip}' for slip in slips]


@given(our.specs)
def test_a_spec_of_tuples_is_the_one_of_their_text(spec) -> None:
    rules = our.text_of(spec)
    assert Spec.parse(repr(rules)) == Spec.of(rules)


@given(
    st.sampled_from([*OPERATORS, 'foo', '']),
    st.text(max_size=30),
    st.sampled_from(['', '$v=', '$']),
)
def test_no_other_exception_leaves_a_term(name: str, inside: str, prefix: str) -> None:
    """And a test that could be read never raises either, on any value."""
    try:
        (rule,) = Spec.of([('a', 'b', 'c', f'{prefix}{name}({inside})')]).rules
    except SpecError as error:
        assert error.report()
        return
    from edeploylib.match import match

    for value in our.VALUES:
        match([tuple(term.text for term in rule)], [('a', 'b', 'c', value)])


@given(st.text(alphabet='[](){}\'",.$=# \\nab01-+*/\n\té', max_size=60) | st.binary(max_size=40))
def test_no_other_exception_leaves_parse(text) -> None:
    try:
        Spec.parse(text)
    except SpecError as error:
        assert error.report()


@pytest.mark.parametrize(
    'rules',
    [
        None,
        7,
        'abcd',
        [('a', 'b')],
        [7],
        ['abcd'],
        [(1, 2, 3, None)],
        [(1, 2, 3, 10**5000)],
        [(1, 2, 3, float('nan'))],
        [DEEP],
        [(1, 2, 3, DEEP)],
    ],
)
def test_a_list_that_is_no_spec_is_refused(rules) -> None:
    with pytest.raises(SpecError):
        Spec.of(rules)


def test_what_python_warns_of_is_read_all_the_same() -> None:
    """As an error, a warning would be a mistake."""
    spec = Spec.parse("[('a', 'b', 'c', 'regexp(^\\d+)'), ('a', 'b', 'c', 'regexp([[0-9])')]")
    assert len(spec) == 2
