"""The inventories that a command is given, and how far it is with them."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edeploylib.cli.output import failed, read
from edeploylib.errors import EdeployError, InventoryError, StoreError
from edeploylib.inventory import Inventory

_KINDS = ('.hw', '.json')


class Arrivals(NamedTuple):
    """Inventories with their files, and the files that are none with what is wrong."""

    paths: list[str]
    inventories: list[Inventory]
    broken: list[tuple[str, EdeployError]]


def add_hw(parser: argparse.ArgumentParser, count: str) -> None:
    parser.add_argument(
        'hw',
        metavar='HW',
        nargs=count,
        help='inventories, JSON or .hw; of a folder, its *.hw and *.json by name',
    )


def read_arrivals(given: Sequence[str], is_quiet: bool) -> Arrivals:
    """Read inventories; one that is broken does not hide the others."""
    found = Arrivals([], [], [])
    paths = [path for one in given for path in _files(one)]
    for number, path in enumerate(paths, 1):
        progress(f'{number} of {len(paths)} inventories read')
        try:
            inventory = Inventory.parse(read(path), path)
        except EdeployError as error:
            found.broken.append((path, error))
            if not is_quiet:
                progress('')
                failed(*error.report().split('\n'))
            continue
        found.paths.append(path)
        found.inventories.append(inventory)
    progress('')
    if not paths:
        raise InventoryError(f'expected inventories, *.hw or *.json, in {", ".join(given)}')
    return found


def _files(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise StoreError(f'cannot read {path}: {error.strerror}') from None
    for name in names:
        inside = os.path.join(path, name)
        is_odd = os.path.exists(inside) and not os.path.isfile(inside)  # it might never end
        if name.endswith(_KINDS) and not name.startswith('.') and not is_odd:
            yield inside


def progress(text: str) -> None:
    """Say on a terminal how far it is; '' when it is over."""
    if sys.stderr.isatty():
        print(f'\r\x1b[K{text}', end='', file=sys.stderr, flush=True)
