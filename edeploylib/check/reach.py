"""Which specs no inventory satisfies, and which are satisfied by all that satisfies another.

Both are proofs: where there is none, nothing is said.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from edeploylib.check.logic import implies, is_impossible, only_text
from edeploylib.spec import Rule, Spec
from edeploylib.term import Call, Expression, Literal, Term

# Ways to place a spec's rules that are tried before nothing is said.
_MOST = 2000

# A rule's index and the element's.
Position = tuple[int, int]


class Contradiction(NamedTuple):
    """Terms that no text satisfies together, as few as say so, in the order of the spec.

    ``variable`` is what ties them; None for a term alone.
    """

    variable: str | None
    positions: tuple[Position, ...]


def contradictions(spec: Spec) -> list[Contradiction]:
    """The terms for which no inventory can have values."""
    found = []
    tests: defaultdict[str, list[Position]] = defaultdict(list)
    for number, rule in enumerate(spec.rules):
        for element, term in enumerate(rule):
            if term.expression is None:
                continue
            if is_impossible(frozenset([term.expression])):
                found.append(Contradiction(None, ((number, element),)))
            elif term.variable is not None:
                tests[term.variable].append((number, element))
    for variable, positions in tests.items():
        if len(positions) > 1 and _clash(spec, positions):
            found.append(Contradiction(variable, _fewest(spec, positions)))
    return sorted(found, key=lambda one: one.positions[-1])


def _clash(spec: Spec, positions: Iterable[Position]) -> bool:
    tests = (spec.rules[number][element].expression for number, element in positions)
    return is_impossible(frozenset(test for test in tests if test is not None))


def _fewest(spec: Spec, positions: Sequence[Position]) -> tuple[Position, ...]:
    kept = list(positions)
    for position in positions:
        without = [one for one in kept if one != position]
        if _clash(spec, without):
            kept = without
    return tuple(kept)


class Element(NamedTuple):
    """What is known of the text in one place of any inventory that satisfies a spec.

    ``same`` are names for the text: those of its variable and of the text itself. Two places
    that share one have the same text.
    """

    known: frozenset[Expression]
    same: frozenset[tuple[str, str]]


class Outline(NamedTuple):
    """A spec, as proofs about it need it; ``links`` are the places of each variable that
    stands in several.
    """

    rules: tuple[Rule, ...]
    elements: tuple[tuple[Element, ...], ...]
    links: Mapping[str, tuple[Position, ...]]


def outline(spec: Spec) -> Outline:
    tests: defaultdict[str, set[Expression]] = defaultdict(set)
    places: defaultdict[str, list[Position]] = defaultdict(list)
    for number, rule in enumerate(spec.rules):
        for element, term in enumerate(rule):
            if term.variable is not None:
                places[term.variable].append((number, element))
                if term.expression is not None:
                    tests[term.variable].add(term.expression)
    elements = tuple(tuple(_element(term, tests) for term in rule) for rule in spec.rules)
    links = {name: tuple(found) for name, found in places.items() if len(found) > 1}
    return Outline(spec.rules, elements, links)


def _element(term: Term, tests: Mapping[str, set[Expression]]) -> Element:
    known = frozenset(tests.get(term.variable, ()) if term.variable is not None else ())
    if term.expression is not None:
        known |= {term.expression}
    text = only_text(known)
    same = set() if term.variable is None else {('variable', term.variable)}
    return Element(known, frozenset(same if text is None else {*same, ('text', text)}))


def serves(elements: Sequence[Element], rule: Rule) -> bool:
    """Whether a fact of which this is known is certain to satisfy a rule's texts and tests."""
    return all(
        term.expression is None or implies(element.known, term.expression)
        for term, element in zip(rule, elements, strict=True)
    )


def covers(wide: Outline, narrow: Outline) -> bool:
    """Whether it is certain that what satisfies ``narrow`` satisfies ``wide`` as well.

    It is if each rule of ``wide`` can be given a rule of ``narrow`` of its own, whose facts
    satisfy it, such that its variables have one text wherever they stand: then the facts
    that serve ``narrow`` serve ``wide``.
    """
    if len(wide.rules) > len(narrow.rules):
        return False
    choices = []
    for rule in wide.rules:
        serving = [n for n, elements in enumerate(narrow.elements) if serves(elements, rule)]
        if not serving:
            return False
        choices.append(serving)
    return _Placing(wide, narrow, choices).is_possible()


class Takers:
    """Specs, of which each may cover those that are asked about.

    Of 1,000 specs, there are half a million pairs. So which of all rules serve one of a
    taker is worked out once for each rule, and most pairs need no more than that.
    """

    def __init__(self, outlines: Iterable[Outline]) -> None:
        """``outlines`` are all that will be asked about."""
        self._numbers: dict[tuple[frozenset[Expression], ...], int] = {}
        self._rows: list[tuple[Element, ...]] = []
        self._with: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
        self._serving: dict[tuple[Expression | None, ...], frozenset[int]] = {}
        self._takers: list[tuple[str, Outline, list[frozenset[int]]]] = []
        for one in outlines:
            self._learn(one)

    def _learn(self, narrow: Outline) -> None:
        for elements in narrow.elements:
            known = tuple(element.known for element in elements)
            if known in self._numbers:
                continue
            number = self._numbers[known] = len(self._rows)
            self._rows.append(elements)
            for position, element in enumerate(elements):
                for kind, text in element.same:
                    if kind == 'text':
                        self._with[position, text].add(number)

    def add(self, name: str, wide: Outline) -> None:
        serving = [self._serve(rule) for rule in wide.rules]
        # Of a rule that few serve, most specs have none.
        self._takers.append((name, wide, sorted(serving, key=len)))

    def _serve(self, rule: Rule) -> frozenset[int]:
        wanted = tuple(term.expression for term in rule)
        if wanted not in self._serving:
            having: Iterable[int] = range(len(self._rows))
            for position, expression in enumerate(wanted):
                if isinstance(expression, Literal):
                    having = self._with[position, expression.text].intersection(having)
            for position, expression in enumerate(wanted):
                if isinstance(expression, Call):
                    rows = self._rows
                    having = [n for n in having if implies(rows[n][position].known, expression)]
            self._serving[wanted] = frozenset(having)
        return self._serving[wanted]

    def first_of(self, narrow: Outline) -> str | None:
        """The first taker, in the order in which they were added, that is sure to cover it."""
        rows = {self._numbers[tuple(one.known for one in its)] for its in narrow.elements}
        for name, wide, serving in self._takers:
            if not any(map(rows.isdisjoint, serving)) and covers(wide, narrow):
                return name
        return None


class _Placing:
    """A search for rules of ``narrow`` that serve those of ``wide``."""

    def __init__(self, wide: Outline, narrow: Outline, choices: Sequence[Sequence[int]]) -> None:
        self._narrow = narrow
        self._choices = choices
        self._order = sorted(range(len(choices)), key=lambda rule: len(choices[rule]))
        self._steps = _MOST
        self._links: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
        for name, positions in wide.links.items():
            for rule, element in positions:
                self._links[rule].append((name, element))

    def is_possible(self) -> bool:
        return self._place(0, frozenset(), {})

    def _place(
        self, turn: int, taken: frozenset[int], same: Mapping[str, frozenset[tuple[str, str]]]
    ) -> bool:
        if turn == len(self._order):
            return True
        rule = self._order[turn]
        for choice in self._choices[rule]:
            self._steps -= 1
            if self._steps < 0 or turn > 500:
                return False
            if choice not in taken:
                tied = self._tied(rule, choice, same)
                if tied is not None and self._place(turn + 1, taken | {choice}, tied):
                    return True
        return False

    def _tied(
        self, rule: int, choice: int, same: Mapping[str, frozenset[tuple[str, str]]]
    ) -> Mapping[str, frozenset[tuple[str, str]]] | None:
        """What each variable's text is certain to be, or None if it may be several."""
        if rule not in self._links:
            return same
        tied = dict(same)
        for name, element in self._links[rule]:
            here = self._narrow.elements[choice][element].same
            tied[name] = tied[name] & here if name in tied else here
            if not tied[name]:
                return None
        return tied
