"""What every store offers."""

from contextlib import AbstractContextManager
from typing import Protocol

from edeploylib.inventory import Inventory
from edeploylib.select import Decision, World


class Transaction(World, Protocol):
    """A world that stands still until its ``with`` block ends."""

    def save(self, inventory: Inventory) -> None:
        """Keep an inventory for whoever asks later what a machine was."""

    def commit(self, decision: Decision) -> None:
        """Make a decision's changes durable, all of them or none."""


class Store(Protocol):
    def transaction(self, who: str = '') -> AbstractContextManager[Transaction]:
        """Wait for the others and begin; ``who`` is told to those who wait.

        Raises LockTimeout, and StoreError if the ledger cannot be opened.
        """
