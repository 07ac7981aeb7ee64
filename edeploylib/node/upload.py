"""What the machine tells the server, and what the server answers."""

from __future__ import annotations

import gzip
import re
import shlex
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from edeploylib.node import client
from edeploylib.node.log import Failure, Log

# Seconds between attempts at first and at most, and all that is waited in one go.
_FIRST, _LONGEST, PATIENCE = 1, 15, 300

# Answers of a server, or of a proxy before it, that may be another the next time.
_BUSY = (502, 503, 504)

_PROFILE = re.compile(r'^#EDEPLOY_PROFILE = (.+)$', re.MULTILINE)


class Server(NamedTuple):
    """The server that decides; ``patience`` is in seconds."""

    url: str
    section: str
    log: Log
    patience: float = PATIENCE
    sleep: Callable[[float], object] = time.sleep

    def script_for(self, hardware: bytes) -> str:
        """The configure script; raises Failure with the server's reason if there is none."""
        reply = self._ask(hardware)
        if reply.status != 200:
            raise Failure(f'the server refuses ({reply.status}):\n{reason_of(reply.body)}')
        profile_of(reply.body)
        return reply.body

    def report_failure(self, hardware: bytes, profile: str) -> str:
        """Give the profile's quota back; what the server says to it."""
        reply = self._ask(hardware, failure=profile)
        if reply.status != 200:
            raise Failure(f'the server refuses ({reply.status}):\n{reason_of(reply.body)}')
        return reply.body.strip().lstrip('# ')

    def save_log(self, name: str, text: bytes) -> None:
        """Leave a log on the server, as NAME.log.gz."""
        reply = self._ask(gzip.compress(text, mtime=0), f'{name}.log.gz')
        if reply.status != 200:
            raise Failure(f'the server refuses ({reply.status}):\n{reason_of(reply.body)}')

    def _ask(self, data: bytes, name: str = 'hw.json', **fields: str) -> client.Reply:
        """POST until there is an answer that counts, with growing pauses."""
        patience = self.patience
        for pause in pauses(self.patience):
            try:
                reply = client.post(self.url, {'section': self.section, **fields}, name, data)
            except client.NO_ANSWER as error:
                after, problem = None, f'no answer from {self.url}: {client.why(error)}'
            else:
                if reply.status not in _BUSY:
                    return reply
                after = reply.retry_after
                problem = f'{self.url} is busy ({reply.status}): {reason_of(reply.body)}'
            if pause is None or patience <= 0:
                break
            pause = min(max(pause, min(after or 0, 60)), patience)
            patience -= pause
            self.log.step(f'{problem}; again in {pause:g} s')
            self.sleep(pause)
        raise Failure(f'{problem}\ngiven up after {self.patience:g} s of waiting')


def pauses(patience: float) -> Iterator[float | None]:
    """Seconds to wait after each attempt, doubling; None after the last one."""
    pause: float = _FIRST
    while pause < patience:
        yield pause
        patience -= pause
        pause = min(2 * pause, _LONGEST)
    yield patience
    yield None


def profile_of(script: str) -> str:
    """The profile that a script is of; raises Failure for what is no configure script."""
    found = _PROFILE.search(script)
    if not found:
        start = script.split('\n', 1)[0][:200]
        raise Failure(f'the answer is no configure script; it begins with {start!r}')
    return found[1]


def reason_of(body: str) -> str:
    """What a refusal says. It is a shell script that prints its reason: it is read, not run."""
    if not body.startswith('#!/bin/sh\nprintf '):
        return body.strip()[:2000] or 'it does not say why'
    try:
        words = shlex.split(body.partition('\n')[2])
    except ValueError:
        return body
    # A backslash at the end of a line is a word of its own to shlex.
    lines = [word for word in words[2:] if word != '\n']
    ends = [index for index, word in enumerate(lines) if word == '>&2']
    return '\n'.join(lines[: ends[-1]] if ends else lines)
