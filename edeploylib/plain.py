"""Lists of plain dicts, read without a syntax tree.

A CMDB of 100,000 entries would have a tree of a gigabyte. So what is certain to
mean to Python what it says, and that is what the server writes itself, is read
by scanning; all else is left to the tree, mistakes included.
"""

import re
from typing import cast

from edeploylib.literal import Value

_SPACE = r'(?:[ \t\r\n]|#[^\r\n\x00]*[\r\n])*'
_KEY = r"""'[^'\\\x00-\x1f\ud800-\udfff]*'|"[^"\\\x00-\x1f\ud800-\udfff]*\""""
_SCALAR = rf'{_KEY}|-?(?:0|[1-9][0-9]{{0,17}})|True|False|None'
_PAIR = rf'{_SPACE}({_KEY}){_SPACE}:{_SPACE}({_SCALAR}){_SPACE}'
_ITEMS = re.compile(rf'{_PAIR}[,}}]')
_ITEM = _PAIR.replace('(', '(?:').replace('(?:?:', '(?:')
_DICT = re.compile(rf'\{{(?:({_ITEM}(?:,{_ITEM})*)|{_SPACE})\}}')
_OPEN = re.compile(rf'\ufeff?{_SPACE}\[{_SPACE}')
_BETWEEN = re.compile(rf'{_SPACE},{_SPACE}')
_CLOSE = re.compile(rf'{_SPACE}\]{_SPACE}(?:#[^\r\n\x00]*)?\Z')

_WORDS = {'True': True, 'False': False, 'None': None}

Span = tuple[int, int]


def plain_dicts(text: str) -> tuple[list[dict[str, Value]], list[Span]] | None:
    """The dicts of a list and where they stand; None if it takes a tree to tell."""
    opening = _OPEN.match(text)
    if not opening:
        return None
    offset = opening.end()
    dicts: list[dict[str, Value]] = []
    spans: list[Span] = []
    while one := _DICT.match(text, offset):
        start, offset = span = one.span()
        spans.append(span)
        dicts.append(
            {
                key[1:-1]: scalar[1:-1] if scalar[0] in '\'"' else _value(scalar)
                for key, scalar in _ITEMS.findall(text, start + 1, offset)
            }
            # What looks like an item in an empty one stands in a comment.
            if one[1]
            else {}
        )
        comma = _BETWEEN.match(text, offset)
        if not comma:
            break
        offset = comma.end()
    return (dicts, spans) if _CLOSE.match(text, offset) else None


def _value(scalar: str) -> Value:
    return cast(Value, _WORDS[scalar]) if scalar in _WORDS else int(scalar)
