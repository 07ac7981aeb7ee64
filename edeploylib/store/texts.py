"""The operator's files, parsed when they are asked for."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from edeploylib.cmdb import Cmdb
from edeploylib.errors import MissingFile
from edeploylib.script import parse as parse_configure
from edeploylib.spec import Spec
from edeploylib.state import ProfileName, State

T = TypeVar('T')


class Load(Protocol):
    """What ``parse`` makes of a file of CONFIGDIR; None if there is no such file."""

    def __call__(self, name: str, parse: Callable[[str | bytes, str], T]) -> T | None: ...


class Texts:
    """``folder`` is CONFIGDIR's name in errors."""

    def __init__(self, load: Load, folder: str) -> None:
        self._load = load
        self._folder = folder

    def state(self) -> State:
        return self._required('state', State.parse, 'no state')

    def spec(self, profile: ProfileName) -> Spec:
        what = f'profile {profile!r} has quota but no spec'
        return self._required(f'{profile}.specs', Spec.parse, what)

    def configure(self, profile: ProfileName) -> str:
        what = f'profile {profile!r} has quota but no configure script'
        return self._required(f'{profile}.configure', parse_configure, what)

    def cmdb(self, profile: ProfileName) -> Cmdb | None:
        return self._load(f'{profile}.cmdb', Cmdb.parse)

    def _required(self, name: str, parse: Callable[[str | bytes, str], T], what: str) -> T:
        found = self._load(name, parse)
        if found is None:
            raise MissingFile(f'{what}: {self._folder}/{name} does not exist')
        return found
