"""What happens on the machine: steps on the console, everything in the log."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TextIO

# What of a failed program's output the console shows.
_LAST = 20


class Failure(Exception):
    """What ends an installation; its text is for the console."""


def printable(text: str) -> str:
    """A text of others on one line, with nothing in it that a terminal acts on."""
    return ''.join(
        char if char.isprintable() else char.encode('unicode_escape').decode() for char in text
    )


class Log:
    """A file that takes all, and a console that takes the steps; all of it if ``verbose``."""

    def __init__(
        self,
        path: Path,
        console: TextIO = sys.stdout,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.verbose = verbose
        self._console = console
        self._clock = clock

    def step(self, text: str) -> None:
        """Tell the console and the log, line by line, with the time since the start."""
        for line in text.split('\n'):
            shown = f'edeploy: {printable(line)}'
            self._keep(shown)
            self._show(shown)

    def note(self, line: str) -> None:
        """Tell the log, and the console if it is to hear all."""
        self._keep(line)
        if self.verbose:
            self._show(printable(line))

    def _keep(self, line: str) -> None:
        with self.path.open('a', encoding='utf-8', errors='replace') as file:
            file.write(f'{self._time()} {line}\n')

    def _time(self) -> str:
        return f'[{self._clock():7.1f}]'

    def _show(self, line: str) -> None:
        try:
            self._console.write(f'{self._time()} {line}\n')
            self._console.flush()
        except (OSError, ValueError):
            pass  # a console that has gone is no reason to stop

    def run(
        self,
        command: Sequence[str | Path],
        *,
        what: str = '',
        stdin: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a program, its output to the log; raises Failure with its last lines."""
        status, last = self.try_run(command, stdin=stdin, environment=environment)
        if status:
            shown = what or shlex.join(map(str, command))
            raise Failure('\n'.join([f'{shown} failed with status {status}', *last]))

    def try_run(
        self,
        command: Sequence[str | Path],
        *,
        stdin: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, list[str]]:
        """Run a program; its exit status, and the last lines that it printed."""
        words = [str(word) for word in command]
        self.note(f'+ {shlex.join(words)}')
        last: deque[str] = deque(maxlen=_LAST)
        try:
            process = subprocess.Popen(
                words,
                stdin=stdin or subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        except OSError as error:
            return 127, [f'{words[0]}: {error.strerror}']
        with process:
            assert process.stdout
            for raw in process.stdout:
                line = raw.decode(errors='replace').rstrip('\r\n')
                last.append(line)
                self.note(line)
        return process.returncode, list(last)
