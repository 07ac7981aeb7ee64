"""How long a regular expression may take, told from its structure.

Python's engine backtracks: a hostile value can keep ``(a+)+$`` busy for ever.
So each test is charged with its worst case before it is made, by the pattern
and the length of the value, and a search that cannot afford it gives up with
an error instead.

A repeat costs little where what follows it can begin with no character that
the repeat could take: then only one length of it goes on. Where it can, every
length may be tried; and where such a repeat stands in another, every way to
cut the value up.
"""

import re
from math import factorial, log2
from typing import Any, NamedTuple

try:
    from re import _constants as op  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
except ImportError:  # before Python 3.11
    import sre_constants as op
    import sre_parse as parser

# More choices than this in a repeat count as any number of them.
_FEW = 10
# Steps of the engine that take as long as one step of a search: many, where it
# only runs along the value, few where it enters and leaves groups.
_FAST = 250
_SLOW = 10

# Sets of characters are bits: those of ASCII, and one for all others.
_OTHER = 1 << 128
_ALL = (1 << 129) - 1

_ZERO_WIDTH = {op.AT, op.ASSERT, op.ASSERT_NOT}
_REPEATS = {op.MAX_REPEAT, op.MIN_REPEAT, getattr(op, 'POSSESSIVE_REPEAT', None)}


class Growth(NamedTuple):
    """The worst case in a text of length n: ``n**power * 2**bits * base**n`` steps."""

    power: int = 0
    bits: float = 0
    base: int = 1

    def then(self, other: 'Growth') -> 'Growth':
        """Of both, where one may be tried again for each way of the other."""
        both_nested = self.base > 1 and other.base > 1
        return Growth(
            min(self.power + other.power + both_nested, 1000),
            min(self.bits + other.bits, 1000),
            max(self.base, other.base),
        )

    def steps(self, length: int) -> int:
        """In steps of a search for facts, at least 1."""
        exponent = self.power * log2(length + 1) + self.bits + log2(self.base) * length
        # Repeats in a row stop at places in order.
        exponent -= log2(factorial(min(self.power, 100)))
        speed = _FAST if self.base == 1 and self.bits <= _FEW else _SLOW
        return int(2.0 ** min(exponent, 62)) // speed + 1


def trimmed(pattern: str) -> str:
    """The pattern without ``.*`` at its ends, which changes no search's answer."""
    if pattern.startswith('.*') and pattern[2:3] not in ('*', '+', '?', '{'):
        pattern = pattern[2:]
    before = pattern[:-2]
    escaped = (len(before) - len(before.rstrip('\\'))) % 2
    return before if pattern.endswith('.*') and not escaped else pattern


def growth(pattern: str) -> Growth:
    """The growth of ``re.search`` with a pattern that can be compiled."""
    try:
        return _growth(pattern)
    except RecursionError:
        return Growth(power=1000)  # as nobody writes by hand


def _growth(pattern: str) -> Growth:
    tree = parser.parse(pattern)
    ignores = tree.state.flags & re.IGNORECASE or _has_flag(list(tree), re.IGNORECASE)
    nodes = _Nodes(ignore_case=bool(ignores))
    found = nodes.growth(list(tree), 0)
    starts = not (len(tree) and tree[0] == (op.AT, op.AT_BEGINNING))
    multiline = bool(tree.state.flags & re.MULTILINE)
    # A search may start at each character, and run along the value from there.
    return found.then(Growth(power=(starts or multiline) + nodes.runs))


class _Nodes:
    """The nodes of one pattern's tree."""

    def __init__(self, *, ignore_case: bool) -> None:
        self.ignore_case = ignore_case
        self.runs = False

    def growth(self, nodes: list[Any], follow: int) -> Growth:
        """Of nodes in a row, behind which stands one of the characters of ``follow``."""
        total = Growth()
        for number, (kind, argument) in enumerate(nodes):
            first, can_be_empty = self.first(nodes[number + 1 :])
            after = first | (follow if can_be_empty else 0)
            if kind in _REPEATS:
                fewest, most, item = argument
                total = total.then(self._repeat(int(fewest), int(most), list(item), after))
            elif kind is op.BRANCH:
                total = total.then(self._branch(argument[1], after))
            elif kind is op.GROUPREF:
                total = total.then(Growth(power=1))
            elif kind is op.GROUPREF_EXISTS:
                for branch in argument[1:]:
                    total = total.then(self.growth(list(branch or ()), after))
            else:
                inner = _inside(kind, argument)
                if inner is not None and kind in _ZERO_WIDTH:
                    # What is looked at may be run along again at each look.
                    runs, self.runs = self.runs, False
                    total = total.then(self.growth(inner, 0)).then(Growth(power=self.runs))
                    self.runs = runs
                elif inner is not None:
                    total = total.then(self.growth(inner, after))
        return total

    def _repeat(self, fewest: int, most: int, item: list[Any], after: int) -> Growth:
        choices = most - fewest + 1
        first, can_be_empty = self.first(item)
        ambiguous = bool(first & after) or can_be_empty
        inner = self.growth(item, first | after)
        self.runs = self.runs or (most > _FEW and not ambiguous)
        if most > _FEW and inner != Growth():
            return Growth(base=2 + self._branches(item))
        if inner != Growth():
            inner = Growth(inner.power * most, inner.bits * most, inner.base)
        # Many rounds, and rounds of a group, which cost more.
        rounds = log2(max(fewest, 1)) if fewest > _FEW else 0
        slow = log2(_FAST / _SLOW) if most > _FEW and not _is_character(item) else 0
        inner = inner.then(Growth(bits=rounds + slow))
        if not ambiguous:
            return inner
        return inner.then(Growth(power=1) if choices > _FEW else Growth(bits=log2(choices)))

    def _branches(self, nodes: list[Any]) -> int:
        """How many more ways than one the branches in some nodes give."""
        count = 0
        for kind, argument in nodes:
            if kind is op.BRANCH:
                count += len(argument[1]) - 1
                count += sum(self._branches(list(branch)) for branch in argument[1])
            else:
                count += self._branches(_inside(kind, argument) or [])
        return count

    def _branch(self, branches: Any, after: int) -> Growth:
        parts = [self.growth(list(branch), after) for branch in branches]
        seen = 0
        overlap = False
        for branch in branches:
            first, can_be_empty = self.first(list(branch))
            overlap = overlap or can_be_empty or bool(first & seen)
            seen |= first
        return Growth(
            max(part.power for part in parts),
            max(part.bits for part in parts) + (log2(len(parts)) if overlap else 0),
            max(part.base for part in parts),
        )

    def first(self, nodes: list[Any]) -> tuple[int, bool]:
        """The characters that nodes in a row can begin with; whether they can be empty."""
        found = 0
        for kind, argument in nodes:
            if kind is op.AT and argument in (op.AT_END, op.AT_END_STRING):
                return found | (1 << ord('\n')), False
            if kind in (op.ASSERT, op.ASSERT_NOT):
                found = _ALL  # a look ahead may fail behind anything
            if kind in _ZERO_WIDTH:
                continue
            first, can_be_empty = self._first_of(kind, argument)
            found |= first
            if not can_be_empty:
                return found, False
        return found, True

    def _first_of(self, kind: Any, argument: Any) -> tuple[int, bool]:
        """Of one node, as ``first``."""
        if kind in _REPEATS:
            first, can_be_empty = self.first(list(argument[2]))
            return first, can_be_empty or argument[0] == 0
        if kind is op.BRANCH:
            parts = [self.first(list(branch)) for branch in argument[1]]
            found = 0
            for part, _ in parts:
                found |= part
            return found, any(empty for _, empty in parts)
        inner = _inside(kind, argument)
        if inner is not None:
            return self.first(inner)
        if kind in (op.GROUPREF, op.GROUPREF_EXISTS):
            return _ALL, True
        return self._characters(kind, argument), False

    def _characters(self, kind: Any, argument: Any) -> int:
        """The characters that a node of one character stands for."""
        if kind is op.LITERAL:
            return self._folded(_bit(argument))
        if kind is op.NOT_LITERAL:
            return _ALL if self.ignore_case else (_ALL ^ _bit(argument)) | _OTHER
        if kind is not op.IN:
            return _ALL
        found = 0
        negated = False
        for inner, its in argument:
            if inner is op.NEGATE:
                negated = True
            elif inner is op.RANGE:
                low, high = its
                found |= sum(1 << code for code in range(low, min(high, 127) + 1))
                found |= _OTHER if high > 127 else 0
            elif inner is op.CATEGORY:
                found |= _category(its)
            else:
                found |= _bit(its)
        found = self._folded(found)
        return (_ALL ^ found) | _OTHER if negated else found

    def _folded(self, characters: int) -> int:
        if not self.ignore_case:
            return characters
        found = characters | _OTHER
        for code in range(128):
            if characters >> code & 1:
                found |= 1 << ord(chr(code).swapcase())
        return found


def _has_flag(nodes: list[Any], flag: int) -> bool:
    """Whether a group in some nodes sets a flag for itself."""
    for kind, argument in nodes:
        if kind is op.SUBPATTERN and argument[1] & flag:
            return True
        branches = argument[1] if kind is op.BRANCH else [_inside(kind, argument) or []]
        if any(_has_flag(list(branch), flag) for branch in branches):
            return True
    return False


def _is_character(nodes: list[Any]) -> bool:
    return len(nodes) == 1 and nodes[0][0] in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN)


def _inside(kind: Any, argument: Any) -> list[Any] | None:
    """The nodes within a group or a look around; None if the node is none."""
    if kind is op.SUBPATTERN:
        return list(argument[-1])
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return list(argument[1])
    if kind in _REPEATS:
        return list(argument[2])
    if kind is getattr(op, 'ATOMIC_GROUP', object):
        return list(argument)
    return None


def _bit(code: int) -> int:
    return 1 << code if code < 128 else _OTHER


def _category(category: Any) -> int:
    escapes = {
        op.CATEGORY_DIGIT: r'\d',
        op.CATEGORY_NOT_DIGIT: r'\D',
        op.CATEGORY_SPACE: r'\s',
        op.CATEGORY_NOT_SPACE: r'\S',
        op.CATEGORY_WORD: r'\w',
        op.CATEGORY_NOT_WORD: r'\W',
    }
    escape = escapes.get(category)
    if escape is None:
        return _ALL
    return _OTHER | sum(1 << code for code in range(128) if re.match(escape, chr(code)))
