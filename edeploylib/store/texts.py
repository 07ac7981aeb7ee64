"""The operator's files, parsed when they are asked for."""

from collections.abc import Callable

from edeploylib.cmdb import Cmdb
from edeploylib.errors import MissingFile
from edeploylib.script import parse
from edeploylib.spec import Spec
from edeploylib.state import ProfileName, State


class Texts:
    """``read`` gives the bytes of a file of CONFIGDIR, None if there is none.

    ``origin`` is the folder's name in errors.
    """

    def __init__(self, read: Callable[[str], bytes | None], origin: str = '') -> None:
        self._read = read
        self._origin = origin
        self._cmdbs: dict[ProfileName, Cmdb | None] = {}

    def state(self) -> State:
        return State.parse(self._required('state', 'state'), self._path('state'))

    def spec(self, profile: ProfileName) -> Spec:
        name = f'{profile}.specs'
        return Spec.parse(self._required(name, 'spec', profile), self._path(name))

    def configure(self, profile: ProfileName) -> str:
        name = f'{profile}.configure'
        return parse(self._required(name, 'configure script', profile), self._path(name))

    def cmdb(self, profile: ProfileName) -> Cmdb | None:
        if profile not in self._cmdbs:
            name = f'{profile}.cmdb'
            data = self._read(name)
            self._cmdbs[profile] = None if data is None else Cmdb.parse(data, self._path(name))
        return self._cmdbs[profile]

    def _required(self, name: str, what: str, profile: str = '') -> bytes:
        data = self._read(name)
        if data is None:
            whose = f'profile {profile!r} has quota but no' if profile else 'no'
            raise MissingFile(f'{whose} {what}: {self._path(name)} does not exist')
        return data

    def _path(self, name: str) -> str:
        return f'{self._origin}/{name}' if self._origin else name
