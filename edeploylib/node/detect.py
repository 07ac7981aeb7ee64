"""The hardware of the machine, as PyPI's ``hardware`` finds it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from edeploylib.node.log import Failure, Log

_MAC = re.compile('(?:[0-9a-f]{2}:){5}[0-9a-f]{2}')

DETECTOR = (sys.executable, '-c', 'from hardware.detect import main; main()')


# Seconds; it asks controllers and sensors, which may take minutes.
PATIENCE = 900


def detect(log: Log, command: Sequence[str] = DETECTOR) -> bytes:
    """The inventory as JSON; raises Failure if the detector fails or prints none."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PATIENCE
        )
    except OSError as error:
        raise Failure(f'{command[0]}: {error.strerror}') from None
    except subprocess.TimeoutExpired:
        raise Failure(f'hardware detection has not ended after {PATIENCE} s') from None
    said = done.stderr.decode(errors='replace').splitlines()
    for line in said:
        log.note(line)
    if done.returncode:
        last = '\n'.join(said[-10:])
        raise Failure(f'hardware detection failed with status {done.returncode}:\n{last}')
    facts_of(done.stdout)
    return done.stdout


def facts_of(hardware: bytes) -> list[list[Any]]:
    """The facts of an inventory in JSON; raises Failure for what is none."""
    try:
        facts = json.loads(hardware)
    except ValueError as error:
        raise Failure(f'hardware detection printed no JSON: {error}') from None
    if not isinstance(facts, list) or not all(
        isinstance(fact, list) and len(fact) == 4 for fact in facts
    ):
        raise Failure('hardware detection printed no list of facts')
    return facts


def summary(facts: Sequence[Sequence[Any]]) -> str:
    """One line for the console: what was found, and by what a spec may know the machine."""
    values = {tuple(map(str, fact[:3])): str(fact[3]) for fact in facts}
    vendor, name, serial = (
        values.get(('system', 'product', key), '?') for key in ('vendor', 'name', 'serial')
    )
    disks = sorted(f[1] for f in facts if f[0] == 'disk' and f[2] == 'size')
    cards = sorted(f[1] for f in facts if f[0] == 'network' and f[2] == 'serial')
    return (
        f'{len(facts)} facts: {vendor} {name}, serial {serial}, '
        f'disks {" ".join(disks) or "none"}, cards {" ".join(cards) or "none"}'
    )


def name_of(facts: Sequence[Sequence[Any]]) -> str:
    """What the server calls the machine too: product, serial, first MAC."""
    values = {tuple(map(str, fact[:3])): str(fact[3]) for fact in reversed(facts)}
    product = values.get(('system', 'product', 'name')) or values.get(
        ('system', 'product', 'vendor'), ''
    )
    serial = values.get(('system', 'product', 'serial'), '')
    serials = (str(f[3]).lower() for f in facts if f[0] == 'network' and f[2] == 'serial')
    mac = next(filter(_MAC.fullmatch, serials), '').replace(':', '-')
    parts = [re.sub(r'[^A-Za-z0-9_]', '', part)[:80] for part in (product, serial)]
    return '-'.join(part for part in (*parts, mac) if part) or 'unknown'
