"""What the log tells of one request, as ``key=value`` pairs."""

import json
import os
import time
from collections.abc import Callable

# Takes the name of a level and a line.
Tell = Callable[[str, str], None]

# Characters of one value: Apache cuts lines at some 8,000, and begins new ones there.
_LONGEST = 2000


def to_logging(level: str, line: str) -> None:
    """To the logger ``edeploylib``. Where its lines go is up to the program that serves."""
    # Late: a CGI program writes its lines itself, and starts for each request.
    import logging

    logging.getLogger('edeploylib').log(getattr(logging, level), '%s', line)


class Call:
    """One request. ``id`` stands in each of its lines, and in the answer if that is an error."""

    def __init__(self, address: str, tell: Tell) -> None:
        self.id = os.urandom(4).hex()
        self.address = address
        self._tell = tell
        self._begun = time.monotonic()
        self._known: dict[str, object] = {}

    def know(self, **pairs: object) -> None:
        """What all lines say from now on."""
        self._known.update(pairs)

    def warn(self, warning: str, **more: object) -> None:
        self._line('WARNING', 'warning', {**more, 'warning': warning})

    def end(self, event: str, level: str = 'INFO', **outcome: object) -> None:
        """The request's own line, with how long it took."""
        seconds = f'{time.monotonic() - self._begun:.3f}'
        self._line(level, event, {**outcome, 'seconds': seconds})

    def _line(self, level: str, event: str, pairs: dict[str, object]) -> None:
        first = {'event': event, 'request': self.id, 'address': self.address}
        line = {**first, **self._known, **pairs}
        self._tell(level, ' '.join(f'{name}={_shown(its)}' for name, its in line.items()))


def _shown(value: object) -> str:
    """A value that may be a client's: nothing of it ends a line or steers a terminal."""
    text = str(value)
    if len(text) > _LONGEST:
        text = f'{text[: _LONGEST - 3]}...'
    plain = text.isascii() and text.isprintable() and not any(c in text for c in ' "=\\')
    if text and plain:
        return text
    quoted = json.dumps(text).replace('\x7f', r'\u007f')
    # What is written in six characters for one.
    return quoted if len(quoted) <= 2 * _LONGEST else json.dumps(f'{text[: _LONGEST // 7]}...')
