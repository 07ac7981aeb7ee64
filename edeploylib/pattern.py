"""How long a regular expression may take, told from its text alone.

Python's engine backtracks: a hostile value can keep ``(a+)+$`` busy for ever.
So each test is charged with its worst case before it is made, by the repeats
of the pattern and the length of the value, and a search that cannot afford it
gives up with an error instead.
"""

import re
from math import log2
from typing import NamedTuple

# More choices than this in a repeat count as any number of them.
_FEW = 10
# Steps of the engine that take as long as one step of a search.
_FAST = 50
# No search has as many steps.
_MOST = 1 << 62

_TOKEN = re.compile(r'\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?#[^)]*\)|[*+?]|\{\d*,?\d*\}|.', re.DOTALL)


class Growth(NamedTuple):
    """The worst case of a search in a text of length n: ``n**power * 2**bits`` steps.

    ``nested``: a repeat stands within another, and it is ``2**(n + 1)``.
    """

    power: int = 0
    bits: float = 0
    nested: bool = False

    def then(self, other: 'Growth') -> 'Growth':
        return Growth(
            self.power + other.power, self.bits + other.bits, self.nested or other.nested
        )

    def steps(self, length: int) -> int:
        """In steps of a search for facts, at least 1."""
        exponent = length + 1 if self.nested else self.power * log2(length + 1) + self.bits
        return int(2.0 ** min(exponent, 62)) // _FAST + 1


def trimmed(pattern: str) -> str:
    """The pattern without ``.*`` at its ends, which changes no search's answer."""
    if pattern.startswith('.*') and pattern[2:3] not in ('*', '+', '?', '{'):
        pattern = pattern[2:]
    before = pattern[:-2]
    escaped = (len(before) - len(before.rstrip('\\'))) % 2
    return before if pattern.endswith('.*') and not escaped else pattern


def growth(pattern: str) -> Growth:
    """The growth of ``re.search`` with a pattern that can be compiled."""
    open_groups = [Growth(power=1)]  # a search may start at each character
    last = Growth()  # of what a repeat would be of
    for token in _TOKEN.findall(pattern):
        if token == '(':
            open_groups.append(Growth())
            last = Growth()
        elif token == ')' and len(open_groups) > 1:
            last = open_groups.pop()
            open_groups[-1] = open_groups[-1].then(last)
        elif token[0] in '*+?' or (token[0] == '{' and len(token) > 2):
            open_groups[-1] = open_groups[-1].then(_repeated(last, *_bounds(token)))
            last = Growth(bits=1)
        else:
            open_groups[-1] = open_groups[-1].then(Growth(bits=token == '|'))
            last = Growth()
    return open_groups[-1]


def _bounds(repeat: str) -> tuple[int, int]:
    if repeat in ('*', '+', '?'):
        return 0, 1 if repeat == '?' else _MOST
    fewest, comma, most = repeat.strip('{}').partition(',')
    low = int(fewest or 0)
    return low, (int(most) if most else _MOST) if comma else low


def _repeated(inner: Growth, fewest: int, most: int) -> Growth:
    """What the repeat of something adds to it."""
    if most - fewest > _FEW:
        return Growth(power=1, nested=inner != Growth())
    more = max(most - 1, 0)
    return Growth(inner.power * more, inner.bits * more + log2(most - fewest + 1), inner.nested)
