"""What every command does alike."""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress

from edeploylib.errors import EdeployError, StoreError, printable

MATCH, NO_MATCH, ERROR = 0, 1, 2


def run(command: Callable[[], int]) -> int:
    """Run a command; print what goes wrong and return the exit status."""
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        return ERROR  # nobody could be told anything
    logging.basicConfig(format='%(message)s', level=logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding='utf-8', errors='backslashreplace')  # type: ignore[union-attr]
    try:
        status = command()
        sys.stdout.flush()
        return status
    except EdeployError as error:
        return _failed(*error.report().split('\n'))
    except KeyboardInterrupt:
        return _failed('interrupted')
    except OSError as error:
        _abandon_output()
        return _failed(f'cannot write the answer: {error.strerror or error}')


def _failed(*lines: str) -> int:
    for line in lines:
        print(printable(line), file=sys.stderr)
    return ERROR


def _abandon_output() -> None:
    # What is left in the buffer would be tried again at the end.
    with suppress(OSError):
        sys.stdout.close()


def read(path: str) -> bytes:
    """A file's bytes, ``-`` for standard input; raises StoreError."""
    try:
        if path == '-':
            return sys.stdin.buffer.read()
        with open(path, 'rb') as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise StoreError(f'cannot read {path}: {getattr(error, "strerror", error)}') from None
