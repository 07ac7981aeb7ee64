"""What every command does alike."""

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from edeploylib.errors import EdeployError, StoreError, printable

MATCH, NO_MATCH, ERROR = 0, 1, 2

_COLORS = {'bold': 1, 'red': 31, 'green': 32}


class Parser(argparse.ArgumentParser):
    """Tells a slip in the command line as all errors are told."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


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
        return failed(*error.report().split('\n'))
    except KeyboardInterrupt:
        return failed('interrupted')
    except BrokenPipeError:
        _abandon_output()
        return ERROR
    except OSError as error:
        _abandon_output()
        return failed(f'cannot write the answer: {error.strerror or error}')


def failed(*lines: str) -> int:
    """Print what is wrong, and return the exit status of that."""
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


def warn(*texts: str) -> None:
    for text in texts:
        print(printable(f'warning: {text}'), file=sys.stderr)


def paint(text: str, color: str) -> str:
    """The text in a colour, where somebody sees it and has not asked for none."""
    if not sys.stdout.isatty() or os.environ.get('NO_COLOR'):
        return text
    return f'\x1b[{_COLORS[color]}m{text}\x1b[0m'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns, on a terminal no wider than it is."""
    lines = [list(map(printable, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if sys.stdout.isatty():
        # The widest columns give way.
        room = shutil.get_terminal_size().columns - 2 * len(widths)
        while sum(widths) > room and max(widths) > 8:
            widths[widths.index(max(widths))] -= 1
    for number, line in enumerate(lines):
        cells = (_cut(cell, width).ljust(width) for cell, width in zip(line, widths, strict=True))
        text = '  '.join(cells).rstrip()
        print(f'  {paint(text, "bold") if number == 0 else text}')


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f'{text[: width - 1]}…'
