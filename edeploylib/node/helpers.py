"""The functions of configure scripts; this text stands at the head of each."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from typing import IO, Any

# Where what a configure script decides is left for the installer.
VARS = os.environ.get('EDEPLOY_VARS', '/vars')

# The profile that the machine was given; the script sets it.
PROFILE = ''

# Tools for RAID and IPMI cards, on machines that have the package.
for _tool in ('hpacucli', 'ipmi', 'megacli'):
    try:
        globals()[_tool] = __import__(f'hardware.{_tool}', fromlist=[_tool])
    except ImportError:
        pass


def run(cmd: str | list[str]) -> None:
    """Echo a command and run it: a text by the shell, a list as it is.

    If it fails, say so and end the script with the command's exit status (128
    and the signal's number, if a signal ended it).
    """
    shown = cmd if isinstance(cmd, str) else shlex.join(cmd)
    sys.stdout.flush()
    print(f'+ {shown}', file=sys.stderr, flush=True)
    try:
        status = subprocess.run(cmd, shell=isinstance(cmd, str), check=False).returncode
    except OSError as error:
        print(error, file=sys.stderr)
        status = 127
    if status:
        status = 128 - status if status < 0 else status
        banner = '*' * 72
        print(banner, f'FAILED with status {status}: {shown}', banner, sep='\n', file=sys.stderr)
        sys.exit(status)


def config(
    name: str,
    mode: str = 'w',
    basedir: str = '/post_rsync',
    fmod: int = 0o644,
    uid: int = 0,
    gid: int = 0,
) -> IO[Any]:
    """An open file under basedir, its folders made, with its mode and owner set."""
    path = os.path.join(basedir, name.lstrip('/'))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    file = open(path, mode, encoding=None if 'b' in mode else 'utf-8')
    os.fchown(file.fileno(), uid, gid)
    os.fchmod(file.fileno(), fmod)
    return file


def set_role(role: str, version: str, disk: str) -> None:
    """Tell the installer which tree to install, and the disk to boot from."""
    export(ROLE=role, VERS=version, DISK=disk, PROFILE=PROFILE)


def inject_facts(vars: dict[str, Any], basedir: str, prefix: str = 'hw_') -> None:
    """Leave variables as facter's external facts, in YAML."""
    with config('/etc/facter/facts.d/edeploy.yaml', basedir=basedir, uid=-1, gid=-1) as facts:
        facts.write('---\n')
        for name, value in sorted(vars.items()):
            fact = re.sub(r'[^a-z0-9_]', '_', f'{prefix}{name}'.lower())
            facts.write(f'{fact}: {json.dumps(value)}\n')


def export(**settings: str) -> None:
    """Append settings to the installer's file of shell variables."""
    with open(VARS, 'a', encoding='utf-8') as file:
        for name, value in settings.items():
            file.write(f'{name}={shlex.quote(str(value))}\n')
