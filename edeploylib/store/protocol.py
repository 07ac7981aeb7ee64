"""What every store offers."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from edeploylib.identity import Machine
from edeploylib.inventory import Inventory
from edeploylib.select import Decision, World

if TYPE_CHECKING:
    from edeploylib.release import Ruling


class Transaction(World, Protocol):
    """A world that stands still until its ``with`` block ends."""

    def save(self, inventory: Inventory) -> None:
        """Keep an inventory for whoever asks later what a machine was."""

    def commit(self, decision: Decision) -> None:
        """Make a decision's changes durable, all of them or none."""

    def refuse(self, reason: str) -> None:
        """Note, durably, why nothing could be decided of the machine that was saved."""

    def machine(self, id: int) -> Machine | None:
        """The machine of that number, if there is one."""

    def last_note(self, machine: int) -> int:
        """A number that grows with all that is recorded of a machine."""

    def rule(self, ruling: 'Ruling') -> None:
        """Make an operator's changes durable, all of them or none."""


class Store(Protocol):
    def transaction(self, who: str = '') -> AbstractContextManager[Transaction]:
        """Wait for the others and begin; ``who`` is told to those who wait.

        Raises LockTimeout, and StoreError if the ledger cannot be opened.
        """
