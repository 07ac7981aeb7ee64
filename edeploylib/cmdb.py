"""The entries of one profile, a dict for each host to be, and who may have which.

file  = list | "generate(" dict ")" | file "+" file
"""

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from edeploylib.claims import Claim, Holders, canonical, find_holders, includes
from edeploylib.errors import CmdbError, ModelError, collected, raise_all
from edeploylib.generate import Entry, generate
from edeploylib.inventory import Scalar
from edeploylib.literal import Source, Value, decoded

_WIDTH = 79

# Characters, from which on a scan is worth more than its regular expressions.
_LONG = 1 << 12


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
        """Read a CMDB file.

        Raises CmdbError with the place of the first mistake, and with those in
        other entries as its ``others``.
        """
        text = decoded(text, origin, CmdbError)
        if len(text) > _LONG:
            from edeploylib.plain import plain_dicts

            plain = plain_dicts(text)
            if plain is not None:
                return cls(text, tuple(plain[0]), tuple(plain[1]))
        source = Source(text, origin, CmdbError)
        entries: list[Entry] = []
        spans: list[tuple[int, int]] | None = []
        mistakes: list[CmdbError] = []
        for part in summands(source.root):
            if isinstance(part, ast.Call):
                with collected(mistakes, CmdbError):
                    entries += _generated(part, source)
                spans = None
                continue
            for node in source.elements(part, 'entries'):
                with collected(mistakes, CmdbError):
                    if not isinstance(node, ast.Dict):
                        source.value(node)
                        source.fail('expected an entry, a dict', node)
                    entries.append(source.mapping(node))
                    if spans is not None:
                        spans.append(source.span(node))
        raise_all(mistakes)
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
            wanted = [index for index in wanted if includes(self.entries[index], keys)]
        if keys and not wanted:
            return NoEntry(f'no entry has {_shown(keys)}')
        mine = holders.index_of(machine)
        if mine is not None and mine in wanted:
            return mine
        candidates = [i for i in wanted if i not in holders.held and i not in holders.doubtful]
        for index in candidates:
            if variables and includes(self.entries[index], variables):
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
        """Who holds which entry, by what the ledger says."""
        return find_holders(self.entries, claims)

    def own(self, index: int, entry: Entry) -> list[str]:
        """The keys of an entry, at an index, whose values no other entry has."""
        others = (*self.entries[:index], *self.entries[index + 1 :])
        return [
            name
            for name, value in entry.items()
            if name != 'used' and value not in [other.get(name) for other in others]
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
        if canonical(entry) == canonical(self.entries[index]):
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
        newline = '\r\n' if '\r\n' in text else '\n'
        pieces = []
        behind = 0
        for index in sorted(self._edited, key=self._spans.__getitem__):
            start, end = self._spans[index]
            line = max(text.rfind('\n', 0, start), text.rfind('\r', 0, start)) + 1
            written = _written(self.entries[index], start - line).replace('\n', newline)
            pieces += [text[behind:start], written]
            behind = end
        return ''.join([*pieces, text[behind:]])

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f'<Cmdb of {len(self.entries)} entries>'


def summands(root: ast.expr) -> list[ast.expr]:
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
