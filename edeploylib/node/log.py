"""What happens on the machine: steps on the console, everything in the log."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TextIO

# What of a failed program's output the console shows.
_LAST = 20

# Seconds after which the console hears that a program still runs, and between looks at it.
_LONG, _TICK = 60, 0.5


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
        try:
            with self.path.open('a', encoding='utf-8', errors='replace') as file:
                file.write(f'{self._time()} {line}\n')
        except OSError:
            pass  # where there is no room, the machine must come to its end all the same

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
            for line in self._lines(process, words[0]):
                last.append(line)
                self.note(line)
        return process.returncode, list(last)

    def _lines(self, process: subprocess.Popen[bytes], name: str) -> Iterator[str]:
        """What a program prints, until it ends; the console hears of one that takes long.

        What it leaves running in the background may keep its output open for ever.
        """
        assert process.stdout
        rest, began, told = b'', self._clock(), 1
        while True:
            if select.select([process.stdout], [], [], _TICK)[0]:
                data = os.read(process.stdout.fileno(), 1 << 16)
                *lines, rest = (rest + data).split(b'\n')
                yield from (_decoded(line) for line in lines)
                if not data:
                    break
            elif process.poll() is not None:
                break
            if self._clock() - began > _LONG * told:
                self.step(f'{name} has been running for {_LONG * told} s')
                told += 1
        if rest:
            yield _decoded(rest)


def _decoded(line: bytes) -> str:
    return line.decode(errors='replace').rstrip('\r')
