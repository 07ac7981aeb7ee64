"""Does a machine satisfy a spec, and with which of its facts?

``python -m edeploylib.match HW SPEC`` answers on the command line.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from edeploylib.errors import SearchLimitExceeded
from edeploylib.inventory import Inventory, Scalar
from edeploylib.search import Exhausted, Meter, first
from edeploylib.spec import Rule, Spec
from edeploylib.term import Literal, Test, growth_of, test_of

# Looks at a fact or a value in one search, a second or two of work.  An
# ordinary match takes one or two for each rule.
BUDGET = 4_000_000


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
    possible fact.  The search is complete; when it would take more than
    ``budget`` steps it raises SearchLimitExceeded.

    Lists of tuples are read as a spec or an inventory first, and raise
    SpecError and InventoryError.
    """
    spec = spec if isinstance(spec, Spec) else Spec.of(spec)
    inventory = inventory if isinstance(inventory, Inventory) else Inventory.of(inventory)
    plan, index = _plan(spec), _index(inventory)
    # What no fact has in its place ends it at once, as it does for most profiles.
    for mask, key in plan.keys:
        if index.lacks(mask, key):
            return None
    meter = Meter(budget)
    try:
        chosen = _in_order(plan, index, meter)
        if chosen is None:
            chosen = _in_any_order(plan, index, meter)
    except Exhausted as exhausted:
        raise _gave_up(spec, budget, exhausted.rules) from None
    except MemoryError:
        raise _gave_up(spec, budget, ()) from None
    if chosen is None:
        return None
    facts = inventory.facts
    variables = {name: facts[chosen[rule]][element] for name, rule, element in plan.captures}
    return Match(variables, {name: variables[name] for name in plan.key_names}, tuple(chosen))


def candidates(spec: Spec, inventory: Inventory, rule: int, budget: int = BUDGET) -> list[int]:
    """The facts that one rule of a spec, by its index, would allow if it were alone.

    Raises SearchLimitExceeded.
    """
    step, index = _plan(spec).steps[rule], _index(inventory)
    try:
        return _domain(step, index, Meter(budget))
    except Exhausted as exhausted:
        raise _gave_up(spec, budget, exhausted.rules) from None


def _gave_up(spec: Spec, budget: int, rules: Sequence[int]) -> SearchLimitExceeded:
    hardest = ''.join(f'; rule {rule + 1}: {spec.rules[rule]}' for rule in rules[:3])
    return SearchLimitExceeded(
        f'gave up after {budget} steps{hardest and ", mostly at " + hardest[2:]}',
        hint='more literals in these rules leave fewer facts to try; a regular expression '
        'with a repeat within a repeat is costly on long values',
    )


# Elements of a fact that are looked up together, e.g. (0, 2).
Mask = tuple[int, ...]


# Nearly all rules name these two.
_BASE: Mask = (0, 2)


class _Index:
    """An inventory's facts by the texts of some of their elements.

    A table costs a look at each fact. So facts are sought among those of the
    same category and property until that has cost as much as a table would.
    """

    def __init__(self, inventory: Inventory) -> None:
        names = list(zip(*inventory.facts, strict=True)) or [(), (), (), ()]
        values = [value if type(value) is str else str(value) for value in names[3]]
        self.columns: list[Sequence[str]] = [*names[:3], values]
        self.size = len(values)
        self._tables: dict[Mask, Mapping[object, Sequence[int]]] = {(): {(): range(self.size)}}
        self._sought: defaultdict[Mask, int] = defaultdict(int)

    def lacks(self, mask: Mask, key: object) -> bool:
        """Whether it is known that no fact has these texts."""
        table = self._tables.get(mask)
        return table is not None and key not in table

    def facts(self, mask: Mask, texts: Sequence[str]) -> Sequence[int]:
        """The facts that have these texts as these elements, in order."""
        table = self._tables.get(mask)
        if table is None:
            if mask != _BASE and self._sought[mask] < self.size:
                return self._seek(mask, texts)
            table = self._built(mask)
        return table.get(_key(texts), ())

    def _seek(self, mask: Mask, texts: Sequence[str]) -> Sequence[int]:
        wanted = list(zip(mask, texts, strict=True))
        found: Sequence[int] = range(self.size)
        if mask[0] == 0 and 2 in mask:
            at = mask.index(2)
            found = self.facts(_BASE, (texts[0], texts[at]))
            # Not what else is wanted of these elements, by a variable behind a literal.
            del wanted[at], wanted[0]
        self._sought[mask] += len(found) + 1
        for element, text in wanted:
            column = self.columns[element]
            found = [fact for fact in found if column[fact] == text]
        return found

    def _built(self, mask: Mask) -> Mapping[object, Sequence[int]]:
        table: defaultdict[object, list[int]] = defaultdict(list)
        columns = [self.columns[element] for element in mask]
        keys: Iterable[object] = columns[0] if len(mask) == 1 else zip(*columns, strict=True)
        for number, key in enumerate(keys):
            table[key].append(number)
        self._tables[mask] = table
        return table


class _Check(NamedTuple):
    """A test of one element; ``steps`` is what it costs by the text's length, if much."""

    element: int
    holds: Test
    steps: Callable[[int], int] | None


class _Step(NamedTuple):
    """A rule, as it is tried in the order of the spec.

    ``own`` are the elements with a literal, and ``texts`` these literals.
    ``mask`` are the elements known when the rule's turn comes, and ``parts``,
    if they are more, the literals and the names of variables that earlier
    rules have captured. ``alike`` are pairs of elements that a variable ties
    within the rule, ``captures`` its variables that are new.
    """

    rule: int
    own: Mask
    texts: tuple[str, ...]
    mask: Mask
    parts: tuple[tuple[str, bool], ...]
    checks: tuple[_Check, ...]
    alike: tuple[tuple[int, int], ...]
    captures: tuple[tuple[str, int], ...]


class _Plan(NamedTuple):
    """A compiled spec.

    ``keys`` are the masks and keys of all its literals; ``captures`` has for
    each variable the rule and element of its value; ``links`` the rules and
    elements of each variable that stands in several rules.
    """

    steps: tuple[_Step, ...]
    keys: tuple[tuple[Mask, object], ...]
    captures: tuple[tuple[str, int, int], ...]
    key_names: tuple[str, ...]
    links: tuple[tuple[tuple[int, int], ...], ...]


def _index(inventory: Inventory) -> _Index:
    index = inventory.memo
    if not isinstance(index, _Index):
        index = inventory.memo = _Index(inventory)
    return index


def _plan(spec: Spec) -> _Plan:
    plan = spec.memo
    if not isinstance(plan, _Plan):
        plan = spec.memo = _compiled(spec.rules)
    return plan


def _compiled(rules: Sequence[Rule]) -> _Plan:
    places: dict[str, dict[int, int]] = {}
    key_names: dict[str, None] = {}
    steps = []
    for number, rule in enumerate(rules):
        steps.append(_step(number, rule, places))
        for element, term in enumerate(rule):
            if term.variable is not None:
                places.setdefault(term.variable, {}).setdefault(number, element)
                if term.is_key:
                    key_names[term.variable] = None
    keys = dict.fromkeys((step.own, _key(step.texts)) for step in steps if step.own)
    return _Plan(
        tuple(steps),
        tuple(keys),
        tuple((name, *next(iter(found.items()))) for name, found in places.items()),
        tuple(key_names),
        tuple(tuple(found.items()) for found in places.values() if len(found) > 1),
    )


def _step(number: int, rule: Rule, bound: Mapping[str, object]) -> _Step:
    mask: list[int] = []
    parts: list[tuple[str, bool]] = []
    own: list[int] = []
    literals: list[str] = []
    checks = []
    alike = []
    seen: dict[str, int] = {}
    here: dict[str, int] = {}
    for element, term in enumerate(rule):
        expression = term.expression
        if isinstance(expression, Literal):
            own.append(element)
            literals.append(expression.text)
            mask.append(element)
            parts.append((expression.text, False))
        elif expression is not None:
            checks.append(_Check(element, test_of(expression), growth_of(expression)))
        if term.variable is None:
            continue
        if term.variable in seen:
            alike.append((seen[term.variable], element))
        seen.setdefault(term.variable, element)
        if term.variable in bound:
            # Behind a literal too: the same element is then looked up as both.
            mask.append(element)
            parts.append((term.variable, True))
        else:
            here.setdefault(term.variable, element)
    return _Step(
        number,
        tuple(own),
        tuple(literals),
        tuple(mask),
        tuple(parts) if len(mask) > len(own) else (),
        tuple(checks),
        tuple(alike),
        tuple(here.items()),
    )


def _key(texts: Sequence[str]) -> object:
    return texts[0] if len(texts) == 1 else tuple(texts)


def _in_order(plan: _Plan, index: _Index, meter: Meter) -> list[int] | None:
    """Rules in order, each taking the earliest fact that the ones before it leave.

    If none is stuck, that is the first assignment. None if one is.
    """
    columns = index.columns
    bound: dict[str, str] = {}
    chosen: list[int] = []
    used = set()
    for step in plan.steps:
        texts: Sequence[str] = step.texts
        if step.parts:
            texts = [bound[text] if is_variable else text for text, is_variable in step.parts]
        for fact in index.facts(step.mask, texts):
            if fact not in used and _holds(step, fact, columns, meter):
                break
        else:
            return None
        chosen.append(fact)
        used.add(fact)
        for name, element in step.captures:
            bound[name] = columns[element][fact]
    return chosen


def _holds(step: _Step, fact: int, columns: Sequence[Sequence[str]], meter: Meter) -> bool:
    """Whether the rule's tests hold, and its own variables have one value."""
    try:
        meter.spend(1)
        for check in step.checks:
            text = columns[check.element][fact]
            if not (check.holds(text) if check.steps is None else _tested(check, text, meter)):
                return False
    except Exhausted:
        raise Exhausted([step.rule]) from None
    return all(columns[left][fact] == columns[right][fact] for left, right in step.alike)


def _tested(check: _Check, text: str, meter: Meter) -> bool:
    """A costly test, made once for a text."""
    known = meter.tested.get((check, text))
    if known is None:
        assert check.steps is not None
        meter.spend(check.steps(len(text)))
        known = meter.tested[check, text] = check.holds(text)
    return known


def _domain(step: _Step, index: _Index, meter: Meter) -> list[int]:
    facts = index.facts(step.own, step.texts)
    return [fact for fact in facts if _holds(step, fact, index.columns, meter)]


def _in_any_order(plan: _Plan, index: _Index, meter: Meter) -> list[int] | None:
    """The first assignment, by a search that looks ahead."""
    domains = []
    for step in plan.steps:
        domain = _domain(step, index, meter)
        if not domain:
            return None
        domains.append(domain)
    columns = index.columns
    links = [[(rule, columns[element]) for rule, element in link] for link in plan.links]
    return first(domains, links, meter)


if __name__ == '__main__':
    import sys

    from edeploylib.cli.match import main

    sys.exit(main())
