"""Who holds which entry of a CMDB: the ledger's word, held against the operator's file."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from edeploylib.errors import CmdbError
from edeploylib.generate import Entry
from edeploylib.literal import Value, read

# A key and the text of its value.
Item = tuple[str, str]


class Claim(NamedTuple):
    """What the ledger says of an entry that a machine holds.

    ``before`` is the entry as it was, ``after`` as the machine's upload left
    it, each kept as its text; ``position`` is the index where it stood, and
    ``own`` the keys whose values no other entry had.
    """

    machine: int
    before_text: str
    after_text: str
    position: int = -1
    own_text: str = '[]'

    @classmethod
    def of(
        cls,
        machine: int,
        before: Entry,
        after: Entry,
        position: int = -1,
        own: Iterable[str] = (),
    ) -> 'Claim':
        return cls(machine, repr(before), repr(after), position, repr(list(own)))

    @property
    def own(self) -> set[str]:
        return set(cast(list[str], read(self.own_text, 'a claim', CmdbError)))

    @property
    def before(self) -> Entry:
        return _entry_of(self.before_text)

    @property
    def after(self) -> Entry:
        return _entry_of(self.after_text)


class Holders(NamedTuple):
    """Who holds what, by an entry's index.

    ``doubtful`` are entries of which edits have left unclear which of these
    machines holds them: nobody else may have them.
    """

    held: Mapping[int, int]
    doubtful: Mapping[int, frozenset[int]]

    def index_of(self, machine: int) -> int | None:
        return next((index for index, holder in self.held.items() if holder == machine), None)


def find_holders(entries: Sequence[Entry], claims: Iterable[Claim]) -> Holders:
    """Who holds which entry; an entry has one holder, and a claim one entry.

    The entry that a claim means is as the claim left it. Where the operator
    has edited it since, it has most of what was the claim's own. Of entries
    that nothing tells apart, it is the one that stands there and has all
    that the claim found.
    """
    held: dict[int, int] = {}
    edited = _as_left(entries, claims, held)
    if not edited:
        return Holders(held, {})
    doubtful: dict[int, set[int]] = {}
    used: dict[Item, list[int]] = {}
    for claim in _told_apart(entries, edited, held, doubtful):
        if _stands_alike(entries, claim) and claim.position not in held:
            held[claim.position] = claim.machine
            continue
        # It is gone; or it is one of those that are used by somebody like it.
        wrote = _wrote(claim)
        used = used or _by_item(entries)
        for index in _with_any(wrote, used):
            if index not in held and includes(entries[index], wrote):
                doubtful.setdefault(index, set()).add(claim.machine)
    return Holders(
        held,
        {index: frozenset(its) for index, its in doubtful.items() if index not in held},
    )


def _as_left(
    entries: Sequence[Entry], claims: Iterable[Claim], held: dict[int, int]
) -> list[Claim]:
    """Note the claims whose entries nobody has edited; return the others."""
    left = []
    there = len(entries)
    for claim in claims:
        index = claim.position
        if 0 <= index < there and repr(entries[index]) == claim.after_text:
            held[index] = claim.machine
        else:
            left.append(claim)
    # Then wherever they stand, and with their items in any order.
    for text_of_entry, text_of_claim in (
        (repr, lambda claim: claim.after_text),
        (canonical, lambda claim: canonical(claim.after)),
    ):
        if left:
            left = _same_text(entries, left, text_of_entry, text_of_claim, held)
    return left


def _same_text(
    entries: Sequence[Entry],
    claims: list[Claim],
    text_of_entry: Callable[[Entry], str],
    text_of_claim: Callable[[Claim], str],
    held: dict[int, int],
) -> list[Claim]:
    by_text: dict[str, list[Claim]] = {}
    for claim in claims:
        by_text.setdefault(text_of_claim(claim), []).append(claim)
    there: dict[str, list[int]] = {}
    for index, entry in enumerate(entries):
        # What a claim has left is used.
        if 'used' in entry and index not in held:
            text = text_of_entry(entry)
            if text in by_text:
                there.setdefault(text, []).append(index)
    edited = []
    for text, alike in by_text.items():
        indices = there.get(text, [])
        moved = []
        for claim in alike:
            if claim.position in indices:
                indices.remove(claim.position)
                held[claim.position] = claim.machine
            else:
                moved.append(claim)
        for claim, index in zip(moved, indices, strict=False):
            held[index] = claim.machine
        edited += moved[len(indices) :]
    return edited


def _told_apart(
    entries: Sequence[Entry],
    claims: list[Claim],
    held: dict[int, int],
    doubtful: dict[int, set[int]],
) -> list[Claim]:
    """Note the claims that know something that one entry alone has.

    Returns those of which nothing of their own is left anywhere.
    """
    items = {claim.machine: _own_items(claim) for claim in claims}
    claims_with = Counter(
        item for claim in claims for item in _items(claim.before) | _items(claim.after)
    )
    entries_with: dict[Item, list[int]] = {item: [] for item in claims_with}
    for index, entry in enumerate(entries):
        for item in _items(entry):
            if item in entries_with:
                entries_with[item].append(index)
    scores = {}
    for claim in claims:
        own = (entries_with[item] for item in items[claim.machine] if claims_with[item] == 1)
        scores[claim.machine] = Counter(
            its[0] for its in own if len(its) == 1 and its[0] not in held
        )
    hits = _best(scores)
    claimed = Counter(index for its in hits.values() for index in its)
    lost = []
    for claim in claims:
        its = hits[claim.machine]
        if len(its) == 1 and all(claimed[index] == 1 for index in its):
            held[its.pop()] = claim.machine
        elif its:
            for index in its:
                doubtful.setdefault(index, set()).add(claim.machine)
        else:
            lost.append(claim)
    return lost


def _best(scores: Mapping[int, Counter[int]]) -> dict[int, set[int]]:
    """Of each claim, the entries that have most of what is its own.

    One that has less of an entry than another has nothing of it.
    """
    most = {machine: max(score.values(), default=0) for machine, score in scores.items()}
    best: dict[int, int] = {}
    for score in scores.values():
        for index, count in score.items():
            best[index] = max(best.get(index, 0), count)
    return {
        machine: {
            index
            for index, count in score.items()
            if count == most[machine] and count == best[index]
        }
        for machine, score in scores.items()
    }


def _by_item(entries: Sequence[Entry]) -> dict[Item, list[int]]:
    """The used entries by each of their items."""
    found: dict[Item, list[int]] = {}
    for index, entry in enumerate(entries):
        if 'used' in entry:
            for name, value in entry.items():
                found.setdefault((name, str(value)), []).append(index)
    return found


def _with_any(wanted: Entry, by_item: Mapping[Item, list[int]]) -> list[int]:
    """The entries that have the item, of those wanted, that the fewest have."""
    lists = (by_item.get((name, str(value)), []) for name, value in wanted.items())
    return min(lists, key=len, default=[])


def _stands_alike(entries: Sequence[Entry], claim: Claim) -> bool:
    found = _found(claim)
    return 0 <= claim.position < len(entries) and bool(
        found and includes(entries[claim.position], found)
    )


def includes(entry: Mapping[str, Value], wanted: Mapping[str, Value]) -> bool:
    """Whether all that is wanted stands in the entry, compared by text."""
    # Most entries lack a name, which is seen at once.
    return wanted.keys() <= entry.keys() and all(
        _same(entry[name], value) for name, value in wanted.items()
    )


def _same(left: Value, right: Value) -> bool:
    if isinstance(left, list | tuple | dict) or isinstance(right, list | tuple | dict):
        return left == right
    return str(left) == str(right)


def _entry_of(text: str) -> Entry:
    return cast(Entry, read(text, 'a claim', CmdbError))


def canonical(entry: Entry) -> str:
    """An entry's text, whatever the order of its items."""
    return repr(sorted(entry.items()))


def _items(entry: Entry) -> set[Item]:
    return {(name, repr(value)) for name, value in entry.items() if name != 'used'}


def _own_items(claim: Claim) -> set[Item]:
    own = claim.own
    return {item for item in _items(claim.before) | _items(claim.after) if item[0] in own}


def _found(claim: Claim) -> Entry:
    """What a claim found in its entry and left as it was."""
    after = claim.after
    return {
        name: value
        for name, value in claim.before.items()
        if name != 'used' and name in after and after[name] == value
    }


def _wrote(claim: Claim) -> Entry:
    """What a claim wrote into its entry."""
    found = _found(claim)
    return {
        name: value for name, value in claim.after.items() if name != 'used' and name not in found
    }
