"""pxemngr, which tells machines whether to boot from the network or from their disk."""

import subprocess
from collections.abc import Sequence

# Seconds; the machine is waiting for its script.
TIMEOUT = 10


def register(
    name: str, macs: Sequence[str], program: str = 'pxemngr', timeout: float = TIMEOUT
) -> str:
    """``pxemngr addsystem NAME MAC...``; returns what went wrong, or ''.

    Never raises: a machine is installed whether or not pxemngr knows it.
    """
    try:
        done = subprocess.run(
            [program, 'addsystem', name, *macs],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f'pxemngr addsystem {name} took more than {timeout:g} s'
    except (OSError, ValueError) as error:
        return f'pxemngr could not be run: {error}'
    if done.returncode == 0:
        return ''
    said = done.stdout.decode(errors='replace').strip()[-500:]
    return f'pxemngr addsystem {name} failed with status {done.returncode}: {said}'
