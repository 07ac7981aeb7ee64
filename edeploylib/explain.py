"""Why does a machine match a spec, or why not?

Rules are counted from 1, as people do; facts by their index, from 0.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from edeploylib.errors import SearchLimitExceeded
from edeploylib.hints import hints, wanted
from edeploylib.inventory import Fact, Inventory, Scalar
from edeploylib.match import BUDGET, Match, candidates, match
from edeploylib.search import Exhausted, Meter
from edeploylib.spec import ELEMENTS, Rule, Spec
from edeploylib.term import Test, growth_of, test_of

# The kinds of reasons.
NO_FACT = 'no fact'
NO_COMMON_VALUE = 'no common value'
TOO_FEW_FACTS = 'too few facts'
NO_COMBINATION = 'no combination'
GIVEN_UP = 'search given up'

# Examples shown of what there could be many of.
_SHOWN = 3


class Served(NamedTuple):
    """A rule with its fact; ``choices`` is how many facts the rule alone allows."""

    rule: int
    fact: int
    choices: int


class Capture(NamedTuple):
    """A variable with the rule and the fact that gave its value."""

    variable: str
    is_key: bool
    value: Scalar
    rule: int
    fact: int


class Difference(NamedTuple):
    """An element in which a fact is not what a rule wants.

    ``name`` is what people call it: the value is named after its property.
    """

    element: int
    name: str
    wanted: str
    found: str


class Near(NamedTuple):
    """A fact that nearly serves a rule."""

    fact: int
    differences: tuple[Difference, ...]


class Reason(NamedTuple):
    """Rules that cannot hold together, though any but one of them can.

    If the search was given up there are none, or more than it takes.
    """

    kind: str
    rules: tuple[int, ...]
    text: str
    near: tuple[Near, ...] = ()
    hints: tuple[str, ...] = ()


class Explanation(NamedTuple):
    """The match with what gave it, or the reasons why there is none."""

    spec: Spec
    inventory: Inventory
    match: Match | None = None
    served: tuple[Served, ...] = ()
    captures: tuple[Capture, ...] = ()
    reasons: tuple[Reason, ...] = ()

    @property
    def given_up(self) -> bool:
        return any(reason.kind == GIVEN_UP for reason in self.reasons)

    def lines(self) -> list[str]:
        """The reasons in words."""
        lines: list[str] = []
        for reason in self.reasons:
            lines.append(reason.text)
            lines += (f'  nearest is {self._near(near)}' for near in reason.near)
            lines += (f'  hint: {hint}' for hint in reason.hints)
        return lines

    def as_dict(self) -> dict[str, object]:
        """All of it for JSON; rules are counted from 1, facts from 0."""
        found = self.match
        return {
            'match': found is not None,
            'variables': found.variables if found else {},
            'keys': found.keys if found else {},
            'rules': [
                {**one._asdict(), 'terms': [term.text for term in self.spec.rules[one.rule - 1]]}
                for one in self.served
            ],
            'captures': [one._asdict() for one in self.captures],
            'reasons': [
                {
                    **reason._asdict(),
                    'near': [
                        {'fact': near.fact, 'differences': [d._asdict() for d in near.differences]}
                        for near in reason.near
                    ],
                }
                for reason in self.reasons
            ],
        }

    def _near(self, near: Near) -> str:
        differ = ', '.join(
            f'{one.name} is {one.found!r}, the rule wants {one.wanted}' for one in near.differences
        )
        return f'{shown_fact(self.inventory, near.fact)}: {differ}'


def explain(
    spec: Spec | Iterable[object],
    inventory: Inventory | Iterable[object],
    budget: int = BUDGET,
) -> Explanation:
    """Explain what ``match`` answers.

    Every rule that no fact serves is a reason of its own; if there is none,
    the reason is a smallest set of rules that cannot hold together, found by
    leaving out one rule after the other. Raises SpecError and InventoryError
    for lists that are none.
    """
    spec = spec if isinstance(spec, Spec) else Spec.of(spec)
    inventory = inventory if isinstance(inventory, Inventory) else Inventory.of(inventory)
    blank = Explanation(spec, inventory)
    try:
        found = match(spec, inventory, budget)
        domains = [candidates(spec, inventory, number) for number in range(len(spec))]
    except SearchLimitExceeded as gave_up:
        return blank._replace(reasons=(Reason(GIVEN_UP, (), str(gave_up)),))
    if found is not None:
        served = zip(found.facts, domains, strict=True)
        return blank._replace(
            match=found,
            served=tuple(
                Served(number, fact, len(domain))
                for number, (fact, domain) in enumerate(served, 1)
            ),
            captures=tuple(_captures(spec, found)),
        )
    reasons = [
        _no_fact(spec, number, inventory) for number, domain in enumerate(domains) if not domain
    ]
    return blank._replace(reasons=tuple(reasons or [_conflict(spec, inventory, domains, budget)]))


def _captures(spec: Spec, found: Match) -> Iterable[Capture]:
    seen: set[str] = set()
    for number, (rule, fact) in enumerate(zip(spec.rules, found.facts, strict=True), 1):
        for term in rule:
            name = term.variable
            if name is not None and name not in seen:
                seen.add(name)
                yield Capture(name, name in found.keys, found.variables[name], number, fact)


def _no_fact(spec: Spec, number: int, inventory: Inventory) -> Reason:
    rule = spec.rules[number]
    near = _nearest(rule, inventory)
    differing = [(rule[one.element], one.found) for fact in near for one in fact.differences]
    return Reason(
        NO_FACT,
        (number + 1,),
        f'no fact serves rule {number + 1} {rule}',
        near,
        tuple(dict.fromkeys(hints(rule, differing, inventory))),
    )


def _nearest(rule: Rule, inventory: Inventory) -> tuple[Near, ...]:
    """The facts with the least that differs: of the same kind, if there are any."""
    ranked = []
    tests = _Tests(rule)
    for fact, elements in enumerate(inventory.facts):
        wrong = tests.failed(elements)
        # A wrong category is further away than a wrong property, and so on.
        weight = sum((8, 2, 4, 1)[element] for element in wrong)
        if weight < 12:
            ranked.append((weight, fact, wrong))
    ranked.sort()
    near = [found for found in ranked[:_SHOWN] if found[0] == ranked[0][0]]
    # Of another property, the value says nothing, and one example is enough.
    if near and 2 in near[0][2]:
        near = [(weight, fact, wrong[: wrong.index(2) + 1]) for weight, fact, wrong in near[:1]]
    return tuple(
        Near(
            fact,
            tuple(_difference(rule, element, inventory, fact) for element in wrong)
            or (_untied(rule, inventory, fact),),
        )
        for _, fact, wrong in near
    )


class _Tests:
    """What a rule wants of a fact's elements, as far as it can be afforded."""

    def __init__(self, rule: Rule) -> None:
        # Literals first: they tell most facts apart, and cost nothing.
        self._checks = sorted(
            (
                (element, test_of(term.expression), growth_of(term.expression))
                for element, term in enumerate(rule)
                if term.expression is not None
            ),
            key=lambda check: check[2] is not None,
        )
        self._meter = Meter(BUDGET)
        self._tested: dict[tuple[int, str], bool] = {}

    def failed(self, fact: Fact) -> list[int]:
        """The elements that are not as they should be, in order."""
        wrong: list[int] = []
        for element, holds, steps in self._checks:
            text = str(fact[element])
            if not (
                holds(text) if steps is None else self._affordable(element, holds, steps, text)
            ):
                wrong.append(element)
        return sorted(wrong)

    def _affordable(
        self, element: int, holds: Test, steps: Callable[[int], int], text: str
    ) -> bool:
        """A costly test, made once for a text; one that is too costly counts as failed."""
        known = self._tested.get((element, text))
        if known is None:
            try:
                self._meter.spend(steps(len(text)))
                known = holds(text)
            except Exhausted:
                self._meter.left += steps(len(text))
                known = False
            self._tested[element, text] = known
        return known


def _untied(rule: Rule, inventory: Inventory, fact: int) -> Difference:
    """Where a variable that stands twice in a rule has another value."""
    values: dict[str, str] = {}
    for element, term in enumerate(rule):
        text = str(inventory.facts[fact][element])
        if term.variable is not None and values.setdefault(term.variable, text) != text:
            wanted = f'{values[term.variable]!r} of ${term.variable} again'
            return Difference(element, ELEMENTS[element], wanted, text)
    raise AssertionError('a fact without any difference serves the rule')


def _difference(rule: Rule, element: int, inventory: Inventory, fact: int) -> Difference:
    elements = inventory.facts[fact]
    name = elements[2] if element == 3 else ELEMENTS[element]
    return Difference(element, name, wanted(rule[element]), str(elements[element]))


def _conflict(
    spec: Spec, inventory: Inventory, domains: Sequence[Sequence[int]], budget: int
) -> Reason:
    rules = _smallest(spec, inventory, domains, budget)
    numbers = tuple(number + 1 for number in rules)
    facts = {fact for number in rules for fact in domains[number]}
    if len(facts) < len(rules):
        there = ', '.join(shown_fact(inventory, fact) for fact in sorted(facts)[:_SHOWN])
        more = ', ...' * (len(facts) > _SHOWN)
        text = (
            f'{_numbers(numbers)} need {len(rules)} different facts, '
            f'and there {"is" if len(facts) == 1 else "are"} {len(facts)}: {there}{more}'
        )
        return Reason(TOO_FEW_FACTS, numbers, text)
    values = _values(spec, inventory, domains, rules)
    for variable, by_rule in values.items():
        if not set.intersection(*(set(texts) for texts in by_rule.values())):
            text = f'${variable} has no value that suits {_numbers(numbers)}: '
            return Reason(NO_COMMON_VALUE, numbers, text + _by_rule(by_rule))
    tied = '; '.join(f'${variable} is {_by_rule(by_rule)}' for variable, by_rule in values.items())
    text = (
        f'{_numbers(numbers)} cannot hold together: '
        f'no different facts give each variable one value, though {tied}'
    )
    return Reason(NO_COMBINATION, numbers, text)


def _smallest(
    spec: Spec, inventory: Inventory, domains: Sequence[Sequence[int]], budget: int
) -> list[int]:
    """Rules that cannot hold together, none of which can be left out.

    By halves: what a conflict needs of one half is sought while the other
    half, or what the conflict needs of it, is there.
    """

    def is_conflict(rules: Sequence[int]) -> bool:
        part = Spec(tuple(spec.rules[number] for number in sorted(rules)))
        try:
            return match(part, inventory, budget) is None
        except SearchLimitExceeded:
            return False  # not proved

    def needed(there: list[int], is_new: bool, rules: list[int]) -> list[int]:
        if is_new and is_conflict(there):
            return []
        if len(rules) == 1:
            return rules
        half = len(rules) // 2
        first, second = rules[:half], rules[half:]
        of_second = needed(there + first, True, second)
        of_first = needed(there + of_second, bool(of_second), first)
        return of_first + of_second

    # Rules with few facts are often at fault: they are there first.
    rules = sorted(range(len(spec)), key=lambda number: len(domains[number]))
    return sorted(needed([], False, rules))


def _values(
    spec: Spec, inventory: Inventory, domains: Sequence[Sequence[int]], rules: Sequence[int]
) -> dict[str, dict[int, list[str]]]:
    """For each variable of several of the rules, the values by each rule's number."""
    values: dict[str, dict[int, list[str]]] = {}
    for number in rules:
        for element, term in enumerate(spec.rules[number]):
            if term.variable is not None:
                texts = [str(inventory.facts[fact][element]) for fact in domains[number]]
                values.setdefault(term.variable, {})[number + 1] = list(dict.fromkeys(texts))
    return {variable: by_rule for variable, by_rule in values.items() if len(by_rule) > 1}


def _by_rule(by_rule: dict[int, list[str]]) -> str:
    parts = []
    for number, texts in by_rule.items():
        shown = [repr(text) for text in texts[:_SHOWN]] + ['...'] * (len(texts) > _SHOWN)
        parts.append(f'{" or ".join(shown)} by rule {number}')
    return ', '.join(parts[:-1]) + (' and ' if len(parts) > 1 else '') + parts[-1]


def shown_fact(inventory: Inventory, fact: int) -> str:
    """A fact with its index."""
    return f'[{fact}] {inventory.facts[fact]!r}'


def _numbers(numbers: Sequence[int]) -> str:
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f'rules {numbers[0]} to {numbers[-1]}'
    texts = [str(number) for number in numbers]
    return (
        f'rules {", ".join(texts[:-1])} and {texts[-1]}' if len(texts) > 1 else f'rule {texts[0]}'
    )
