"""The search behind matching: rules and facts as numbers.

Each rule has a domain, the facts that could serve it. Facts differ between
rules, and *links* tie rules together: a link is a variable that stands in
several rules, which must all have facts of one value.

Domains and sets of values are bits of integers, lowest first, so that the
order of bits is the order of facts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

# A link: each of its rules, and the value of every fact.
Link = Sequence[tuple[int, Sequence[str]]]


class Exhausted(Exception):
    """The meter ran out; ``rules`` failed most often, the first the most."""

    def __init__(self, rules: list[int]) -> None:
        super().__init__()
        self.rules = rules


class Meter:
    """Steps left: one is about the look at one fact or value.

    ``tested`` keeps what has been paid for.
    """

    __slots__ = ('left', 'tested')

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.tested: dict[object, bool] = {}

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise Exhausted([])


def first(
    domains: Sequence[Sequence[int]], links: Iterable[Link], meter: Meter
) -> list[int] | None:
    """The first choice of a fact for each rule, in the order of rules and facts.

    None if there is none. Raises Exhausted when the meter has run out.
    """
    failures = [1] * len(domains)
    links = list(links)
    try:
        narrowed = _narrowed(domains, links, meter)
        if not all(narrowed):
            return None
        # If no rule is stuck on what is left, that is the first choice.
        return (
            _in_order(narrowed, links, meter) or _Problem(narrowed, links, meter, failures).first()
        )
    except Exhausted:
        rules = sorted(range(len(failures)), key=lambda rule: -failures[rule])
        raise Exhausted(rules) from None


class _Node(NamedTuple):
    """A state of the search: the domain of each rule, the values that each
    link may still have, and a choice of different facts, one for each rule."""

    domains: list[int]
    values: list[int]
    chosen: list[int]

    def copy(self) -> '_Node':
        return _Node(self.domains.copy(), self.values.copy(), self.chosen.copy())


class _Problem:
    def __init__(
        self,
        domains: Sequence[Sequence[int]],
        links: Iterable[Link],
        meter: Meter,
        failures: list[int],
    ) -> None:
        self.meter = meter
        self.facts = sorted({fact for domain in domains for fact in domain})
        position = {fact: number for number, fact in enumerate(self.facts)}
        # An operation on a set of thousands of facts costs more than a step.
        self.weight = 1 + len(self.facts) // 512
        meter.spend(len(domains) * self.weight)
        self.start = [
            _bits_of((position[fact] for fact in domain), len(self.facts)) for domain in domains
        ]
        self.failures = failures
        # For each link, its rules and for each value the facts that have it.
        self.holders: list[list[tuple[int, list[int]]]] = []
        # For each rule, its links and the bit of each fact's value.
        self.links_of: list[list[tuple[int, list[int], dict[int, int]]]] = [[] for _ in domains]
        for number, link in enumerate(links):
            self._add(number, link, domains, position)

    def _add(
        self,
        number: int,
        link: Link,
        domains: Sequence[Sequence[int]],
        position: Mapping[int, int],
    ) -> None:
        bits: dict[str, int] = {}
        for rule, values in link:
            # Each value has a set of facts of its own, and each fact adds to one.
            self.meter.spend(len(domains[rule]) * self.weight)
            for fact in domains[rule]:
                bits.setdefault(values[fact], len(bits))
        holders = []
        for rule, values in link:
            self.meter.spend(len(bits))
            having = [0] * len(bits)
            bit_of: dict[int, int] = {}
            for fact in domains[rule]:
                bit = bits[values[fact]]
                having[bit] |= 1 << position[fact]
                bit_of[position[fact]] = bit
            holders.append((rule, having))
            self.links_of[rule].append((number, having, bit_of))
        self.holders.append(holders)

    def first(self) -> list[int] | None:
        everything = [(1 << len(holders[0][1])) - 1 for holders in self.holders]
        node = _Node(self.start.copy(), everything, [0] * len(self.start))
        if not self._propagate(node, range(len(self.start))):
            return None
        # Groups that share neither a fact nor an open link are solved apart,
        # small ones first: a no of one of them is a no of all.
        answer: dict[int, int] = {}
        for group in sorted(self._groups(node), key=lambda rules: (len(rules), rules)):
            found = self._first_of(group, node)
            if found is None:
                return None
            answer.update(found)
        return [self.facts[answer[rule].bit_length() - 1] for rule in range(len(self.start))]

    def _groups(self, node: _Node) -> list[list[int]]:
        groups: list[tuple[int, set[int], list[int]]] = []
        for rule, domain in enumerate(node.domains):
            open_links = {
                link for link, _, _ in self.links_of[rule] if not _is_single(node.values[link])
            }
            apart = []
            rules = [rule]
            for facts, links, members in groups:
                if facts & domain or links & open_links:
                    domain |= facts
                    open_links |= links
                    rules += members
                else:
                    apart.append((facts, links, members))
            groups = [*apart, (domain, open_links, rules)]
        return [sorted(rules) for _, _, rules in groups]

    def _first_of(self, group: list[int], node: _Node) -> dict[int, int] | None:
        """The first solution of a group, by asking for each smaller one whether it is one."""
        witness = self._solve(group, node)
        if witness is None:
            return None
        for rule in group:
            if _is_single(node.domains[rule]):
                continue
            for fact in _bits(node.domains[rule]):
                trial = self._with(node, rule, fact)
                if trial is None:
                    continue
                if fact == witness[rule]:
                    node = trial
                    break
                better = self._solve(group, trial)
                if better is not None:
                    node, witness = trial, better
                    break
        return {rule: witness[rule] for rule in group}

    def _solve(self, group: list[int], node: _Node) -> list[int] | None:
        """Any solution of a group: the fact of each rule."""
        untried: list[tuple[_Node, int, int]] = []
        current: _Node | None = node
        while True:
            if current is not None:
                rule = self._open_rule(group, current)
                if rule is None:
                    return current.chosen
                fact = _lowest(current.domains[rule])
                untried.append((current, rule, fact))
                current = self._with(current, rule, fact)
            elif untried:
                before, rule, fact = untried.pop()
                current = self._without(before, rule, fact)
            else:
                return None

    def _open_rule(self, group: list[int], node: _Node) -> int | None:
        """The rule to decide next: few facts, and often at fault before.

        None if no link is open: then different facts are all that it takes.
        """
        best = None
        least = 0.0
        for rule in group:
            domain = node.domains[rule]
            if _is_single(domain) or all(
                _is_single(node.values[link]) for link, _, _ in self.links_of[rule]
            ):
                continue
            weight = domain.bit_count() / self.failures[rule]
            if best is None or weight < least:
                best, least = rule, weight
        return best

    def _with(self, node: _Node, rule: int, fact: int) -> _Node | None:
        trial = node.copy()
        trial.domains[rule] = fact
        return trial if self._propagate(trial, (rule,)) else None

    def _without(self, node: _Node, rule: int, fact: int) -> _Node | None:
        trial = node.copy()
        trial.domains[rule] &= ~fact
        if not trial.domains[rule]:
            return None
        return trial if self._propagate(trial, (rule,)) else None

    def _propagate(self, node: _Node, changed: Iterable[int]) -> bool:
        """Drop what cannot be until nothing is left to drop; False if a rule has nothing left."""
        waiting = dict.fromkeys(changed)
        while waiting:
            while waiting:
                rule = next(iter(waiting))
                del waiting[rule]
                self.meter.spend(self.weight)
                failed = self._apart(node, rule, waiting)
                if failed is None:
                    failed = self._linked(node, rule, waiting)
                if failed is not None:
                    self.failures[failed] += 1
                    return False
            if not self._different(node, waiting):
                return False
        return True

    def _apart(self, node: _Node, rule: int, waiting: dict[int, None]) -> int | None:
        """A rule's only fact is no other's; the rule that this leaves without any, or None."""
        domain = node.domains[rule]
        if not domain:
            return rule
        if not _is_single(domain):
            return None
        for other, theirs in enumerate(node.domains):
            if other != rule and theirs & domain:
                node.domains[other] = theirs ^ domain
                if theirs == domain:
                    return other
                waiting[other] = None
        return None

    def _linked(self, node: _Node, rule: int, waiting: dict[int, None]) -> int | None:
        """The values that a rule still has are those of its links; as ``_apart``."""
        for link, having, bit_of in self.links_of[rule]:
            domain = node.domains[rule]
            allowed = node.values[link]
            if _is_single(domain):
                left = allowed & (1 << bit_of[domain.bit_length() - 1])
            else:
                left = sum(bit for bit in _bits(allowed) if having[bit.bit_length() - 1] & domain)
                self.meter.spend(allowed.bit_count() * self.weight)
            if left == allowed:
                continue
            if not left:
                return rule
            node.values[link] = left
            numbers = [bit.bit_length() - 1 for bit in _bits(left)]
            for other, theirs in self.holders[link]:
                facts = 0
                for number in numbers:
                    facts |= theirs[number]
                facts &= node.domains[other]
                if facts != node.domains[other]:
                    if not facts:
                        return other
                    node.domains[other] = facts
                    waiting[other] = None
        return None

    def _different(self, node: _Node, waiting: dict[int, None]) -> bool:
        """Choose different facts, by a matching, and drop what is in none.

        Rules that have only facts of each other leave none of these to the rest.
        """
        domains, chosen = node.domains, node.chosen
        owner: dict[int, int] = {}
        unmatched = []
        for rule, fact in enumerate(chosen):
            if fact & domains[rule] and fact not in owner:
                owner[fact] = rule
            else:
                unmatched.append(rule)
        taken = sum(owner)
        for rule in unmatched:
            path = self._augmented(domains, owner, taken, rule)
            if not path:
                self.failures[rule] += 1
                return False
            for changed, fact in path:
                owner[fact] = changed
                chosen[changed] = fact
                taken |= fact
        self._drop_unmatchable(node, owner, taken, waiting)
        return True

    def _augmented(
        self, domains: list[int], owner: dict[int, int], taken: int, rule: int
    ) -> list[tuple[int, int]]:
        """Who changes to which fact so that the rule gets one; [] if there is no way."""
        came_by: dict[int, tuple[int, int]] = {}
        seen = 0
        queue = [rule]
        for current in queue:
            self.meter.spend(self.weight)
            free = domains[current] & ~taken
            if free:
                path = [(current, _lowest(free))]
                while current != rule:
                    current, fact = came_by[current]
                    path.append((current, fact))
                return path
            for fact in _bits(domains[current] & ~seen):
                holder = owner[fact]
                if holder != rule:
                    came_by[holder] = (current, fact)
                    queue.append(holder)
            seen |= domains[current]
        return []

    def _drop_unmatchable(
        self, node: _Node, owner: dict[int, int], taken: int, waiting: dict[int, None]
    ) -> None:
        domains, chosen = node.domains, node.chosen
        # Rules that can change to a free fact, at once or by way of another rule.
        tight = {rule for rule in owner.values() if not domains[rule] & ~taken}
        if not tight:
            return
        mobile = 0
        for rule, fact in enumerate(chosen):
            if rule not in tight:
                mobile |= fact
        moved = True
        while moved:
            moved = False
            for rule in [rule for rule in tight if domains[rule] & mobile & ~chosen[rule]]:
                tight.discard(rule)
                mobile |= chosen[rule]
                moved = True
            self.meter.spend(len(domains))
        # What is left has facts of its own circle alone, in circles of
        # exchange: it keeps those of its circle, the others lose them.
        kept = self._circles(domains, chosen, tight)
        held = sum(chosen[rule] for rule in tight)
        for rule, domain in enumerate(domains):
            left = domain & (kept[rule] if rule in tight else ~held)
            if left != domain:
                domains[rule] = left
                waiting[rule] = None

    def _circles(self, domains: list[int], chosen: list[int], rules: set[int]) -> dict[int, int]:
        """For each rule, the facts of the rules with which it can exchange its own."""
        reach = {rule: chosen[rule] for rule in rules}
        at = {chosen[rule]: rule for rule in rules}
        held = sum(at)
        for rule in rules:
            self.meter.spend(len(rules) * self.weight)
            frontier = domains[rule] & held
            seen = chosen[rule] | frontier
            while frontier:
                fact = _lowest(frontier)
                more = domains[at[fact]] & held & ~seen
                seen |= more
                frontier = (frontier ^ fact) | more
            reach[rule] = seen
        return {
            rule: sum(fact for fact in _bits(reach[rule]) if reach[at[fact]] & chosen[rule])
            for rule in rules
        }


def _narrowed(
    domains: Sequence[Sequence[int]], links: Sequence[Link], meter: Meter
) -> list[Sequence[int]]:
    """Domains without facts whose value another rule of a link never has."""
    narrowed = list(domains)
    waiting = dict.fromkeys(range(len(links)))
    while waiting:
        number = next(iter(waiting))
        del waiting[number]
        link = links[number]
        meter.spend(sum(len(narrowed[rule]) for rule, _ in link))
        common = set.intersection(
            *({values[fact] for fact in narrowed[rule]} for rule, values in link)
        )
        for rule, values in link:
            left = [fact for fact in narrowed[rule] if values[fact] in common]
            if len(left) < len(narrowed[rule]):
                narrowed[rule] = left
                waiting.update(
                    (other, None)
                    for other, its in enumerate(links)
                    if other != number and any(rule == one for one, _ in its)
                )
    return narrowed


def _in_order(
    domains: Sequence[Sequence[int]], links: Sequence[Link], meter: Meter
) -> list[int] | None:
    """Each rule's earliest fact that the rules before it leave; None if one is stuck."""
    links_of: list[list[tuple[int, Sequence[str]]]] = [[] for _ in domains]
    for number, link in enumerate(links):
        for rule, values in link:
            links_of[rule].append((number, values))
    bound: dict[int, str] = {}
    chosen: list[int] = []
    used: set[int] = set()
    for rule, domain in enumerate(domains):
        tied = [(values, bound[number]) for number, values in links_of[rule] if number in bound]
        meter.spend(len(domain) if tied else 1)
        for fact in domain:
            if fact not in used and all(values[fact] == text for values, text in tied):
                break
        else:
            return None
        chosen.append(fact)
        used.add(fact)
        bound.update((number, values[fact]) for number, values in links_of[rule])
    return chosen


def _bits_of(positions: Iterable[int], size: int) -> int:
    """The number with these bits, without as many numbers in between."""
    data = bytearray(size // 8 + 1)
    for position in positions:
        data[position >> 3] |= 1 << (position & 7)
    return int.from_bytes(data, 'little')


def _is_single(bits: int) -> bool:
    return not bits & (bits - 1)


def _lowest(bits: int) -> int:
    return bits & -bits


def _bits(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest
        bits ^= lowest
