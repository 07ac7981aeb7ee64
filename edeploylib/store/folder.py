"""A CONFIGDIR alone: what an upload of a machine that nobody knows would find there."""

import os
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from edeploylib.claims import Claim
from edeploylib.identity import Key, Machine
from edeploylib.select import Assignment
from edeploylib.state import ProfileName
from edeploylib.store.cache import parsed
from edeploylib.store.texts import Texts

T = TypeVar('T')


class Folder(Texts):
    """A world without a ledger, and nothing can be committed to it."""

    def __init__(self, folder: str) -> None:
        super().__init__(self._parsed, folder)

    def _parsed(self, name: str, parse: Callable[[str | bytes, str], T]) -> T | None:
        found = parsed(os.path.join(self._folder, name), parse)
        return None if found is None else found.value

    def machines(self, keys: Iterable[Key]) -> list[Machine]:
        return []

    def assignment(self, machine: Machine) -> Assignment | None:
        return None

    def claims(self, profile: ProfileName) -> list[Claim]:
        return []

    def orphans(self, listed: Collection[ProfileName]) -> list[Claim]:
        return []
