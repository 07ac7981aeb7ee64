"""The ordered list of profiles and how many machines each may still take.

``[('hp', 4), ('vm', '*')]``: a quota is a number of machines or ``'*'``.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from typing import NewType

from edeploylib.errors import StateError, UnknownProfile, collected, raise_all
from edeploylib.literal import Source

ProfileName = NewType('ProfileName', str)
Quota = int | str

ANY = '*'

_NUMBER = r'[0-9]{1,18}'
# A name is a file's, and stands in a comment at the head of a script, where
# ':' and '=' could make it name an encoding.
_LONGEST_NAME = 80


class State:
    """Quotas by profile, in the order of the file, which is their priority.

    ``text`` is what was read; ``render`` gives what it is to become.
    """

    __slots__ = ('_edited', '_spans', 'origin', 'quotas', 'text')

    quotas: Mapping[ProfileName, Quota]
    text: str
    origin: str

    def __init__(
        self,
        text: str,
        quotas: dict[ProfileName, Quota],
        spans: dict[ProfileName, tuple[int, int]],
        origin: str,
        edited: str | None = None,
    ) -> None:
        self.text = text
        self.quotas = quotas
        self.origin = origin
        self._spans = spans
        self._edited = text if edited is None else edited

    @classmethod
    def parse(cls, text: str | bytes, origin: str = '<state>') -> 'State':
        """Read a state file.

        Raises StateError with the place of the first mistake, and with those of
        other profiles as its ``others``.
        """
        source = Source(text, origin, StateError)
        quotas: dict[ProfileName, Quota] = {}
        spans: dict[ProfileName, tuple[int, int]] = {}
        mistakes: list[StateError] = []
        for node in source.elements(source.root, 'profiles'):
            with collected(mistakes, StateError):
                if not isinstance(node, ast.Tuple | ast.List) or len(node.elts) != 2:
                    source.fail("expected a profile and its quota, such as ('vm', 4)", node)
                name = _name(node.elts[0], source)
                if name in quotas:
                    source.fail(f'expected each profile once, found {name!r} again', node)
                quotas[name] = _quota(node.elts[1], source)
                spans[name] = source.span(node.elts[1])
        raise_all(mistakes)
        return cls(source.text, quotas, spans, origin)

    @classmethod
    def of(cls, profiles: Iterable[tuple[str, Quota]]) -> 'State':
        """The state of profiles and quotas that are there already."""
        try:
            text = repr([tuple(listed) for listed in profiles])
        except (TypeError, ValueError, RecursionError) as broken:
            raise StateError(f'expected a list of profiles and quotas: {broken}') from None
        return cls.parse(text)

    def take(self, name: str) -> 'State':
        """One machine less; raises StateError if the quota is spent."""
        return self._changed(name, -1)

    def give_back(self, name: str) -> 'State':
        """One machine more; raises UnknownProfile if the state has no such profile."""
        return self._changed(name, 1)

    def has_left(self, name: str) -> bool:
        return self.quotas[ProfileName(name)] != 0

    def _changed(self, name: str, step: int) -> 'State':
        profile = ProfileName(name)
        quota = self.quotas.get(profile)
        if quota is None:
            raise UnknownProfile(f'{self.origin}: no profile {name!r}')
        if not isinstance(quota, int):
            return self
        if quota + step < 0:
            raise StateError(f'{self.origin}: the quota of {name!r} is spent')
        start, end = self._spans[profile]
        written = self._edited[start:end]
        quote = written[0] if written[0] in '"\'' else ''
        text = f'{quote}{quota + step}{quote}'
        grown = len(text) - (end - start)
        spans = {
            other: (a + grown * (a > start), b + grown * (b >= end))
            for other, (a, b) in self._spans.items()
        }
        return State(
            self.text,
            {**self.quotas, profile: quota + step},
            spans,
            self.origin,
            self._edited[:start] + text + self._edited[end:],
        )

    def render(self) -> str:
        """The file's text: only the numbers that have changed are written anew."""
        return self._edited

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and list(self.quotas.items()) == list(other.quotas.items())

    def __hash__(self) -> int:
        return hash(tuple(self.quotas.items()))

    def __repr__(self) -> str:
        return f'<State {list(self.quotas.items())!r}>'


def _name(node: ast.expr, source: Source) -> ProfileName:
    name = source.value(node)
    if not isinstance(name, str) or not _is_name(name):
        source.fail('expected the name of a profile, a text that can be a file name', node)
    return ProfileName(name)


def _quota(node: ast.expr, source: Source) -> Quota:
    quota = source.value(node)
    if quota == ANY or (isinstance(quota, int) and not isinstance(quota, bool) and quota >= 0):
        return quota
    if isinstance(quota, str) and re.fullmatch(_NUMBER, quota):
        return int(quota)
    source.fail(f"expected a number of machines >= 0 or '*', found {quota!a:.60}", node)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME and text[0] != '.' and not any(map(_is_odd, text))


def _is_odd(character: str) -> bool:
    return character in '/:=\x7f' or character < ' ' or '\ud800' <= character <= '\udfff'
