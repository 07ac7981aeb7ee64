"""Does a machine satisfy a spec, and with which of its facts?

``python -m edeploylib.match HW SPEC`` answers on the command line.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edeploylib.errors import SearchLimitExceeded
from edeploylib.inventory import Fact, Inventory, Scalar
from edeploylib.spec import Literal, Rule, Spec, Test, test_of

# Facts tried in one search.  An ordinary match tries one for each rule.
BUDGET = 1_000_000

Texts = tuple[str, str, str, str]


class Match(NamedTuple):
    """How a spec holds.

    ``variables`` are the captured values with their own types, ``keys`` those
    of them that were written with ``$$``; ``facts`` has, for each rule, the
    index of the fact that serves it.
    """

    variables: dict[str, Scalar]
    keys: dict[str, Scalar]
    facts: tuple[int, ...]


def match(
    spec: Spec | Iterable[object],
    inventory: Inventory | Iterable[object],
    budget: int = BUDGET,
) -> Match | None:
    """The first assignment of facts to rules, or None if there is none.

    A spec matches an inventory when every rule can be given a fact of its own
    such that every literal and test holds and every variable has one value
    everywhere it stands.  First is: rules in order, each taking the earliest
    possible fact.  The search is complete; when it has tried more than
    ``budget`` facts it raises SearchLimitExceeded.

    Lists of tuples are read as a spec or an inventory first, and raise
    SpecError and InventoryError.
    """
    spec = spec if isinstance(spec, Spec) else Spec.of(spec)
    inventory = inventory if isinstance(inventory, Inventory) else Inventory.of(inventory)
    texts = [(*fact[:3], str(fact[3])) for fact in inventory.facts]
    facts = _Search(spec.rules, texts, budget).first()
    return None if facts is None else _answer(spec.rules, facts, inventory.facts)


def _answer(rules: Sequence[Rule], chosen: tuple[int, ...], facts: Sequence[Fact]) -> Match:
    variables: dict[str, Scalar] = {}
    keys: dict[str, Scalar] = {}
    for rule, index in zip(rules, chosen, strict=True):
        for term, value in zip(rule, facts[index], strict=True):
            if term.variable is not None:
                first = variables.setdefault(term.variable, value)
                if term.is_key:
                    keys[term.variable] = first
    return Match(variables, keys, chosen)


class _Search:
    """Rules in order, each trying its facts in order, forward and back."""

    def __init__(self, rules: Sequence[Rule], facts: Sequence[Texts], budget: int) -> None:
        self.rules = rules
        self.facts = facts
        self.budget = budget
        self.left = budget
        self.candidates = [_candidates(rule, facts) for rule in rules]
        self.captures = [
            tuple((term.variable, i) for i, term in enumerate(rule) if term.variable is not None)
            for rule in rules
        ]

    def first(self) -> tuple[int, ...] | None:
        self._narrow()
        if not all(self.candidates):
            return None
        chosen: list[int] = []
        untried = [iter(self.candidates[0])] if self.rules else []
        used: set[int] = set()
        bound: list[dict[str, str]] = [{}]
        while len(chosen) < len(self.rules):
            for index in untried[-1]:
                self._step(len(chosen))
                values = self._bound(len(chosen), index, bound[-1])
                if index not in used and values is not None:
                    break
            else:
                untried.pop()
                if not chosen:
                    return None
                used.discard(chosen.pop())
                bound.pop()
                continue
            chosen.append(index)
            used.add(index)
            bound.append(values)
            if len(chosen) < len(self.rules):
                untried.append(iter(self.candidates[len(chosen)]))
        return tuple(chosen)

    def _step(self, position: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise SearchLimitExceeded(
                f'gave up after {self.budget} steps, last at rule {position + 1}: '
                f'{self.rules[position]}',
                hint='more literals in the rules leave fewer facts to try',
            )

    def _bound(self, position: int, index: int, bound: dict[str, str]) -> dict[str, str] | None:
        """``bound`` with what the rule captures of the fact; None on a clash."""
        values = dict(bound)
        for variable, element in self.captures[position]:
            text = self.facts[index][element]
            if values.setdefault(variable, text) != text:
                return None
        return values

    def _narrow(self) -> None:
        """Drop facts whose captures no other rule can share, until none is left to drop."""
        while True:
            common: dict[str, set[str]] = {}
            for facts, captures in zip(self.candidates, self.captures, strict=True):
                for variable, element in captures:
                    texts = {self.facts[index][element] for index in facts}
                    common[variable] = common.get(variable, texts) & texts
            narrowed = [
                [i for i in facts if all(self.facts[i][e] in common[v] for v, e in captures)]
                for facts, captures in zip(self.candidates, self.captures, strict=True)
            ]
            if narrowed == self.candidates:
                return
            self.candidates = narrowed


def _candidates(rule: Rule, facts: Sequence[Texts]) -> list[int]:
    """The facts that the rule's literals and tests allow, variables left aside."""
    literals = [
        (element, term.expression.text)
        for element, term in enumerate(rule)
        if isinstance(term.expression, Literal)
    ]
    tests: list[tuple[int, Test]] = [
        (element, test_of(term.expression))
        for element, term in enumerate(rule)
        if term.expression is not None and not isinstance(term.expression, Literal)
    ]
    return [
        index
        for index, fact in enumerate(facts)
        if all(fact[element] == text for element, text in literals)
        and all(holds(fact[element]) for element, holds in tests)
    ]


if __name__ == '__main__':
    import sys

    from edeploylib.cli.match import main

    sys.exit(main())
