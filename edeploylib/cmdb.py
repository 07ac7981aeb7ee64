"""The entries of one profile, a dict for each host to be, and who may have which.

file  = list | "generate(" dict ")" | file "+" file
"""

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from edeploylib.errors import CmdbError, ModelError
from edeploylib.generate import Entry, generate
from edeploylib.inventory import Scalar
from edeploylib.literal import Source, Value, decoded, read
from edeploylib.plain import plain_dicts

_WIDTH = 79

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


class NoEntry(NamedTuple):
    """Why a machine cannot have any entry."""

    reason: str


class Cmdb:
    """Entries in the order of the file.

    ``is_synthetic``: whether the text has ``generate()``, and so is to be
    written out in its regular form, and kept as it was beside it.
    """

    __slots__ = ('_edited', '_spans', 'entries', 'is_synthetic', 'text')

    entries: tuple[Entry, ...]
    text: str
    is_synthetic: bool

    def __init__(
        self,
        text: str,
        entries: tuple[Entry, ...],
        spans: tuple[tuple[int, int], ...] | None,
        edited: frozenset[int] = frozenset(),
    ) -> None:
        self.text = text
        self.entries = entries
        self.is_synthetic = spans is None
        self._spans = spans
        self._edited = edited

    @classmethod
    def parse(cls, text: str | bytes, origin: str = '<cmdb>') -> 'Cmdb':
        """Read a CMDB file; raises CmdbError with the place of the mistake."""
        text = decoded(text, origin, CmdbError)
        plain = plain_dicts(text)
        if plain is not None:
            return cls(text, tuple(plain[0]), tuple(plain[1]))
        source = Source(text, origin, CmdbError)
        entries: list[Entry] = []
        spans: list[tuple[int, int]] | None = []
        for part in _summands(source.root):
            if isinstance(part, ast.Call):
                entries += _generated(part, source)
                spans = None
                continue
            for node in source.elements(part, 'entries'):
                if not isinstance(node, ast.Dict):
                    source.value(node)
                    source.fail('expected an entry, a dict', node)
                entries.append(source.mapping(node))
                if spans is not None:
                    spans.append(source.span(node))
        return cls(source.text, tuple(entries), None if spans is None else tuple(spans))

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Value]]) -> 'Cmdb':
        """The CMDB of entries that are there already."""
        try:
            text = _regular([dict(entry) for entry in entries])
        except (TypeError, ValueError, RecursionError, AttributeError) as broken:
            raise CmdbError(f'expected a list of dicts: {broken}') from None
        return cls.parse(text)

    def find(
        self,
        variables: Mapping[str, Scalar],
        keys: Mapping[str, Scalar],
        machine: int = 0,
        claims: Iterable[Claim] | Holders = (),
    ) -> int | NoEntry:
        """The index of the entry that a machine gets, or why it gets none.

        ``claims`` are what the known machines hold, this one included.
        Candidates are the entries equal in all the keys (without keys, all of
        them), less those that another machine holds.  Of these, the first that
        the machine holds; else that includes all the variables, if there are
        any; else that has no ``used``; else, with keys, that is used by no
        machine that is known.
        """
        holders = claims if isinstance(claims, Holders) else self.holders(claims)
        wanted: Sequence[int] = range(len(self.entries))
        if keys:
            wanted = [index for index in wanted if _includes(self.entries[index], keys)]
        if keys and not wanted:
            return NoEntry(f'no entry has {_shown(keys)}')
        mine = holders.index_of(machine)
        if mine is not None and mine in wanted:
            return mine
        candidates = [i for i in wanted if i not in holders.held and i not in holders.doubtful]
        for index in candidates:
            if variables and _includes(self.entries[index], variables):
                return index
        for index in candidates:
            if not self.entries[index].get('used'):
                return index
        if keys and candidates:
            return candidates[0]
        having = f' has {_shown(keys)} and is free' if keys else ' left'
        used = sum(bool(self.entries[index].get('used')) for index in wanted)
        held = f', {len(wanted) - used} more held by known machines' * (used < len(wanted))
        return NoEntry(f'no entry{having}: {used} of {len(wanted)} used{held}')

    def holders(self, claims: Iterable[Claim]) -> Holders:
        """Who holds which entry; an entry has one holder, and a claim one entry.

        The entry that a claim means is as the claim left it. Where the operator
        has edited it since, it has most of what was the claim's own. Of entries
        that nothing tells apart, it is the one that stands there and has all
        that the claim found.
        """
        held: dict[int, int] = {}
        edited = self._as_left(claims, held)
        if not edited:
            return Holders(held, {})
        doubtful: dict[int, set[int]] = {}
        for claim in self._told_apart(edited, held, doubtful):
            if self._stands_alike(claim) and claim.position not in held:
                held[claim.position] = claim.machine
                continue
            # It is gone; or it is one of those that are used by somebody like it.
            wrote = _wrote(claim)
            for index, entry in enumerate(self.entries):
                if index not in held and wrote and 'used' in entry and _includes(entry, wrote):
                    doubtful.setdefault(index, set()).add(claim.machine)
        return Holders(
            held,
            {index: frozenset(its) for index, its in doubtful.items() if index not in held},
        )

    def _as_left(self, claims: Iterable[Claim], held: dict[int, int]) -> list[Claim]:
        """Note the claims whose entries nobody has edited; return the others."""
        left = []
        there = len(self.entries)
        for claim in claims:
            index = claim.position
            if 0 <= index < there and repr(self.entries[index]) == claim.after_text:
                held[index] = claim.machine
            else:
                left.append(claim)
        # Then wherever they stand, and with their items in any order.
        for text_of_entry, text_of_claim in (
            (repr, lambda claim: claim.after_text),
            (_canonical, lambda claim: _canonical(claim.after)),
        ):
            if left:
                left = self._same_text(left, text_of_entry, text_of_claim, held)
        return left

    def _same_text(
        self,
        claims: list[Claim],
        text_of_entry: Callable[[Entry], str],
        text_of_claim: Callable[[Claim], str],
        held: dict[int, int],
    ) -> list[Claim]:
        by_text: dict[str, list[Claim]] = {}
        for claim in claims:
            by_text.setdefault(text_of_claim(claim), []).append(claim)
        there: dict[str, list[int]] = {}
        for index, entry in enumerate(self.entries):
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
        self, claims: list[Claim], held: dict[int, int], doubtful: dict[int, set[int]]
    ) -> list[Claim]:
        """Note the claims that know something that one entry alone has.

        Returns those of which nothing of their own is left anywhere.
        """
        items = {claim.machine: _own_items(claim) for claim in claims}
        claims_with = Counter(
            item for claim in claims for item in _items(claim.before) | _items(claim.after)
        )
        entries_with: dict[Item, list[int]] = {item: [] for item in claims_with}
        for index, entry in enumerate(self.entries):
            for item in _items(entry):
                if item in entries_with:
                    entries_with[item].append(index)
        # Of each claim, the entries that have most of what is its own.
        hits: dict[int, set[int]] = {}
        for claim in claims:
            own = (entries_with[item] for item in items[claim.machine] if claims_with[item] == 1)
            score = Counter(its[0] for its in own if len(its) == 1 and its[0] not in held)
            most = max(score.values(), default=0)
            hits[claim.machine] = {index for index, count in score.items() if count == most}
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

    def _stands_alike(self, claim: Claim) -> bool:
        found = _found(claim)
        return 0 <= claim.position < len(self.entries) and bool(
            found and _includes(self.entries[claim.position], found)
        )

    def own(self, index: int, entry: Entry) -> list[str]:
        """The keys of an entry, at an index, whose values no other entry has."""
        others = (*self.entries[:index], *self.entries[index + 1 :])
        return [
            name
            for name, value in entry.items()
            if name != 'used' and not any(other.get(name) == value for other in others)
        ]

    def give(self, index: int, variables: Mapping[str, Scalar]) -> 'Cmdb':
        """With the entry updated by a machine's variables and marked as used."""
        return self._with(index, {**self.entries[index], **variables, 'used': 1})

    def release(self, index: int, claim: Claim) -> 'Cmdb':
        """With an entry as it was before the claim; what was edited since stays."""
        entry, before = dict(self.entries[index]), claim.before
        for name, value in claim.after.items():
            if name in entry and entry[name] == value:
                if name in before:
                    entry[name] = before[name]
                else:
                    del entry[name]
        return self._with(index, entry)

    def _with(self, index: int, entry: Entry) -> 'Cmdb':
        if _canonical(entry) == _canonical(self.entries[index]):
            return self
        entries = (*self.entries[:index], entry, *self.entries[index + 1 :])
        return Cmdb(self.text, entries, self._spans, self._edited | {index})

    @property
    def is_changed(self) -> bool:
        """Whether ``render`` gives another text than the one that was read."""
        return self.is_synthetic or bool(self._edited)

    def render(self) -> str:
        """The file's text: only the entries that have changed are written anew.

        A synthetic file is written out in its regular form.
        """
        if self._spans is None:
            return _regular(self.entries)
        text = self.text
        for index in sorted(self._edited, key=self._spans.__getitem__, reverse=True):
            start, end = self._spans[index]
            line = max(text.rfind('\n', 0, start), text.rfind('\r', 0, start)) + 1
            newline = '\r\n' if '\r\n' in text else '\n'
            written = _written(self.entries[index], start - line).replace('\n', newline)
            text = text[:start] + written + text[end:]
        return text

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f'<Cmdb of {len(self.entries)} entries>'


def _summands(root: ast.expr) -> list[ast.expr]:
    """file "+" file, from left to right."""
    parts = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            waiting += [node.right, node.left]
        else:
            parts.append(node)
    return parts


def _generated(call: ast.Call, source: Source) -> list[Entry]:
    if not (isinstance(call.func, ast.Name) and call.func.id == 'generate'):
        source.elements(call, 'entries', 'entries that are computed are those of generate({...})')
    if len(call.args) != 1 or call.keywords:
        source.fail('expected generate({...}) with one dict', call)
    model = call.args[0]
    if not isinstance(model, ast.Dict):
        source.value(model)
        source.fail('expected a dict as the argument of generate()', model)
    try:
        return generate(source.mapping(model))
    except ModelError as broken:
        source.fail(broken.message, model)


def _includes(entry: Mapping[str, Value], wanted: Mapping[str, Value]) -> bool:
    """Whether all that is wanted stands in the entry, compared by text."""
    return all(name in entry and _same(entry[name], value) for name, value in wanted.items())


def _same(left: Value, right: Value) -> bool:
    if isinstance(left, list | tuple | dict) or isinstance(right, list | tuple | dict):
        return left == right
    return str(left) == str(right)


def _entry_of(text: str) -> Entry:
    return cast(Entry, read(text, 'a claim', CmdbError))


def _canonical(entry: Entry) -> str:
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


def _shown(keys: Mapping[str, Scalar]) -> str:
    return ' and '.join(f'{name}={value!r}' for name, value in keys.items())


def _regular(entries: Sequence[Entry]) -> str:
    if not entries:
        return '[]\n'
    return '[\n ' + ',\n '.join(_written(entry, 1) for entry in entries) + '\n]\n'


def _written(entry: Entry, column: int) -> str:
    """A dict in one line if it fits, else with a line for each of its keys."""
    items = [f'{name!r}: {value!r}' for name, value in entry.items()]
    in_line = '{' + ', '.join(items) + '}'
    if column + len(in_line) < _WIDTH:
        return in_line
    return '{' + (',\n' + ' ' * (column + 1)).join(items) + '}'
