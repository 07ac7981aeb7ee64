"""What a plan is made of, and what all views of it say alike."""

import argparse
import json
from typing import NamedTuple

from edeploylib.cli.arrivals import Arrivals, progress
from edeploylib.errors import printable
from edeploylib.generate import Entry
from edeploylib.inventory import Inventory
from edeploylib.settings import Settings
from edeploylib.simulate import Fate, Files, Simulation, simulate

# Of how many machines, or profiles, names are told.
NAMED = 6
# Of how many machines it is explained at length why they are refused.
EXPLAINED = 10


class Case(NamedTuple):
    options: argparse.Namespace
    settings: Settings | None
    files: Files
    arrivals: Arrivals

    @property
    def ignored_macs(self) -> frozenset[str]:
        return self.settings.ignored_macs if self.settings else frozenset()

    @property
    def inventories(self) -> list[Inventory]:
        return self.arrivals.inventories

    @property
    def names(self) -> list[str]:
        return [inventory.sysname for inventory in self.inventories]

    def simulated(self, files: Files) -> tuple[list[Fate], Simulation]:
        count = len(self.inventories)
        fates = simulate(
            files,
            self.inventories,
            self.ignored_macs,
            lambda done: progress(f'{done} of {count} machines'),
        )
        progress('')
        return fates

    def print_json(self, answer: dict[str, object]) -> None:
        broken = [{'file': path, 'error': str(error)} for path, error in self.arrivals.broken]
        print(json.dumps({**answer, 'broken': broken}))

    def summary(self, text: str) -> None:
        broken = len(self.arrivals.broken)
        print(
            printable(text + (f'; {count_of(broken, "broken inventory")} left out' * bool(broken)))
        )


def shown_entry(entry: Entry | None) -> str:
    """What people call a host by, or all of the entry."""
    if entry is None:
        return ''
    names = [
        str(entry[name]) for name in ('hostname', 'host', 'name', 'ip', 'address') if name in entry
    ]
    return ' '.join(names[:2]) or repr(entry)


def count_of(number: int, noun: str) -> str:
    if number == 1:
        return f'{number} {noun}'
    return f'{number} {noun[:-1]}ies' if noun.endswith('y') else f'{number} {noun}s'
