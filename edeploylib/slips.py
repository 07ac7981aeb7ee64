"""What is legal in a term but hardly meant."""

import re
from collections.abc import Iterator

from edeploylib.term import OPERATORS, Call, Expression, Literal, Term

# What other languages call them.
_ELSEWHERE = {
    'gte': 'ge',
    'lte': 'le',
    'neq': 'ne',
    'between': 'range',
    'oneof': 'in',
    'regex': 'regexp',
    'match': 'regexp',
    'cidr': 'network',
    'any': 'or',
    'all': 'and',
}
_LOOKS_LIKE_OPERATOR = rf'\s*(?:{"|".join(OPERATORS)})\s*\(|\s*[<>=]'
_LOOKS_LIKE_CALL = r'(?s:([A-Za-z_]\w*)\(.*\))'


def slips(term: Term) -> list[str]:
    """Each slip in a sentence that begins with the term."""
    return [f'{term.text!r} {sentence}' for _, sentence in kinds_of_slips(term)]


def kinds_of_slips(term: Term) -> list[tuple[str, str]]:
    """Each slip: its kind, and what the term is or does."""
    found = []
    if term.variable is not None and term.variable != term.variable.strip():
        found.append(
            (
                'blank-in-variable',
                f'is a variable with blanks around its name {term.variable!r}',
            )
        )
    if term.variable is not None and re.search(r'[<>()]', term.variable):
        found.append(
            (
                'forgotten-equals',
                f"is a variable with the name {term.variable!r}: did you forget an '='?",
            )
        )
    for part in _parts(term.expression):
        if isinstance(part, Call):
            if part.operator == 'range' and part.arguments[0] > part.arguments[1]:  # type: ignore[operator]
                found.append(('empty-range', 'is a range that nothing is in'))
            continue
        # Most texts have none of this, and need no regular expression.
        if not any(sign in part.text for sign in '(<>='):
            continue
        call = re.fullmatch(_LOOKS_LIKE_CALL, part.text)
        if call:
            guess = _nearest(call[1])
            hint = f'did you mean {guess}?' if guess else 'it is taken as a text'
            found.append(('unknown-operator', f'looks like a call of an unknown operator: {hint}'))
        elif re.match(_LOOKS_LIKE_OPERATOR, part.text):
            found.append(('test-as-text', 'begins like a test, but is taken as a text'))
    return found


def _parts(expression: Expression | None) -> Iterator[Expression]:
    """An expression and all expressions in it."""
    if expression is not None:
        yield expression
    if isinstance(expression, Call):
        for argument in expression.arguments:
            if isinstance(argument, Literal | Call):
                yield from _parts(argument)


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    known = {**{operator: operator for operator in OPERATORS}, **_ELSEWHERE}
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return known[close[0]] if close else ''
