"""Numbers as the formats write them: plain decimals, and sizes with a unit."""

import re
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from decimal import Decimal

UNITS = {
    'kB': 1000,
    'MB': 1000**2,
    'GB': 1000**3,
    'TB': 1000**4,
    'KiB': 1024,
    'MiB': 1024**2,
    'GiB': 1024**3,
    'TiB': 1024**4,
}

Number = Union[int, 'Decimal']

_INTEGER = re.compile(r'[+-]?[0-9]{1,4000}')
_DECIMAL = re.compile(r'[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?')
_SIZE = r'([+-]?[0-9]{1,30})(?:\.([0-9]{0,30}))?\s*(' + '|'.join(UNITS) + ')'
# A longer text is no measure of anything, and slow to convert.
_LONGEST = 4000


def decimal(text: str) -> 'Number | None':
    """The number that a text is, exactly: ``12``, ``-3``, ``10.5``, ``1e9``; else None.

    Not ``1_0``, ``nan``, ``inf`` or ``0x10``, which Python reads as numbers too.
    """
    if _INTEGER.fullmatch(text):
        return int(text)
    if len(text) <= _LONGEST and _DECIMAL.fullmatch(text):
        # Most numbers are whole: the rest pay for the import.
        from decimal import Decimal

        return Decimal(text)
    return None


def size(text: str) -> 'Number | None':
    """A ``decimal``, or one with a unit: ``256GiB`` is 256 * 1024**3."""
    with_unit = re.fullmatch(_SIZE, text) if text.endswith('B') else None
    if not with_unit:
        return decimal(text)
    whole, fraction, unit = with_unit.groups(default='')
    scaled = int(whole + fraction) * UNITS[unit]
    return decimal(f'{scaled}e-{len(fraction)}') if fraction else scaled
