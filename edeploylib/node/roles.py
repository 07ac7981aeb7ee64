"""The role's tree: fetched by rsync, or by HTTP as an archive, onto the new disk."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import NamedTuple

from edeploylib.node import client
from edeploylib.node.log import Failure, Log
from edeploylib.node.params import Params, host

# Attempts at a transfer, and the seconds between the first two; then twice as long.
_ATTEMPTS, _PAUSE = 5, 2

_BLOCK = 1 << 18

# Exit statuses of rsync that speak of the network or the server's load.
_PASSING = {10, 12, 30, 35}

# How an archive's first bytes tell what it is compressed with.
_COMPRESSED = {b'\x28\xb5\x2f\xfd': '--zstd', b'\x1f\x8b': '--gzip', b'\xfd7zXZ': '--xz'}

_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._+~-]*')


class Choice(NamedTuple):
    """What the configure script has chosen, as ``set_role`` and ``export`` left it."""

    role: str
    version: str
    disk: str
    pxemngr_url: str = ''
    metadata_url: str = ''
    settings: Mapping[str, str] = {}

    @classmethod
    def read(cls, path: Path) -> Choice:
        """Read ``/vars``; raises Failure with what the configure script has left out."""
        text = path.read_text(encoding='utf-8') if path.is_file() else ''
        given = parse_vars(text)
        for name in ('ROLE', 'VERS', 'DISK'):
            if not given.get(name):
                raise Failure(f'the configure script chose no {name}: it is to call set_role()')
        for name in ('ROLE', 'VERS'):
            if not _NAME.fullmatch(given[name]):
                raise Failure(f'{name}={given[name]!r}: expected letters, digits and ._+~-')
        if not given['DISK'].startswith('/dev/'):
            raise Failure(f'DISK={given["DISK"]!r}: expected a disk, such as /dev/sda')
        urls = given.get('PXEMNGR_URL', ''), given.get('METADATA_URL', '')
        return cls(given['ROLE'], given['VERS'], given['DISK'], *urls, given)


def parse_vars(text: str) -> dict[str, str]:
    """Settings a line each, quoted as a shell does; the last of several counts."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Failure(f'/vars is not readable: {error}') from None
    pairs = (word.partition('=') for word in words)
    return {name: value for name, equals, value in pairs if equals}


def fetch(choice: Choice, params: Params, target: Path, log: Log) -> None:
    """The tree by HTTP if HSERV is given, else by rsync; raises Failure."""
    if params.hserv:
        fetch_http(archive_urls(choice, params), target, log)
    else:
        fetch_rsync(rsync_url(choice, params), target, log)


def rsync_url(choice: Choice, params: Params) -> str:
    path = f'{params.rpath}/{choice.version}/{choice.role}/'
    return f'rsync://{host(params.rserv)}:{params.rserv_port}/{path}'


def archive_urls(choice: Choice, params: Params) -> tuple[str, str]:
    """Where the archive may be: eDeploy's place, and below the version, where it is built."""
    name = urllib.parse.quote(f'{choice.role}-{choice.version}.edeploy')
    folder = f'/{params.hpath.strip("/")}' if params.hpath.strip('/') else ''
    server = f'http://{host(params.hserv)}:{params.hserv_port}{folder}'
    return f'{server}/{name}', f'{server}/{urllib.parse.quote(choice.version)}/{name}'


def fetch_rsync(
    url: str, target: Path, log: Log, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Copy a tree with owners, links, ACLs and attributes."""
    command = ['rsync', '-aHAXS', '--numeric-ids', '--contimeout=20', '--timeout=300']
    for attempt in range(_ATTEMPTS):
        status, last = log.try_run([*command, url, f'{target}/'])
        if status == 0:
            return
        if status not in _PASSING:
            break
        _pause(attempt, f'rsync failed with status {status}', log, sleep)
    raise Failure('\n'.join([f'{url} cannot be copied (rsync status {status}):', *last]))


def fetch_http(
    urls: tuple[str, ...], target: Path, log: Log, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Unpack the first archive that is there while it comes, and verify its checksum.

    The checksum is that of ARCHIVE.sha256 beside it, which must be there. A transfer that
    breaks off begins anew.
    """
    for attempt in range(_ATTEMPTS):
        try:
            url, wanted = _checksum(urls)
            with client.download(url) as response:
                return _unpack(response, url, wanted, target, log)
        except client.NO_ANSWER as error:
            problem = f'{urls[0]}: {client.why(error)}'
            _pause(attempt, problem, log, sleep)
    raise Failure(f'{problem}; given up after {_ATTEMPTS} attempts')


def _pause(attempt: int, problem: str, log: Log, sleep: Callable[[float], object]) -> None:
    if attempt + 1 < _ATTEMPTS:
        pause = _PAUSE * 2**attempt
        log.step(f'{problem}; again in {pause} s')
        sleep(pause)


def _checksum(urls: tuple[str, ...]) -> tuple[str, str]:
    """The first URL that has a checksum, and that."""
    for url in urls:
        reply = client.get(f'{url}.sha256')
        if reply.status == 404:
            continue
        if reply.status >= 500:
            raise ConnectionError(f'HTTP {reply.status} for the checksum')
        found = re.match(r'([0-9a-f]{64})\b', reply.body)
        if reply.status != 200 or not found:
            raise Failure(f'{url}.sha256 is no checksum: HTTP {reply.status}')
        return url, found[1]
    tried = '\n'.join(f'{url}.sha256' for url in urls)
    raise Failure(f'the role is not on the server, or its checksum is not; tried were\n{tried}')


def _unpack(response: HTTPResponse, url: str, wanted: str, target: Path, log: Log) -> None:
    """Unpack and hash in one go; what is on the disk counts only if the checksum is right."""
    first = response.read(_BLOCK)
    how = [option for magic, option in _COMPRESSED.items() if first.startswith(magic)]
    how += ['--extract', '--numeric-owner', '--same-permissions', '--xattrs', '--acls']
    command = ['tar', *how, '--xattrs-include=*', f'--directory={target}']
    log.note(f'+ {shlex.join(command)} < {url}')
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said) as tar:
            try:
                digest = _pour(first, response, tar)
            except BaseException:
                tar.kill()
                raise
        said.seek(0)
        last = said.read().decode(errors='replace').splitlines()[-10:]
    _check(digest, wanted, url)
    if tar.returncode:
        words = '\n'.join(last)
        raise Failure(f'{url} cannot be unpacked (tar status {tar.returncode}):\n{words}')


def _pour(first: bytes, response: HTTPResponse, tar: subprocess.Popen[bytes]) -> str:
    """Give all of a response to tar; its SHA-256. Raises ConnectionError if it breaks off."""
    digest = hashlib.sha256()
    assert tar.stdin
    takes = True
    block = first
    while block:
        digest.update(block)
        if takes:
            try:
                tar.stdin.write(block)
            except BrokenPipeError:
                takes = False  # it has ended, and says why
        block = response.read(_BLOCK)
    if response.length:
        raise ConnectionError(f'the transfer broke off, {response.length} bytes before its end')
    with suppress(BrokenPipeError):
        tar.stdin.close()
    return digest.hexdigest()


def _check(found: str, wanted: str, url: str) -> None:
    if found != wanted:
        raise Failure(
            f'{url} is damaged: its checksum is {found[:16]}..., '
            f'and {url}.sha256 says {wanted[:16]}...'
        )
