"""The reference for matching: plain exhaustive search, sharing nothing with the matcher."""

from collections.abc import Sequence
from itertools import permutations

from strategies import Term


def first_assignment(
    spec: Sequence[tuple[Term, ...]], facts: Sequence[tuple[object, ...]]
) -> tuple[int, ...] | None:
    """The lexicographically first choice of different facts that serves all rules."""
    texts = [tuple(map(str, fact)) for fact in facts]
    for chosen in permutations(range(len(facts)), len(spec)):
        if _serves(spec, [texts[index] for index in chosen]):
            return chosen
    return None


def _serves(spec: Sequence[tuple[Term, ...]], facts: Sequence[tuple[str, ...]]) -> bool:
    values: dict[str, str] = {}
    for rule, fact in zip(spec, facts, strict=True):
        for term, text in zip(rule, fact, strict=True):
            if not term.holds(text):
                return False
            if term.variable and values.setdefault(term.variable, text) != text:
                return False
    return True
