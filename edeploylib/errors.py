"""What can go wrong, as one tree.

Every error is also the builtin that it is, so that callers who know only
Python catch it as well::

    EdeployError
    ├── FormatError (ValueError)          a text does not follow its format
    │   ├── InventoryError
    │   ├── SpecError
    │   ├── ModelError                    the argument of generate()
    │   ├── CmdbError
    │   ├── StateError
    │   ├── ConfigureError                a configure script
    │   ├── SettingsError
    │   └── UploadError                   the request around an inventory
    │       └── TooLarge
    ├── NotAllowed (PermissionError)      the address may not upload
    ├── UnknownSection (LookupError)      no such deployment in the settings
    ├── UnknownProfile (LookupError)      the state does not list it
    ├── UnknownVariable (LookupError)     the spec does not capture it
    ├── UnknownUser (LookupError)         the system has no such user
    ├── IdentityConflict (LookupError)    the keys name two machines
    ├── UnclearEntry (LookupError)        edits have left unclear what a machine holds
    ├── UnknownMachine (LookupError)      the ledger has none of that name
    │   └── SeveralMachines               it has more than one
    ├── NotPossible (ValueError)          what an operator asks for cannot be
    ├── SearchLimitExceeded (RuntimeError)
    └── StoreError (OSError)              a file cannot be read or written
        ├── MissingFile (FileNotFoundError)
        ├── EditedMeanwhile               between the look at a file and the commit
        └── LockTimeout (TimeoutError)
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar


class Place(NamedTuple):
    """Where in a text; lines and columns count from 1, 0 is unknown."""

    origin: str
    line: int = 0
    column: int = 0
    text: str = ''

    def __str__(self) -> str:
        return ':'.join([self.origin, *(str(n) for n in (self.line, self.column) if n)])

    @property
    def excerpt(self) -> str:
        """The line with a caret under the column, or '' if there is none."""
        if not (self.column and self.text.strip()):
            return ''
        start = max(0, self.column - 61)
        shown = printable(self.text[start : start + 100])
        margin = ''.join(c if c == '\t' else ' ' for c in shown[: self.column - 1 - start])
        return f'    {shown}\n    {margin}^'


def printable(text: str) -> str:
    """A text of a client as a terminal can show it: control characters as U+FFFD."""
    return ''.join(c if c.isprintable() or c == '\t' else '\ufffd' for c in text)


class EdeployError(Exception):
    """``str()`` is one line: the place, what is wrong and what was expected."""

    def __init__(self, message: str, *, place: Place | None = None, hint: str = '') -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint
        # More of the kind in the same file, each an error of its own.
        self.others: tuple[EdeployError, ...] = ()

    def __str__(self) -> str:
        return f'{self.place}: {self.message}' if self.place else self.message

    def report(self) -> str:
        """The message with the line at fault and the hint, as people see it."""
        excerpt = self.place.excerpt if self.place else ''
        hint = f'hint: {self.hint}' if self.hint else ''
        others = [other.report() for other in self.others]
        first = printable(str(self))  # a file's name may have lines of its own
        return '\n'.join(part for part in (first, excerpt, hint, *others) if part)


Kind = TypeVar('Kind', bound=EdeployError)


@contextmanager
def collected(mistakes: list[Kind], kind: type[Kind]) -> Iterator[None]:
    """Put an error of the block to the others, and go on behind the block."""
    try:
        yield
    except kind as mistake:
        mistakes.append(mistake)


def raise_all(mistakes: Sequence[EdeployError]) -> None:
    """Raise the first, if there is any, with the rest as its ``others``."""
    if mistakes:
        mistakes[0].others = tuple(mistakes[1:])
        raise mistakes[0]


class FormatError(EdeployError, ValueError):
    pass


class InventoryError(FormatError):
    pass


class SpecError(FormatError):
    pass


class ModelError(FormatError):
    pass


class CmdbError(FormatError):
    pass


class StateError(FormatError):
    pass


class ConfigureError(FormatError):
    pass


class SettingsError(FormatError):
    pass


class UploadError(FormatError):
    pass


class TooLarge(UploadError):
    pass


class NotAllowed(EdeployError, PermissionError):
    pass


class UnknownSection(EdeployError, LookupError):
    pass


class UnknownProfile(EdeployError, LookupError):
    pass


class UnknownVariable(EdeployError, LookupError):
    pass


class UnknownUser(EdeployError, LookupError):
    pass


class IdentityConflict(EdeployError, LookupError):
    pass


class UnclearEntry(EdeployError, LookupError):
    pass


class UnknownMachine(EdeployError, LookupError):
    pass


class SeveralMachines(UnknownMachine):
    pass


class NotPossible(EdeployError, ValueError):
    pass


class SearchLimitExceeded(EdeployError, RuntimeError):
    pass


class StoreError(EdeployError, OSError):
    pass


class MissingFile(StoreError, FileNotFoundError):
    pass


class EditedMeanwhile(StoreError):
    pass


class LockTimeout(StoreError, TimeoutError):
    pass
