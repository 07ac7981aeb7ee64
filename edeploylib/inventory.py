"""The hardware of one machine: an ordered tuple of facts.

A fact is ``(category, name, property, value)``, e.g.
``('disk', 'vda', 'size', '10')``: three texts, and a text, number or bool.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from itertools import chain
from typing import Any, cast

from edeploylib.errors import InventoryError, Place
from edeploylib.literal import Source

Scalar = str | int | float | bool
Fact = tuple[str, str, str, Scalar]

_ELEMENTS = 'category, name, property, value'
_LONGEST_PYTHON = 1 << 18
_MAC = re.compile(r'[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}', re.IGNORECASE)
# Well under the interpreter's limit for turning an integer into text.
_LARGEST_INT = 1 << 4096


class Inventory:
    """Facts in the order in which they were detected.

    ``warnings`` holds a line for each fact that was left out.
    """

    __slots__ = ('_digest', 'facts', 'memo', 'warnings')

    facts: tuple[Fact, ...]
    warnings: tuple[str, ...]
    # What the matcher has worked out of the facts; no part of the value.
    memo: object

    def __init__(self, facts: tuple[Fact, ...], warnings: tuple[str, ...] = ()) -> None:
        self.facts = facts
        self.warnings = warnings
        self.memo = None
        self._digest = ''

    @classmethod
    def parse(cls, text: str | bytes, origin: str = '<inventory>') -> 'Inventory':
        """Read a JSON list of lists, or a Python literal list of tuples.

        Raises InventoryError, with the index of the fact at fault, for what is
        not a list of 4-element lists. A fact whose value is null, a list, an
        object or not a finite number is left out with a warning.
        """
        return cls.of(_decoded(text, origin), origin)

    @classmethod
    def of(cls, facts: Iterable[object], origin: str = '<inventory>') -> 'Inventory':
        """The inventory of facts that are there already, as lists or tuples."""
        if isinstance(facts, str | bytes | dict) or not isinstance(facts, Iterable):
            raise _malformed(origin, f'expected a list of facts, found {_kind(facts)}')
        facts = list(facts)
        plain = _plain(facts)
        if plain is not None:
            return cls(plain)
        kept: list[Fact] = []
        warnings: list[str] = []
        for index, fact in enumerate(facts):
            names = _names(fact, index, origin)
            value = cast(Fact, fact)[3]
            odd = _oddity(value) or ('' if all(map(_is_text, names)) else 'not valid Unicode')
            if odd:
                warnings.append(f'fact [{index}] {names!a:.200} left out: its value is {odd}')
            else:
                kept.append((*names, value))
        return cls(tuple(kept), tuple(warnings))

    def first(self, category: str, name: str, prop: str) -> str:
        """The text of the first such fact's value, or ''."""
        for fact in self.facts:
            if fact[:3] == (category, name, prop):
                return str(fact[3])
        return ''

    @property
    def macs(self) -> tuple[str, ...]:
        """The Ethernet addresses (6 bytes) of the network cards, in lower case."""
        found = (
            str(value).lower().replace('-', ':')
            for category, _, prop, value in self.facts
            if category == 'network' and prop == 'serial' and _MAC.fullmatch(str(value))
        )
        return tuple(dict.fromkeys(found))

    @property
    def sysname(self) -> str:
        """The name of the machine's ``.hw`` file: product, serial, first MAC."""
        product = self.first('system', 'product', 'name') or self.first(
            'system', 'product', 'vendor'
        )
        serial = self.first('system', 'product', 'serial')
        mac = self.macs[0].replace(':', '-') if self.macs else ''
        parts = [re.sub(r'[^A-Za-z0-9_]', '', part)[:80] for part in (product, serial)]
        return '-'.join(part for part in (*parts, mac) if part) or f'unknown-{self.digest[:16]}'

    @property
    def digest(self) -> str:
        """SHA-256 of the facts, whatever their order."""
        if not self._digest:
            texts = sorted(repr((*fact[:3], str(fact[3]))) for fact in self.facts)
            self._digest = hashlib.sha256('\n'.join(texts).encode()).hexdigest()
        return self._digest

    def render(self) -> str:
        """The inventory as a ``.hw`` file: a fact a line, warnings as comments."""
        notes = ''.join(f'# {warning}\n' for warning in self.warnings)
        return f'{notes}[' + ',\n '.join(map(repr, self.facts)) + ']\n'

    def __len__(self) -> int:
        return len(self.facts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Inventory) and self.facts == other.facts

    def __hash__(self) -> int:
        return hash(self.facts)

    def __repr__(self) -> str:
        return f'<Inventory {self.sysname} of {len(self.facts)} facts>'


def _decoded(text: str | bytes, origin: str) -> Iterable[object]:
    if not isinstance(text, str | bytes):
        raise _malformed(origin, f'expected a text, found {_kind(text)}')
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as broken:
            raise _malformed(
                origin,
                f'expected UTF-8, found byte 0x{text[broken.start]:02x} at offset {broken.start}',
            ) from None
    text = text.removeprefix('\ufeff')
    if not text.strip():
        raise _malformed(origin, 'expected a list of facts, found an empty file')
    try:
        return cast(Iterable[object], json.loads(text))
    except json.JSONDecodeError as broken:
        if _is_python(text, broken.pos):
            return _read_python(text, origin)
        line = text.split('\n')[broken.lineno - 1]
        place = Place(origin, broken.lineno, broken.colno, line)
        raise InventoryError(f'not JSON: {broken.msg}', place=place) from None
    except RecursionError:
        raise _malformed(origin, 'nested too deep for a list of facts') from None
    except ValueError as broken:  # a number of thousands of digits
        raise _malformed(origin, f'not JSON: {broken}') from None


def _read_python(text: str, origin: str) -> Iterable[object]:
    """A Python literal; a long one must have a fact a line, as ``render`` writes it.

    Its syntax tree takes hundreds of times the text's size.
    """
    if len(text) <= _LONGEST_PYTHON:
        source = Source(text, origin, InventoryError)
        return cast(Iterable[object], source.value(source.root))
    facts: list[object] = []
    for number, line in enumerate(text.strip().split('\n'), 1):
        fact = line.strip().removeprefix('[').removesuffix(']').removesuffix(',')
        if not fact or fact.startswith('#'):
            continue
        if len(fact) > _LONGEST_PYTHON:
            raise _malformed(origin, f'line {number} is too long for a fact in Python')
        source = Source(fact, f'{origin}:{number}', InventoryError)
        value = source.value(source.root)
        if not isinstance(value, list | tuple):
            raise _malformed(f'{origin}:{number}', f'expected a fact a line, found {_kind(value)}')
        facts.append(value)
    return facts


def _is_python(text: str, offset: int) -> bool:
    """Whether a text that is no JSON at the offset was meant as Python."""
    start = re.match(r'\s*(?:#|\[\s*[(#])', text)
    return bool(start or re.compile(r"\s*(?:['#\]]|None|True|False)").match(text, offset))


def _malformed(origin: str, message: str) -> InventoryError:
    return InventoryError(message, place=Place(origin))


def _plain(facts: list[Any]) -> tuple[Fact, ...] | None:
    """The facts if they are what nearly all are: four plain texts, or three and a number.

    By columns, which is several times as fast as fact by fact.
    """
    if not {*map(type, facts)} <= {list, tuple} or not {*map(len, facts)} <= {4}:
        return None
    *names, values = zip(*facts, strict=True) if facts else ([], [], [], [])
    if not {*map(type, chain(*names))} <= {str} or not {*map(type, values)} <= {str, int}:
        return None
    if any(type(value) is int and abs(value) >= _LARGEST_INT for value in values):
        return None
    if not _is_text(''.join(chain(*names, map(str, values)))):
        return None
    return tuple(map(tuple, facts))


def _names(fact: Any, index: int, origin: str) -> tuple[str, str, str]:
    if not isinstance(fact, list | tuple):
        found = _kind(fact)
        raise _malformed(origin, f'fact [{index}]: expected a list ({_ELEMENTS}), found {found}')
    if len(fact) != 4:
        found = str(len(fact))
        raise _malformed(
            origin, f'fact [{index}]: expected 4 elements ({_ELEMENTS}), found {found}'
        )
    category, name, prop = (_name(element, index, origin) for element in fact[:3])
    return category, name, prop


def _name(element: object, index: int, origin: str) -> str:
    if isinstance(element, str):
        return element
    if isinstance(element, int) and not isinstance(element, bool) and abs(element) < _LARGEST_INT:
        return str(element)
    raise _malformed(
        origin,
        f'fact [{index}]: expected texts for category, name and property, found {_kind(element)}',
    )


def _oddity(value: object) -> str:
    """What keeps a value from being a fact's, or ''."""
    if isinstance(value, str):
        return '' if _is_text(value) else 'not valid Unicode'
    if isinstance(value, float) and not math.isfinite(value):
        return 'not a finite number'
    if isinstance(value, int) and abs(value) >= _LARGEST_INT:
        return 'too large a number'
    return '' if isinstance(value, int | float) else _kind(value)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    if value is None:
        return 'null'
    if isinstance(value, bool):
        return f'the bool {value}'
    if isinstance(value, int):
        return 'a number'
    kinds = {str: 'a text', float: 'a number', list: 'a list', tuple: 'a list', dict: 'an object'}
    return kinds.get(type(value), f'a value of type {type(value).__name__}')
