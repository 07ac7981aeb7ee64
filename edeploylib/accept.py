"""The expression of the spec language that accepts given texts, and as little else as can be."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from edeploylib.errors import Place, SpecError
from edeploylib.slips import slips
from edeploylib.spec import Spec
from edeploylib.term import Literal, parse_term, test_of

# The most texts that are listed.
_MOST = 4
# How far numbers of one kind lie from the middle one.
_SPREAD = 10
_SHORTEST_PREFIX = 3
# What measures are: not 1e9, nor hundreds of digits.
_MEASURE = re.compile(r'-?[0-9]{1,30}(?:\.[0-9]{1,10})?')


class Accepted(NamedTuple):
    """A term, what it says to a reader, and the texts that it was made of."""

    term: str
    words: str
    texts: frozenset[str]


def accept_most(counts: Mapping[str | None, int], share: float) -> Accepted | None:
    """Of the commonest texts that so many have; None: they vary in no simple way.

    ``counts`` has how many machines have a text, None for those without one.
    """
    total = sum(counts.values())
    there = Counter({text: count for text, count in counts.items() if text is not None})
    ((commonest, most),) = there.most_common(1) or (('', 0),)
    if most >= share * total and total:
        return exactly([commonest])
    numbers = _near(there)
    if len(numbers) > 2 and sum(there[text] for text in numbers) >= share * total:
        return accept_all(numbers)
    kept: list[str] = []
    ranked = sorted(there, key=lambda text: (-there[text], text))
    for text in ranked:
        if sum(there[one] for one in kept) >= share * total and there[text] < there[kept[-1]]:
            break
        kept.append(text)
    is_whole = sum(there[text] for text in kept) >= share * total
    # Where each has a text of its own, a list would be no rule.
    if is_whole and len(kept) <= _MOST and (there[kept[-1]] > 1 or len(kept) * 2 <= total):
        return accept_all(kept)
    return accept_all(list(there)) if there.total() == total and total else None


def accept_all(texts: Sequence[str]) -> Accepted | None:
    """An expression that holds for each of the texts; None: they vary in no simple way."""
    different = sorted(set(texts), key=lambda text: (_number(text) or 0, text))
    if len(different) == 1:
        return exactly(different)
    if len(different) > 2 and len(_near(Counter(different))) == len(different):
        low, high = different[0], different[-1]
        return _checked(f'range({low}, {high})', f'{low} to {high}', different)
    if len(different) <= _MOST:
        return exactly(different)
    prefix = _common(min(different), max(different))
    if len(prefix) >= _SHORTEST_PREFIX:
        return _checked(f'regexp(^{re.escape(prefix)})', f'{prefix!r}...', different)
    return None


def exactly(texts: Sequence[str]) -> Accepted | None:
    """That holds for these texts and no other."""
    words = ' or '.join(map(repr, texts))
    if len(texts) == 1 and is_plain(texts[0]):
        return Accepted(texts[0], words, frozenset(texts))
    quoted = [_quoted(text) for text in texts]
    if None not in quoted:
        return _checked(f'in({", ".join(map(str, quoted))})', words, texts)
    return _checked(rf'regexp(^(?:{"|".join(map(re.escape, texts))})\Z)', words, texts)


def is_plain(text: str) -> bool:
    """Whether a text stands for itself in a spec, and nobody takes it for a slip."""
    try:
        term = parse_term(text, Place(''))
    except SpecError:
        return False
    return term.variable is None and term.expression == Literal(text) and not slips(term)


def _quoted(text: str) -> str | None:
    if text and text == text.strip() and not re.search(r'[,"\'()]', text):
        return text
    return next((f'{quote}{text}{quote}' for quote in '"\'' if quote not in text), None)


def _checked(term: str, words: str, texts: Sequence[str]) -> Accepted | None:
    """The term, if it holds for the texts as the matcher reads it."""
    try:
        expression = Spec.of([('', '', '', term)]).rules[0].value.expression
    except SpecError:
        return None
    holds = test_of(expression) if expression is not None else None
    return Accepted(term, words, frozenset(texts)) if holds and all(map(holds, texts)) else None


def _number(text: str) -> Fraction | None:
    return Fraction(text) if _MEASURE.fullmatch(text) else None


def _common(one: str, other: str) -> str:
    """What two texts begin with alike; of the least and the greatest, what all do."""
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return one[:length]


def _near(counts: Mapping[str, int]) -> list[str]:
    """The texts that are numbers near to the middle one, if all are numbers."""
    numbers = [(number, text) for text in counts if (number := _number(text)) is not None]
    if not numbers or len(numbers) < len(counts):
        return []
    each = sorted(number for number, text in numbers for _ in range(counts[text]))
    middle = each[len(each) // 2]
    return [
        text for number, text in numbers if abs(number - middle) * 100 <= abs(middle) * _SPREAD
    ]
