"""Rules that cannot be meant, one spec at a time."""

from collections.abc import Iterable, Iterator

from edeploylib.check.findings import Finding
from edeploylib.check.reach import Contradiction, contradictions
from edeploylib.check.read import PlacedSpec
from edeploylib.match import BUDGET
from edeploylib.slips import kinds_of_slips
from edeploylib.spec import Rule
from edeploylib.term import Call, Expression, Literal, Term

# The length of values that a regular expression must be good for.
_ORDINARY = 64


def check_spec(found: PlacedSpec) -> Iterator[Finding]:
    for rule, places in zip(found.spec.rules, found.places, strict=True):
        for term, place in zip(rule, places, strict=True):
            for code, sentence in kinds_of_slips(term):
                yield Finding(code, place, f'{term.text!r} {sentence}')
            if term.variable == 'used':
                yield Finding('reserved-variable', place, f'{term.text!r} captures as {"used"!r}')
            for pattern in _costly(term.expression):
                message = f'a search gives up on {pattern!r} and a value of {_ORDINARY} characters'
                yield Finding('costly-regexp', place, message)
    yield from _impossible(found)
    yield from _same_facts(found)


def is_satisfiable(found: PlacedSpec) -> bool:
    """Whether nothing is known that keeps all machines from matching."""
    return not contradictions(found.spec)


def _impossible(found: PlacedSpec) -> Iterator[Finding]:
    for one in contradictions(found.spec):
        rules = found.spec.rules
        terms = [rules[number][element] for number, element in one.positions]
        number, element = one.positions[-1]
        if any(code == 'empty-range' for term in terms for code, _ in kinds_of_slips(term)):
            continue  # said already
        place = found.places[number][element]
        if one.variable is None:
            yield Finding('impossible-term', place, f'no value satisfies {terms[0].text!r}')
        else:
            yield Finding('impossible-variable', place, _clash_of(one, terms))


def _clash_of(one: Contradiction, terms: Iterable[Term]) -> str:
    shown = ' and '.join(
        f'{term.text!r} (rule {number + 1})'
        for term, (number, _) in zip(terms, one.positions, strict=True)
    )
    return f'no value of ${one.variable} satisfies {shown}'


def _costly(expression: Expression | None) -> Iterator[str]:
    """The patterns that a search cannot afford on values of ordinary length."""
    if not isinstance(expression, Call):
        return
    for argument in expression.arguments:
        if isinstance(argument, Literal | Call):
            yield from _costly(argument)
        elif expression.operator == 'regexp':
            from edeploylib.pattern import growth, trimmed

            if growth(trimmed(str(argument))).steps(_ORDINARY) > BUDGET:
                yield str(argument)


def _same_facts(found: PlacedSpec) -> Iterator[Finding]:
    """Rules that want a second fact of the same category, name and property."""
    first: dict[tuple[str, ...], int] = {}
    for number, rule in enumerate(found.spec.rules):
        subject = _subject(rule)
        if subject is None:
            continue
        if subject in first:
            shown = ', '.join(term.text for term in rule[:3])
            message = (
                f'rule {number + 1} wants another fact of ({shown}) than rule '
                f'{first[subject] + 1} does'
            )
            yield Finding('same-fact-twice', found.places[number][0], message)
        first.setdefault(subject, number)


def _subject(rule: Rule) -> tuple[str, ...] | None:
    """What names a fact, where a rule leaves no choice of it; variables with a dollar."""
    names = []
    for term in rule[:3]:
        if term.variable is not None:
            names.append(f'${term.variable}')
        elif isinstance(term.expression, Literal):
            names.append(f'={term.expression.text}')
        else:
            return None
    return tuple(names)
