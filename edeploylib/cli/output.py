"""What every command does alike."""

import logging
import sys
from collections.abc import Callable

from edeploylib.errors import EdeployError, StoreError

MATCH, NO_MATCH, ERROR = 0, 1, 2


def run(command: Callable[[], int]) -> int:
    """Run a command; print the project's errors and return their exit status."""
    logging.basicConfig(format='%(message)s', level=logging.ERROR)
    try:
        return command()
    except EdeployError as error:
        print(error.report(), file=sys.stderr)
        return ERROR
    except BrokenPipeError:
        sys.stderr.close()
        return ERROR


def read(path: str) -> bytes:
    """A file's bytes, ``-`` for standard input; raises StoreError."""
    try:
        if path == '-':
            return sys.stdin.buffer.read()
        with open(path, 'rb') as file:
            return file.read()
    except OSError as error:
        raise StoreError(f'cannot read {path}: {error.strerror}') from None
