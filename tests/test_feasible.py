"""What any order of arrivals could do, and what all machines could have at once."""

from contextlib import suppress
from itertools import combinations, permutations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from edeploylib.errors import EdeployError
from edeploylib.feasible import feasible
from edeploylib.flow import Network
from edeploylib.identity import keys_of
from edeploylib.inventory import Inventory
from edeploylib.match import match
from edeploylib.offers import find_offers
from edeploylib.orders import FAILS, REFUSED, contested, outcome, prospects, try_orders
from edeploylib.select import FAILED
from edeploylib.simulate import Files, simulate
from edeploylib.store.snapshot import Snapshot
from test_simulate import CMDBS, SPECS, box, boxes, states

edges = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 4)), max_size=12)


@given(edges)
def test_the_flow_is_that_of_the_smallest_cut(drawn: list[tuple[int, int, int]]) -> None:
    network = Network(6)
    numbers = [network.edge(*edge) for edge in drawn]
    sent = network.fill(0, 5)
    assert network.fill(0, 5) == 0
    inner = [set(some) | {0} for size in range(5) for some in combinations(range(1, 5), size)]
    cuts = [sum(c for a, b, c in drawn if a in cut and b not in cut) for cut in inner]
    assert sent == min(cuts)
    assert all(0 <= network.used(n) <= edge[2] for n, edge in zip(numbers, drawn, strict=True))
    for node in range(1, 5):
        out = sum(
            network.used(n) for n, edge in zip(numbers, drawn, strict=True) if edge[0] == node
        )
        back = sum(
            network.used(n) for n, edge in zip(numbers, drawn, strict=True) if edge[1] == node
        )
        assert out == back
    reached = network.reachable(0)
    assert 5 not in reached
    assert sum(c for a, b, c in drawn if a in reached and b not in reached) == sent


def files(state: list[tuple[str, object]], **more: str) -> Files:
    texts = {'state': repr(state)}
    for name, text in {**SPECS, **more}.items():
        texts[f'{name}.specs'] = text
        texts[f'{name}.configure'] = ''
    texts |= {f'{name}.cmdb': text for name, text in CMDBS.items()}
    return Files(Snapshot('memory', {name: text.encode() for name, text in texts.items()}))


def later(there: Files, known: list[Inventory], has_failed: bool) -> Files:
    """The files and the ledger after some uploads, and perhaps the failure of the first."""
    _, world = simulate(there, known)
    state = world.state()
    machines, held = {}, {}
    for inventory in known:
        for machine in world.machines(keys_of(inventory)):
            assignment = world.assignment(machine)
            machines[machine.id] = machine
            if assignment:
                held[machine.id] = assignment
    if has_failed and held:
        first = min(held)
        state = state.give_back(held[first].profile)
        held[first] = held[first]._replace(status=FAILED)
    texts = {**there.snapshot.texts, 'state': state.render().encode()}
    for profile in state.quotas:
        with suppress(EdeployError):
            cmdb = world.cmdb(profile)
            if cmdb:
                texts[f'{profile}.cmdb'] = cmdb.render().encode()
    return Files(
        Snapshot('memory', texts, tuple(machines.values()), tuple(held.values()), len(machines))
    )


@settings(max_examples=100)
@given(
    state=states,
    known=st.lists(boxes, max_size=3),
    has_failed=st.booleans(),
    coming=st.lists(boxes, min_size=1, max_size=4),
)
def test_what_is_proved_of_any_order_holds_in_every_order(
    state: list[tuple[str, object]],
    known: list[Inventory],
    has_failed: bool,
    coming: list[Inventory],
) -> None:
    there = later(files(state), known, has_failed)
    found = prospects(find_offers(there, coming))
    for order in permutations(range(len(coming))):
        fates, _ = simulate(there, [coming[index] for index in order])
        for index, fate in zip(order, fates, strict=True):
            assert outcome(fate) in found[index].possible
    try_orders(there, found, [range(len(coming))])
    assert all(set(one.seen) <= set(one.possible) and one.seen.total() == 2 for one in found)


@settings(max_examples=40)
@given(state=states, known=st.lists(boxes, max_size=3), coming=st.lists(boxes, max_size=4))
def test_what_a_state_is_said_to_do_it_does_not_surpass(
    state: list[tuple[str, object]], known: list[Inventory], coming: list[Inventory]
) -> None:
    """Of machines that hold something too: a simulation never places more than the most."""
    there = later(files(state), known, False)
    found = feasible(there, coming)
    told = [inventory for index, inventory in enumerate(coming) if index not in found.left_out]
    fates, _ = simulate(there, told)
    assert found.now.placed == sum(fate.profile is not None for fate in fates)
    assert found.now.placed <= found.placed
    assert found.now.filled <= found.filled
    if found.now.any_arrival:
        assert found.now.placed == found.machines


def test_what_nobody_contests_is_proved() -> None:
    """And what depends on the order is not."""
    there = files([('tagged', 2), ('small', 1), ('any', 0)])
    coming = [box('S1', 3, 1), box('S3', 3, 2), box('S8', 1, 3), box('S9', 1, 4), box('S7', 3, 5)]
    offers = find_offers(there, coming)
    assert [one.possible for one in prospects(offers)] == [
        ('tagged',),
        ('tagged',),
        ('small', REFUSED),
        ('small', REFUSED),
        (REFUSED,),
    ]
    assert contested(offers) == [('small', 2, 1)]
    twice = prospects(find_offers(there, [box('S1', 3, 1), box('S2', 3, 1)]))
    assert all(FAILS in one.possible for one in twice)
    broken = prospects(find_offers(files([('broken', 1), ('any', 1)]), coming))
    assert all(one.possible == (FAILS,) for one in broken)


def most(state: list[tuple[str, object]], coming: list[Inventory]) -> tuple[int, int]:
    """The most machines and the most units at once, by trying all assignments."""
    quotas = dict(state)
    there = files(state)
    choices = []
    for inventory in coming:
        its: list[tuple[str, object] | None] = [None]
        for profile, quota in quotas.items():
            if quota == 0 or profile == 'broken':
                continue
            found = match(there.spec(profile), inventory)  # type: ignore[arg-type]
            if found is None:
                continue
            cmdb = there.cmdb(profile)  # type: ignore[arg-type]
            entries = enumerate(cmdb.entries) if cmdb else [(None, {})]
            its += [
                (profile, index)
                for index, entry in entries
                if all(str(entry.get(name)) == str(value) for name, value in found.keys.items())
            ]
        choices.append(its)
    placed = filled = 0
    for chosen in product(*choices):
        given = [one for one in chosen if one is not None]
        entries = [one for one in given if one[1] is not None]
        counts = {name: sum(one[0] == name for one in given) for name in quotas}
        if len(set(entries)) == len(entries) and all(
            quota == '*' or counts[name] <= quota  # type: ignore[operator]
            for name, quota in quotas.items()
        ):
            placed = max(placed, len(given))
            filled = max(filled, sum(quotas[one[0]] != '*' for one in given))
    return placed, filled


@settings(max_examples=60)
@given(
    state=states, tags=st.lists(st.tuples(st.sampled_from('13579'), st.integers(1, 3)), max_size=4)
)
def test_the_most_at_once_is_that_of_all_assignments(
    state: list[tuple[str, object]], tags: list[tuple[str, int]]
) -> None:
    """And what an order of the state is said to do, it does."""
    coming = [box(f'S{tag}', size, n) for n, (tag, size) in enumerate(dict(tags).items(), 1)]
    found = feasible(files(state), coming)
    assert (found.placed, found.filled) == most(state, coming)
    assert (found.all_placed, found.all_filled) == (not found.crowds, not found.wants)
    for crowd in found.crowds:
        assert len(crowd.machines) > sum(limit.count for limit in crowd.limits)
    for want in found.wants:
        assert want.wanted > len(want.machines) + sum(limit.count for limit in want.limits)
        matching = {
            index
            for index, inventory in enumerate(coming)
            for profile in want.profiles
            if profile != 'broken' and match(files(state).spec(profile), inventory)
        }
        if not want.limits:
            assert matching.issuperset(want.machines)
            assert len(matching) == len(want.machines) + want.entryless
    for said in filter(None, (found.now, found.proposal)):
        fates, _ = simulate(files(list(said.state)), coming)
        names = [fate.profile for fate in fates if fate.profile]
        assert said.placed == len(names)
        assert said.filled == sum(dict(said.state)[name] != '*' for name in names)


BIG = "[('disk', '$disk', 'size', 'ge(2)')]"
HUGE = "[('disk', '$disk', 'size', 'ge(3)')]"


def test_an_order_of_the_state_that_does_is_found() -> None:
    """The choosy profile must come before the one that takes all."""
    coming = [box(f'S{n}', size, n) for n, size in enumerate((3, 3, 2, 1), 10)]
    found = feasible(files([('any', 2), ('big', 1), ('huge', 1)], big=BIG, huge=HUGE), coming)
    assert (found.now.placed, found.now.filled) == (3, 3)
    assert found.proposal
    assert (found.proposal.placed, found.proposal.filled, found.reached) == (4, 4, True)
    names = [name for name, _ in found.proposal.state]
    assert names.index('any') == 2


def test_an_order_is_found_among_many_profiles() -> None:
    """Of ten, in the worst order: more orders than could be tried."""
    specs = {f'p{n}': f"[('disk', '$disk', 'size', 'ge({n})')]" for n in range(1, 11)}
    coming = [box(f'M{n}', n, n) for n in range(1, 11)]
    found = feasible(files([(name, 1) for name in specs], **specs), coming[::-1])
    assert found.now.placed < 10
    assert found.proposal and found.proposal.placed == 10
    assert found.proposal.any_arrival


def test_the_bottleneck_is_told_in_words() -> None:
    coming = [box(f'S{n}', size, n) for n, size in enumerate((3, 3, 3, 1), 10)]
    found = feasible(files([('huge', 1), ('big', 1)], big=BIG, huge=HUGE), coming)
    assert list(map(str, found.crowds)) == [
        '3 machines match only huge and big; huge takes 1 and big takes 1: 2 places in all',
        '1 machine matches no profile that has quota',
    ]
    found = feasible(files([('tagged', 2), ('small', 4)]), [*coming, box('S1', 2, 1)])
    assert list(map(str, found.crowds)) == [
        '3 machines match only tagged; the CMDB of tagged has no entry for them'
    ]
    alone = feasible(files([('tagged', 2)]), [box('S9', 2, 1)])
    assert list(map(str, alone.crowds)) == [
        "1 machine matches only tagged; the CMDB of tagged has no entry with tag='S9'"
    ]
    assert list(map(str, found.wants)) == [
        'tagged wants 2 machines; 1 matches it, and 3 for which its CMDB has no entry',
        'tagged and small together want 6 machines; 2 match one of them, and 3 for which its CMDB has no entry',
    ]
    found = feasible(files([('small', 4), ('any', 1)]), [box(f'S{n}', 1, n) for n in range(1, 6)])
    assert list(map(str, found.wants)) == [
        'small wants 4 machines; the CMDB of small has 3 entries'
    ]


def test_a_machine_that_comes_twice_counts_once() -> None:
    found = feasible(files([('any', 2)]), [box('S1', 1, 1), box('S1', 2, 1)])
    assert (found.machines, found.left_out, found.filled) == (1, (1,), 1)
