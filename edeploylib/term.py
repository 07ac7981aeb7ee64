"""The terms of a rule, read once into frozen nodes, and the operators in them.

term       = variable [ "=" expression ] | expression
variable   = "$" NAME | "$$" NAME
expression = call | literal
call       = OPERATOR "(" arguments ")"
"""

import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from edeploylib.address import network, within
from edeploylib.errors import Place, SpecError
from edeploylib.literal import is_scalar, quietly, shown
from edeploylib.units import Number, decimal, size

Test = Callable[[str], bool]

_DEEPEST = 40


class Literal(NamedTuple):
    """Holds for the same text."""

    text: str


class Call(NamedTuple):
    """An operator with its arguments: numbers, texts or expressions."""

    operator: str
    arguments: tuple['Argument', ...]


Expression = Literal | Call
Argument = Number | str | Literal | Call


class Term(NamedTuple):
    """One element of a rule; either part may be missing, not both."""

    text: str
    variable: str | None
    is_key: bool
    expression: Expression | None

    def __str__(self) -> str:
        return self.text


class Operator(NamedTuple):
    """``arguments`` as the reader of an error sees them; the counts are inclusive."""

    arguments: str
    fewest: int
    most: int | None
    read: Callable[[str], Argument]
    test: Callable[..., Test]


class _Mistake(Exception):
    """What is wrong within a term, for the caller who knows its place."""

    def __init__(self, message: str, hint: str = '') -> None:
        super().__init__(message)
        self.hint = hint


def parse_term(element: object, place: Place) -> Term:
    """term = variable [ "=" expression ] | expression

    Numbers and bools stand for their texts. Raises SpecError.
    """
    if isinstance(element, Term):
        element = element.text
    if not isinstance(element, str | int | float) or not is_scalar(element):
        raise SpecError(f'expected a text, found {shown(element)}', place=place)
    text = str(element)
    try:
        return _term(text)
    except _Mistake as mistake:
        raise SpecError(f'{text!r}: {mistake}', place=place, hint=mistake.hint) from None


def _term(text: str) -> Term:
    if not text.startswith('$'):
        return Term(text, None, False, _expression(text, 0))
    variable, equals, expression = text.partition('=')
    is_key = variable.startswith('$$')
    name = variable[2:] if is_key else variable[1:]
    if not name:
        raise _Mistake("expected the name of a variable after '$'")
    return Term(text, name, is_key, _expression(expression, 0) if equals else None)


def _expression(text: str, depth: int) -> Expression:
    """expression = call | literal"""
    name, bracket, rest = text.partition('(')
    operator = OPERATORS.get(name)
    if not (operator and bracket and rest.endswith(')')):
        return Literal(text)
    if depth == _DEEPEST:
        raise _Mistake(f'expected at most {_DEEPEST} calls within each other')
    inside = rest[:-1]
    texts = [inside] if operator.most == 1 else _split(inside, nested=operator.read is _nested)
    if operator.most == 1 and not inside.strip():
        texts = []
    if not operator.fewest <= len(texts) <= (operator.most or len(texts)):
        found = f'{len(texts)} argument{"s" * (len(texts) != 1)}'
        raise _Mistake(f'expected {name}({operator.arguments}), found {found}')
    if operator.read is _nested:
        return Call(name, tuple(_operand(argument, depth + 1) for argument in texts))
    return Call(name, tuple(operator.read(_unquoted(argument)) for argument in texts))


def _operand(text: str, depth: int) -> Expression:
    bare = text.strip()
    unquoted = _unquoted(text)
    return _expression(bare, depth) if unquoted == bare else Literal(unquoted)


def _unquoted(text: str) -> str:
    """arguments: blanks go around them; quotes go, and keep what they hold."""
    text = text.strip()
    quote = text[:1]
    if len(text) >= 2 and quote in ('"', "'") and text.find(quote, 1) == len(text) - 1:
        return text[1:-1]
    return text


def _split(text: str, *, nested: bool) -> list[str]:
    """The arguments between commas that stand in no quotes.

    With ``nested``, nor in brackets: the arguments may be calls.
    """
    if not text.strip():
        return []
    arguments: list[str] = []
    start = depth = offset = 0
    at_start = True
    while offset < len(text):
        character = text[offset]
        if at_start and character in '"\'':
            offset = _after_quoted(text, offset)
            at_start = False
            continue
        if character == ',' and depth == 0:
            arguments.append(text[start:offset])
            start = offset + 1
        elif nested and character == '(':
            depth += 1
        elif nested and character == ')':
            depth -= 1
        opens = character in ',(' if nested else character == ','
        at_start = opens or (at_start and character.isspace())
        offset += 1
    return [*arguments, text[start:]]


def _after_quoted(text: str, offset: int) -> int:
    """Behind the closing quote, if the argument ends there; else one further."""
    close = text.find(text[offset], offset + 1)
    if close >= 0 and text[close + 1 :].lstrip()[:1] in ('', ',', ')'):
        return close + 1
    return offset + 1


def _number(text: str) -> Number:
    number = size(text)
    if number is None:
        raise _Mistake(
            f'expected a number, found {text!r}',
            'write 12, -3, 10.5 or 1e9; kB, MB, GB, TB, KiB, MiB, GiB and TiB may follow',
        )
    return number


def _text(text: str) -> str:
    return text


def _network(text: str) -> str:
    cidr = network(text)
    if cidr is None:
        raise _Mistake(f'expected a network such as 192.168.122.0/24, found {text!r}')
    return cidr


def _pattern(text: str) -> str:
    try:
        with quietly():
            re.compile(text)
    except (re.error, RecursionError, OverflowError, ValueError) as broken:
        raise _Mistake(f'expected a regular expression, found {text!r}: {broken}') from None
    return text


def _nested(text: str) -> NoReturn:
    raise AssertionError('expressions are read by _expression()')


def _compares(holds: Callable[[Number, Number], bool]) -> Callable[[Number], Test]:
    def with_bound(bound: Number) -> Test:
        def test(text: str) -> bool:
            number = decimal(text)
            return number is not None and holds(number, bound)

        return test

    return with_bound


def _in_range(low: Number, high: Number) -> Test:
    def test(text: str) -> bool:
        number = decimal(text)
        return number is not None and low <= number <= high

    return test


def _one_of(*texts: str) -> Test:
    return frozenset(texts).__contains__


def _other_than(other: str) -> Test:
    return other.__ne__


def _within(*cidrs: str) -> Test:
    return within(cidrs)


def _searches(pattern: str) -> Test:
    from edeploylib.pattern import trimmed

    with quietly():
        search = re.compile(trimmed(pattern)).search
    return lambda text: search(text) is not None


def _negated(expression: Expression) -> Test:
    holds = test_of(expression)
    return lambda text: not holds(text)


def _all_of(*expressions: Expression) -> Test:
    tests = tuple(map(test_of, expressions))
    return lambda text: all(holds(text) for holds in tests)


def _any_of(*expressions: Expression) -> Test:
    tests = tuple(map(test_of, expressions))
    return lambda text: any(holds(text) for holds in tests)


OPERATORS = {
    'gt': Operator('n', 1, 1, _number, _compares(lambda value, bound: value > bound)),
    'ge': Operator('n', 1, 1, _number, _compares(lambda value, bound: value >= bound)),
    'lt': Operator('n', 1, 1, _number, _compares(lambda value, bound: value < bound)),
    'le': Operator('n', 1, 1, _number, _compares(lambda value, bound: value <= bound)),
    'range': Operator('lo, hi', 2, 2, _number, _in_range),
    'in': Operator('a, b, ...', 1, None, _text, _one_of),
    'ne': Operator('a', 1, 1, _text, _other_than),
    'network': Operator('cidr, ...', 1, None, _network, _within),
    'regexp': Operator('re', 1, 1, _pattern, _searches),
    'not': Operator('e', 1, 1, _nested, _negated),
    'and': Operator('e, ...', 1, None, _nested, _all_of),
    'or': Operator('e, ...', 1, None, _nested, _any_of),
}


def test_of(expression: Expression) -> Test:
    """The predicate that an expression is of a fact's text; it never raises."""
    if isinstance(expression, Literal):
        return expression.text.__eq__
    return OPERATORS[expression.operator].test(*expression.arguments)


def growth_of(expression: Expression) -> Callable[[int], int] | None:
    """What a test of a text costs by the text's length, in steps of a search; None if little."""
    if isinstance(expression, Literal):
        return None
    if expression.operator == 'regexp':
        # Few specs have any, and a CGI program starts for each upload.
        from edeploylib.pattern import growth, trimmed

        with quietly():
            grown = growth(trimmed(str(expression.arguments[0])))
        return grown.steps
    if expression.operator == 'network':
        return lambda length: 10 * len(expression.arguments)
    parts = [
        steps
        for argument in expression.arguments
        if isinstance(argument, Literal | Call) and (steps := growth_of(argument))
    ]
    return (lambda length: sum(steps(length) for steps in parts)) if parts else None
