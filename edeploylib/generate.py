"""CMDB entries from a model, one for each step of its counting values."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from typing import NamedTuple, cast

from edeploylib.errors import ModelError
from edeploylib.literal import Value, shown

Entry = dict[str, Value]

LIMIT = 1_000_000

# Longer runs of digits are serial numbers, not ranges.
_RANGE = r'(?<![0-9])[0-9]{1,18}-[0-9]{1,18}(?![0-9])'
# Texts: most programs that import this compile none of them.
_RANGES = rf'{_RANGE}(?::{_RANGE})*'
_OCTET = rf'[0-9]{{1,18}}|{_RANGE}(?::{_RANGE})*'


def generate(model: Mapping[str, Value], limit: int = LIMIT) -> list[Entry]:
    """All counting values of a model in step, an entry per step.

    A text with a range counts (``host03-07``, ``10.0.1-2.2-254``,
    ``1-3:10-12``), a list or tuple of scalars gives its items in turn, all else
    is constant.  The shortest counting value ends it; a model with nothing to
    count gives one entry.  The model is never changed.

    Raises ModelError for what is no dict with texts as keys, and for more than
    ``limit`` entries.
    """
    if not isinstance(model, Mapping):
        raise ModelError(f'expected a dict, found {shown(model)}')
    for key in model:
        if not isinstance(key, str):
            raise ModelError(f'expected texts as keys, found {shown(key)}')
    steps = lengths(model)
    count = min(steps.values(), default=1)
    if count > limit:
        shortest = min(steps, key=steps.__getitem__)
        raise ModelError(
            f'{shortest!r}: {shown(model[shortest])} gives {count} entries, '
            f'expected at most {limit}'
        )
    columns = [_values(value) if key in steps else _copies(value) for key, value in model.items()]
    if not columns:
        return [{}]
    rows = zip(*columns, strict=False)
    try:
        return [dict(zip(model, row, strict=True)) for row in islice(rows, count)]
    except RecursionError:
        raise ModelError('nested too deep') from None


def lengths(model: Mapping[str, Value]) -> dict[str, int]:
    """How many values each counting value of the model gives, by its key."""
    return {key: length for key, value in model.items() if (length := _length(value)) is not None}


def _length(value: Value) -> int | None:
    if isinstance(value, list | tuple):
        return len(value) if value and all(map(_is_scalar, value)) else None
    parts = _parts(value) if isinstance(value, str) else []
    if all(isinstance(part, str) for part in parts):
        return None
    return prod(sum(r.length for r in part) for part in parts if not isinstance(part, str))


def _is_scalar(value: Value) -> bool:
    return not isinstance(value, list | tuple | dict)


def _values(value: Value) -> Iterator[Value]:
    """The values of a counting value, in turn."""
    if isinstance(value, str):
        return _texts(_parts(value))
    return iter(cast(Sequence[Value], value))


def _copies(value: Value) -> Iterator[Value]:
    while True:
        yield _copy(value)


def _copy(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return tuple(map(_copy, value)) if isinstance(value, tuple) else value


class _Range(NamedTuple):
    """``first-last``, either way, with leading zeros up to ``width``."""

    first: int
    last: int
    width: int

    @property
    def length(self) -> int:
        return abs(self.last - self.first) + 1

    def texts(self) -> Iterator[str]:
        step = 1 if self.first <= self.last else -1
        for number in range(self.first, self.last + step, step):
            yield f'{number:0{self.width}}'


# What counts in a text, and what stands around it.
_Part = str | list[_Range]


def _parts(text: str) -> list[_Part]:
    octets = text.split('.')
    if len(octets) == 4 and all(re.fullmatch(_OCTET, octet) for octet in octets):
        dotted: list[_Part] = []
        for octet in octets:
            dotted += ['.', _ranges(octet) if '-' in octet else octet]
        return dotted[1:]
    found = re.search(_RANGES, text)
    if not found:
        return [text]
    return [text[: found.start()], _ranges(found[0]), text[found.end() :]]


def _ranges(text: str) -> list[_Range]:
    ranges = []
    for part in text.split(':'):
        first, _, last = part.partition('-')
        width = max(len(number) if number.startswith('0') else 1 for number in (first, last))
        ranges.append(_Range(int(first), int(last), width))
    return ranges


def _texts(parts: Sequence[_Part]) -> Iterator[str]:
    """The product of the parts' choices, the last fastest."""
    if not parts:
        yield ''
        return
    head = parts[0]
    for start in (head,) if isinstance(head, str) else _in_turn(head):
        for rest in _texts(parts[1:]):
            yield start + rest


def _in_turn(ranges: Iterable[_Range]) -> Iterator[str]:
    for numbers in ranges:
        yield from numbers.texts()
