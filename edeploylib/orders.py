"""What the order of arrivals changes: what can be proved, and what was only seen."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from edeploylib.errors import EdeployError
from edeploylib.offers import Candidate, Group, Offer, Offers
from edeploylib.simulate import Fate, Files, Simulation
from edeploylib.state import ProfileName

# What may become of a machine that gets no profile; no profile has such a name.
REFUSED = '/refused'
FAILS = '/error'


@dataclass
class Prospect:
    """What may become of a machine.

    ``possible`` has every outcome that an order could have, and perhaps some
    that none has; so a single one is proved. ``seen`` counts the orders that
    were tried, by their outcome.
    """

    candidate: Candidate
    possible: tuple[str, ...]
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def is_certain(self) -> bool:
        return len(self.possible) == 1


def prospects(offers: Offers) -> list[Prospect]:
    """Every outcome that each machine could have in some order of arrivals.

    Profile by profile in the order of the state: one that has a unit and an
    entry for each machine that could still come to it keeps them all, so that
    none of them goes further.
    """
    possible: list[list[str]] = [[] for _ in offers.candidates]
    coming = {index for index, one in enumerate(offers.candidates) if not one.is_refused}
    for profile in offers.left:
        if offers.quota(profile) == 0:
            continue
        coming -= _kept(offers, profile, coming, possible)
    for index, candidate in enumerate(offers.candidates):
        if candidate.is_refused:
            possible[index] = [FAILS]
        elif index in coming:
            possible[index].append(REFUSED)
        if candidate.twins and FAILS not in possible[index]:
            # Who came first decides what the ledger knows of the other.
            possible[index].append(FAILS)
    return [
        Prospect(candidate, tuple(its))
        for candidate, its in zip(offers.candidates, possible, strict=True)
    ]


def _kept(
    offers: Offers, profile: ProfileName, coming: set[int], possible: list[list[str]]
) -> set[int]:
    """Note the outcomes that one profile adds; those that go no further."""
    here = {
        index: offer
        for index in coming
        if (offer := offers.candidates[index].offers.get(profile)) is not None
        and (isinstance(offer, EdeployError) or offers.has_entry(offer))
    }
    takers = {
        index: _lasting(offers.candidates[index], offer)
        for index, offer in here.items()
        if isinstance(offer, Offer)
    }
    demand = sum(not offer.has_unit for offer in takers.values())
    wanted = Counter(group for one in takers.values() if not one.has_entry for group in one.groups)
    left = offers.left[profile]
    kept = set()
    for index in here:
        offer = takers.get(index)
        if offer is None:
            possible[index].append(FAILS)
            # Unless others can spend the quota first.
            is_kept = left is None or left > demand
        else:
            pool = offer.groups[-1]
            possible[index].append(profile)
            if profile in offers.unclear:
                possible[index].append(FAILS)
            is_kept = (
                (left is None or left >= demand or offer.has_unit)
                and (offer.has_entry or _is_ample(offers.groups[pool], wanted[pool]))
                and profile not in offers.unclear
            )
        if is_kept:
            kept.add(index)
    return kept


def _lasting(candidate: Candidate, offer: Offer) -> Offer:
    """What a machine holds is its own until it comes; if it comes twice, perhaps no longer."""
    return replace(offer, has_unit=False, has_entry=False) if candidate.twins else offer


def _is_ample(group: Group, wanted: int) -> bool:
    return group.free is None or group.free >= wanted


def contested(offers: Offers) -> list[tuple[ProfileName, int, int]]:
    """The profiles that more machines match than they can take, with both numbers."""
    found = []
    for profile in offers.left:
        takers = [
            offer
            for candidate in offers.candidates
            if isinstance(offer := candidate.offers.get(profile), Offer)
            and offers.has_entry(offer)
        ]
        numbers = {number for offer in takers for number in offer.groups}
        entries = [offers.groups[number].all for number in numbers]
        limits = [offers.quota(profile)]
        if takers and None not in entries:
            limits.append(sum(count or 0 for count in entries))
        capacity = min((limit for limit in limits if limit is not None), default=None)
        if capacity is not None and len(takers) > capacity:
            found.append((profile, len(takers), capacity))
    return found


def outcome(fate: Fate) -> str:
    if fate.decision is None:
        return FAILS
    return fate.profile or REFUSED


def try_orders(
    files: Files,
    found: Sequence[Prospect],
    orders: Iterable[Sequence[int]],
    ignored_macs: Iterable[str] = (),
    told: Callable[[int], None] = lambda count: None,
) -> None:
    """Note what is seen of each machine when it comes first, and in each of the orders."""
    world = Simulation(files, ignored_macs)
    for prospect in found:
        prospect.seen[outcome(world.decide(prospect.candidate.inventory))] += 1
    for number, order in enumerate(orders, 1):
        world = Simulation(files, ignored_macs)
        for index in order:
            fate = world.upload(found[index].candidate.inventory)
            found[index].seen[outcome(fate)] += 1
        told(number)
