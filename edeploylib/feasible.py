"""Can machines fill a state, all at once?  What is in the way, and which order would do."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import factorial

from edeploylib.flow import Network
from edeploylib.inventory import Inventory
from edeploylib.offers import Candidate, Group, Offer, Offers, find_offers
from edeploylib.orders import FAILS, REFUSED, prospects
from edeploylib.simulate import Files, simulate
from edeploylib.state import ANY, ProfileName, State

# Orders of the state that are tried on a model before one is tried for real.
_MOST_TRIED = 400
_REAL_TRIES = 5


@dataclass(frozen=True)
class Limit:
    """What keeps a profile from taking more: its quota, or the entries of its CMDB."""

    profile: ProfileName
    count: int
    label: str = ''
    is_quota: bool = True

    def __str__(self) -> str:
        if self.is_quota:
            return f'{self.profile} takes {self.count}'
        having = f' with {self.label}' if self.label else '' if self.count else ' for them'
        entries = _count(self.count, 'entr', 'y', 'ies') if self.count else 'no entry'
        return f'the CMDB of {self.profile} has {entries}{having}'


@dataclass(frozen=True)
class Crowd:
    """Machines that have too few places among them: these limits are all there is."""

    machines: tuple[int, ...]
    limits: tuple[Limit, ...]

    def __str__(self) -> str:
        count = len(self.machines)
        if not self.limits:
            return f'{_count(count, "machine")} {_match(count)} no profile that has quota'
        profiles = _listed(list(dict.fromkeys(limit.profile for limit in self.limits)))
        limits = ' and '.join(map(str, self.limits))
        places = sum(limit.count for limit in self.limits)
        together = f': {_count(places, "place")} in all' if places and len(self.limits) > 1 else ''
        return f'{_count(count, "machine")} {_match(count)} only {profiles}; {limits}{together}'


@dataclass(frozen=True)
class Want:
    """Profiles that want more machines than there are for them.

    ``machines`` match one of them, and are not limited by the entries that
    there are; ``entryless`` match and have none.
    """

    profiles: tuple[ProfileName, ...]
    wanted: int
    machines: tuple[int, ...]
    limits: tuple[Limit, ...] = ()
    entryless: int = 0

    def __str__(self) -> str:
        several = len(self.profiles) > 1
        wants = 'together want' if several else 'wants'
        count = len(self.machines)
        which = 'one of them' if several else 'it'
        matching = f'{count} {_match(count)} {which}'
        if self.limits:
            matching = ' and '.join(map(str, self.limits)) + (
                f', and {count} more {_match(count)} {which}' if count else ''
            )
        if self.entryless:
            matching += f', and {self.entryless} for which its CMDB has no entry'
        machines = _count(self.wanted, 'machine')
        return f'{_listed(self.profiles)} {wants} {machines}; {matching}'


@dataclass(frozen=True)
class Proposal:
    """An order of the state, tried with the real decision.

    ``any_arrival``: it is proved that it does whatever order the machines come in.
    """

    state: tuple[tuple[ProfileName, int | str], ...]
    placed: int
    filled: int
    any_arrival: bool


@dataclass(frozen=True)
class Feasibility:
    """``placed`` and ``filled`` are the most machines and units that one assignment can have.

    ``wanted`` are the units of all numeric quotas. ``now`` is what the state
    does as it is, and ``proposal`` the best order found if that is better.
    ``left_out`` are indices; ``errors`` are what machines would meet.
    """

    machines: int
    placed: int
    crowds: tuple[Crowd, ...]
    wanted: int
    filled: int
    wants: tuple[Want, ...]
    now: Proposal
    proposal: Proposal | None
    tried: int
    orders: int
    left_out: tuple[int, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def all_placed(self) -> bool:
        return self.placed == self.machines

    @property
    def all_filled(self) -> bool:
        return self.filled == self.wanted

    @property
    def reached(self) -> bool:
        """Whether some order of the state does all that an assignment can."""
        best = self.proposal or self.now
        return (best.placed, best.filled) == (self.placed, self.filled)


def feasible(
    files: Files,
    inventories: Sequence[Inventory],
    ignored_macs: Iterable[str] = (),
    told: Callable[[str], None] = lambda what: None,
) -> Feasibility:
    """Of these machines and this state; raises StateError and StoreError.

    An inventory of a machine that came before, and one that cannot be told
    from another, is left out.
    """
    ignored = frozenset(ignored_macs)
    told('matching')
    every = find_offers(files, inventories, ignored)
    left_out = [
        index
        for index, one in enumerate(every.candidates)
        if one.conflict is not None or any(twin < index for twin in one.twins)
    ]
    indices = [index for index in range(len(inventories)) if index not in set(left_out)]
    coming = [inventories[index] for index in indices]
    offers = find_offers(files, coming, ignored) if left_out else every
    told('flow')
    flow = _Flow(offers)
    wants = tuple(flow.wants(indices))
    flow.open_all()
    crowds = tuple(_together(flow.crowds(indices)))
    best = (flow.placed, flow.filled)
    now = _tried(files, offers, None, coming, ignored)
    told('orders of the state')
    proposal, tried = None, 1
    if (now.placed, now.filled) != best:
        proposal, tried = _search(files, offers, coming, ignored, flow, now)
    return Feasibility(
        machines=len(coming),
        placed=flow.placed,
        crowds=crowds,
        wanted=flow.wanted,
        filled=flow.filled,
        wants=wants,
        now=now,
        proposal=proposal,
        tried=tried,
        orders=factorial(len(offers.left)),
        left_out=tuple(left_out),
        errors=tuple(dict.fromkeys(str(one.error) for one in every.candidates if one.error)),
    )


class _Flow:
    """Source, machines, groups of entries, profiles, sink.

    Quotas with a number are filled first. What flows into them never flows
    back when the others are opened, so both counts are the most at once.
    """

    def __init__(self, offers: Offers) -> None:
        self._offers = offers
        self._profiles = list(offers.left)
        machines, groups = len(offers.candidates), len(offers.groups)
        self._first_group = 1 + machines
        self._first_profile = self._first_group + groups
        self._sink = self._first_profile + len(self._profiles)
        self._many = machines + 1
        self._network = network = Network(self._sink + 1)
        self._numbers = number = {
            name: self._first_profile + at for at, name in enumerate(self._profiles)
        }
        quotas = {name: offers.quota(name) for name in self._profiles}
        self.wanted = sum(quota for quota in quotas.values() if quota is not None)
        self._quotas = [
            network.edge(number[name], self._sink, quota or 0) for name, quota in quotas.items()
        ]
        self._entries = [
            network.edge(
                self._first_group + at,
                number[group.profile],
                self._many if group.all is None else group.all,
            )
            for at, group in enumerate(offers.groups)
        ]
        self._arrivals = [network.edge(0, 1 + at, 1) for at in range(machines)]
        self._taken = [
            [
                (name, network.edge(1 + at, self._first_group + group, 1))
                for name, offer in candidate.offers.items()
                if isinstance(offer, Offer)
                for group in offer.groups
            ]
            for at, candidate in enumerate(offers.candidates)
        ]
        self._users: list[set[int]] = [set() for _ in offers.groups]
        for at, candidate in enumerate(offers.candidates):
            for offer in candidate.offers.values():
                for group in offer.groups if isinstance(offer, Offer) else ():
                    self._users[group].add(at)
        self.filled = self.placed = network.fill(0, self._sink)

    def open_all(self) -> None:
        """Let the profiles without a numeric quota take the rest."""
        for name, edge in zip(self._profiles, self._quotas, strict=True):
            if self._offers.quota(name) is None:
                self._network.widen(edge, self._many)
        self.placed += self._network.fill(0, self._sink)

    def assignment(self) -> list[ProfileName | None]:
        return [
            next((name for name, edge in its if self._network.used(edge)), None)
            for its in self._taken
        ]

    def crowds(self, indices: Sequence[int]) -> Iterator[Crowd]:
        """Of the machines without a place, with those that they would have to displace."""
        seen = set()
        for at, arrival in enumerate(self._arrivals):
            if self._network.used(arrival) or at in seen:
                continue
            reached = self._network.reachable(1 + at, (0, self._sink))
            machines = sorted(node - 1 for node in reached if node < self._first_group)
            if not self._taken[at]:
                machines = [
                    one
                    for one, its in enumerate(self._taken)
                    if not its and not self._network.used(self._arrivals[one])
                ]
            seen.update(machines)
            yield Crowd(tuple(indices[one] for one in machines), _merged(self._limits(reached)))

    def _limits(self, reached: set[int]) -> Iterator[Limit]:
        for node in sorted(reached):
            if node >= self._first_profile:
                name = self._profiles[node - self._first_profile]
                yield Limit(name, self._offers.quota(name) or 0)
            elif node >= self._first_group:
                group = self._offers.groups[node - self._first_group]
                if self._numbers[group.profile] not in reached:
                    yield _entries(group)

    def wants(self, indices: Sequence[int]) -> Iterator[Want]:
        """Of the profiles that are not full, with those that would have to go without."""
        seen: set[ProfileName] = set()
        for at, name in enumerate(self._profiles):
            quota = self._offers.quota(name) or 0
            if name in seen or self._network.used(self._quotas[at]) == quota:
                continue
            reaching = self._network.reaching(self._first_profile + at, (0, self._sink))
            profiles = [
                other
                for number, other in enumerate(self._profiles)
                if self._first_profile + number in reaching
            ]
            seen.update(profiles)
            machines: set[int] = set()
            limits = []
            entryless = set()
            for number, group in enumerate(self._offers.groups):
                if group.profile not in profiles:
                    continue
                users = self._users[number]
                if group.all == 0:
                    entryless |= users
                elif self._first_group + number in reaching or len(users) <= (group.all or 0):
                    machines |= users
                else:
                    limits.append(_entries(group))
            wanted = sum(self._offers.quota(other) or 0 for other in profiles)
            its = tuple(indices[one] for one in sorted(machines))
            yield Want(tuple(profiles), wanted, its, _merged(limits), len(entryless - machines))


def _search(
    files: Files,
    offers: Offers,
    coming: Sequence[Inventory],
    ignored: frozenset[str],
    flow: _Flow,
    now: Proposal,
) -> tuple[Proposal | None, int]:
    """The best of some orders of the state, and how many were tried."""
    goal = (flow.placed, flow.filled)
    model = _Model(offers)
    best = now
    real = 0
    tried: dict[tuple[ProfileName, ...], tuple[int, int]] = {}
    for order in _orders(offers, flow, model, tried, goal):
        if tried[order] <= (best.placed, best.filled):
            continue
        real += 1
        found = _tried(files, offers, order, coming, ignored)
        if (found.placed, found.filled) > (best.placed, best.filled):
            best = found
        if real == _REAL_TRIES or (best.placed, best.filled) == goal:
            break
    return None if best is now else best, len(tried)


def _orders(
    offers: Offers,
    flow: _Flow,
    model: '_Model',
    tried: dict[tuple[ProfileName, ...], tuple[int, int]],
    goal: tuple[int, int],
) -> Iterator[tuple[ProfileName, ...]]:
    """Orders worth a real trial, the most promising first; notes all that the model tried."""

    def score(order: tuple[ProfileName, ...]) -> tuple[int, int]:
        if order not in tried:
            tried[order] = model.run(order)
        return tried[order]

    names = tuple(offers.left)
    starts = [names, _by_assignment(offers, flow.assignment(), names), _scarce_first(offers)]
    for start in starts:
        if score(start) == goal:
            yield start
    if factorial(len(names)) <= _MOST_TRIED:
        for order in permutations(names):
            score(order)
    else:
        for start in sorted(set(starts), key=score, reverse=True):
            _climb(start, score, tried, goal)
    yield from sorted(tried, key=lambda order: tried[order], reverse=True)[:_REAL_TRIES]


def _climb(
    order: tuple[ProfileName, ...],
    score: Callable[[tuple[ProfileName, ...]], tuple[int, int]],
    tried: dict[tuple[ProfileName, ...], tuple[int, int]],
    goal: tuple[int, int],
) -> None:
    """Move one profile after another to where it does best, as long as that helps."""
    is_better = True
    while is_better and score(order) != goal:
        is_better = False
        for moved in _moves(order):
            if len(tried) >= _MOST_TRIED:
                return
            if score(moved) > score(order):
                order, is_better = moved, True
                break


def _moves(order: tuple[ProfileName, ...]) -> Iterator[tuple[ProfileName, ...]]:
    for at, name in enumerate(order):
        rest = order[:at] + order[at + 1 :]
        for to in range(len(order)):
            if to != at:
                yield (*rest[:to], name, *rest[to:])


def _by_assignment(
    offers: Offers, assignment: Sequence[ProfileName | None], names: tuple[ProfileName, ...]
) -> tuple[ProfileName, ...]:
    """Each machine's profile of an assignment before the others that it matches.

    Where that goes in a circle, the profile goes first that fewest machines mind.
    """
    after: Counter[tuple[ProfileName, ProfileName]] = Counter()
    for candidate, mine in zip(offers.candidates, assignment, strict=True):
        for other in candidate.offers:
            if mine is not None and other != mine:
                after[mine, other] += 1
    left = list(names)
    order = []
    while left:
        # How many machines want another that is not placed yet before this one.
        first = min(left, key=lambda name: sum(after[other, name] for other in left))
        left.remove(first)
        order.append(first)
    return tuple(order)


def _scarce_first(offers: Offers) -> tuple[ProfileName, ...]:
    matching = Counter(name for one in offers.candidates for name in one.offers)
    return tuple(sorted(offers.left, key=lambda name: (offers.left[name] is None, matching[name])))


class _Model:
    """First come, first served, in numbers alone: fast, and nearly what is decided."""

    def __init__(self, offers: Offers) -> None:
        self._offers = offers
        self._free = [group.free for group in offers.groups]

    def run(self, order: Sequence[ProfileName]) -> tuple[int, int]:
        """How many machines an order of the state places, and units it fills."""
        left = dict(self._offers.left)
        free = list(self._free)
        placed = filled = 0
        for candidate in self._offers.candidates:
            name = self._first(candidate, order, left, free)
            if name is not None:
                placed += 1
                filled += self._offers.left[name] is not None
        return placed, filled

    def _first(
        self,
        candidate: Candidate,
        order: Sequence[ProfileName],
        left: dict[ProfileName, int | None],
        free: list[int | None],
    ) -> ProfileName | None:
        for name in order:
            offer = candidate.offers.get(name)
            units = left[name]
            if offer is None or not (units != 0 or (isinstance(offer, Offer) and offer.has_unit)):
                continue
            if not isinstance(offer, Offer):
                return None
            group = next((one for one in offer.groups if free[one] != 0), None)
            if not offer.has_entry and group is None:
                continue
            entries = None if group is None or offer.has_entry else free[group]
            if group is not None and entries is not None:
                free[group] = entries - 1
            if units is not None and not offer.has_unit:
                left[name] = units - 1
            held = candidate.held
            if held is not None and held.holds_unit and held.profile != name:
                given_back = left.get(held.profile)
                left[held.profile] = None if given_back is None else given_back + 1
            return name
        return None


def _tried(
    files: Files,
    offers: Offers,
    order: Sequence[ProfileName] | None,
    coming: Sequence[Inventory],
    ignored: frozenset[str],
) -> Proposal:
    """What an order of the state does, by the real decision; None is the order that it has."""
    quotas = files.state().quotas
    listed = tuple((name, quotas[name]) for name in order or quotas)
    tried = files if order is None else files.with_state(State.of(listed))
    fates, _ = simulate(tried, coming, ignored)
    placed = [fate.profile for fate in fates if fate.profile is not None]
    filled = sum(quotas[name] != ANY for name in placed)
    reordered = replace(offers, left={name: offers.left[name] for name, _ in listed})
    certain = all(
        one.is_certain and one.possible[0] not in (REFUSED, FAILS) for one in prospects(reordered)
    )
    return Proposal(listed, len(placed), filled, certain)


def _together(crowds: Iterable[Crowd]) -> Iterator[Crowd]:
    """One crowd of all the machines for which the same CMDBs have no entry."""
    without: dict[tuple[ProfileName, ...], list[Crowd]] = {}
    for crowd in crowds:
        if crowd.limits and not any(limit.count for limit in crowd.limits):
            without.setdefault(tuple(limit.profile for limit in crowd.limits), []).append(crowd)
        else:
            yield crowd
    for its in without.values():
        machines = tuple(machine for crowd in its for machine in crowd.machines)
        limits = (limit for crowd in its for limit in crowd.limits)
        yield its[0] if len(its) == 1 else Crowd(machines, _merged(limits))


def _entries(group: Group) -> Limit:
    return Limit(group.profile, group.all or 0, group.label, is_quota=False)


def _merged(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """One for each profile, for a reader who cannot be shown hundreds of keys."""
    by_profile: dict[ProfileName, list[Limit]] = {}
    for limit in limits:
        by_profile.setdefault(limit.profile, []).append(limit)
    return tuple(
        its[0] if len(its) == 1 else Limit(name, sum(one.count for one in its), is_quota=False)
        for name, its in by_profile.items()
    )


def _count(number: int, noun: str, one: str = '', many: str = 's') -> str:
    return f'{number} {noun}{one if number == 1 else many}'


def _match(count: int) -> str:
    return 'matches' if count == 1 else 'match'


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ''.join(names)
    return f'{", ".join(names[:-1])} and {names[-1]}'
