"""Whatever a client sends: an answer that it can run, nothing outside the folders, memory flat."""

import io
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from webob import Request

from conftest import INVENTORIES, Deployment
from edeploylib.web import health, upload

# EDEPLOY_FUZZ=100000 tries as many as that.
COUNT = int(os.environ.get('EDEPLOY_FUZZ', '4000'))

FACTS = json.loads((INVENTORIES / 'rack.json').read_text())
ODD = [None, True, 0, -1, 1e308, 10**30, float('nan'), '', ' ', 'x' * 70_000, '\ud800', '\x00', '$(reboot)',
       "'; rm -rf / #", '\x1b[2J', '../../etc/passwd', [], {}, [[[]]], {'a': [1]}, 'gt(4)', '$$tag', '\u202e']  # fmt: skip
NAMES = [
    'file',
    'section',
    'failure',
    'session',
    'File',
    '',
    'file"',
    'x' * 3000,
    'f\r\nX: y',
    'fil\u00e9',
]
FILENAMES = ['hw.json', 'a.log.gz', '../../a.log.gz', '/etc/passwd.log.gz', '..log.gz', '.log.gz', '', 'x' * 400 + '.log.gz',
             'a\x00.log.gz', 'a\nb.log.gz', '\\\\srv\\c$\\a.log.gz', 'é.log.gz', '%2e%2e%2fa.log.gz', '-rf.log.gz']  # fmt: skip
VALUES = [
    'SERVER',
    'LAB',
    'rack',
    '../..',
    '$(x)',
    '',
    '\x1b[0m',
    'x' * 2000,
    '..',
    '.',
    'a/b',
    'é',
    '\x00',
]
HEADERS = [b'', b'Content-Type: application/octet-stream\r\n', b'Content-Type: text/plain; charset=punycode\r\n',
           b'Content-Type: multipart/mixed; boundary=B\r\n', b'Content-Type: multipart/form-data; boundary=C\r\n',
           b'Content-Type: application/x-www-form-urlencoded\r\n', b'Content-Length: 99999999\r\n', b'Content-Length: -1\r\n',
           b'Content-Transfer-Encoding: base64\r\n', b'Content-Transfer-Encoding: quoted-printable\r\n', b' folded: x\r\n',
           b'X: ' + b'y' * 9000 + b'\r\n', b'Content-Type: text/plain\rX: y\r\n', b'\xff\xfe\r\n', b'no colon\r\n']  # fmt: skip
KINDS = [
    'MULTIPART/FORM-DATA; boundary=B', 'multipart/form-data', 'multipart/form-data; boundary=', 'multipart/form-data; boundary="B"',
    'multipart/form-data; boundary=\x80', 'multipart/form-data; boundary=B; charset=utf-7', 'application/x-www-form-urlencoded',
    'application/json', '', 'multipart/mixed; boundary=B', 'multipart/form-data; boundary=' + 'B' * 300]  # fmt: skip


class Slow(io.RawIOBase):
    """A client that sends a few bytes at a time, and may go before the end."""

    def __init__(self, data: bytes, rng: random.Random, breaks: bool) -> None:
        self._data = io.BytesIO(data)
        self._rng = rng
        self._breaks = breaks

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        if self._breaks and self._rng.random() < 0.1:
            raise ConnectionResetError('gone')
        return self._data.read(min(size, self._rng.randrange(1, 50)) if size > 0 else size)

    def readline(self, size: int | None = -1) -> bytes:
        if self._breaks and self._rng.random() < 0.1:
            raise ConnectionResetError('gone')
        return self._data.readline(-1 if size is None else size)


def inventory(rng: random.Random, odd: set[str]) -> bytes:
    facts: Any = [list(fact) for fact in FACTS]
    box = rng.randrange(1, 6)
    facts[2][3], facts[5][3] = f'TAG{box}', f'02:00:00:00:02:0{box}'
    for _ in range(rng.choice((1, 1, 3)) if 'facts' in odd else 0):
        what = rng.randrange(6)
        at = rng.randrange(len(facts))
        if what == 0:
            facts[at][rng.randrange(4)] = rng.choice(ODD)
        elif what == 1:
            facts[at] = rng.choice(ODD)
        elif what == 2:
            facts[at] = facts[at][: rng.randrange(4)]
        elif what == 3:
            facts.insert(
                at,
                [
                    'system',
                    'product',
                    rng.choice(('serial', 'uuid', 'vendor', 'name')),
                    rng.choice(ODD),
                ],
            )
        elif what == 4:
            return json.dumps(rng.choice([facts[at], {'facts': facts}, *ODD])).encode()
        else:
            return b'[' * rng.choice((1, 100, 5000)) + b'1' * rng.randrange(5000)
        facts = [fact if isinstance(fact, list) and len(fact) == 4 else ['a', 'b', 'c', fact] for fact in facts] \
            if rng.random() < 0.5 else facts  # fmt: skip
        if not all(isinstance(fact, list) and len(fact) == 4 for fact in facts):
            break
    text = json.dumps(facts, ensure_ascii=rng.random() < 0.5)
    return text.encode(
        'utf-16' if 'bytes' in odd and rng.random() < 0.2 else 'utf-8', 'surrogatepass'
    )


def part(name: str, filename: str | None, data: bytes, rng: random.Random, odd: set[str]) -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"'
    head += '' if filename is None else f'; filename="{filename}"'
    header = rng.choice(HEADERS) if 'headers' in odd else b''
    return b'--B\r\n' + head.encode() + b'\r\n' + header + b'\r\n' + data + b'\r\n'


def form(rng: random.Random, odd: set[str]) -> bytes:
    parts = []
    if 'names' not in odd or rng.random() < 0.8:
        name = rng.choice((*NAMES, 'file', 'file', 'file')) if 'names' in odd else 'file'
        filename = (
            rng.choice([*FILENAMES, None])
            if 'names' in odd
            else rng.choice(('hw.json', 'hw.json', 'a.log.gz'))
        )
        parts.append(part(name, filename, inventory(rng, odd), rng, odd))
    for field, usual in (('section', 'SERVER'), ('failure', 'rack'), ('session', 'burn-in')):
        if rng.random() < 0.3 or field == 'session':
            value = rng.choice(VALUES) if 'values' in odd else usual
            parts.append(part(field, None, value.encode(), rng, odd))
    rng.shuffle(parts)
    data = b''.join(parts) + b'--B--\r\n'
    for _ in range(rng.choice((1, 1, 2, 5)) if 'bytes' in odd else 0):
        at, to = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        what = rng.randrange(5)
        if what == 0:
            data = data[:at] + data[to:]
        elif what == 1:
            data = data[:to] + data[at:to][:3000] + data[to:]
        elif what == 2:
            data = data[:at] + rng.randbytes(rng.randrange(1, 30)) + data[at:]
        elif what == 3:
            data = (
                data[:at]
                + rng.choice(
                    [b'\r\n', b'\n', b'\r', b'--B', b'--B--', b'\x00', b'\r\n\r\n', *HEADERS]
                )
                + data[at:]
            )
        else:
            data = (
                data[:at]
                + bytes(byte ^ rng.choice((1, 32, 128)) for byte in data[at : at + 3])
                + data[at + 3 :]
            )
    return data


ODDITIES = [
    'facts',
    'bytes',
    'headers',
    'names',
    'values',
    'method',
    'kind',
    'length',
    'query',
    'sender',
]


def request(rng: random.Random) -> Request:
    odd = set(rng.sample(ODDITIES, rng.choice((0, 1, 1, 1, 1, 2, 2, 3))))
    data = form(rng, odd)
    environ = {'REMOTE_ADDR': rng.choice(('10.0.0.7', '::1', '', 'x\x1b', '10.0.0.8'))}
    made = Request.blank('/cgi-bin/upload.py', environ=environ)
    made.method = (
        rng.choice(['GET', 'PUT', 'HEAD', 'post', 'X' * 50]) if 'method' in odd else 'POST'
    )
    made.environ['CONTENT_TYPE'] = (
        rng.choice(KINDS) if 'kind' in odd else 'multipart/form-data; boundary=B'
    )
    right = str(len(data))
    lengths = [str(len(data) + 7), str(max(len(data) - 9, 0)), '-5', 'x', '', '0', '9' * 30, None]
    length = rng.choice(lengths) if 'length' in odd else right
    made.environ.pop('CONTENT_LENGTH', None)
    if length is not None:
        made.environ['CONTENT_LENGTH'] = length
    made.environ['wsgi.input_terminated'] = rng.random() < 0.5
    made.environ['QUERY_STRING'] = (
        rng.choice(('file=x', 'section=%00', '&' * 300)) if 'query' in odd else ''
    )
    slow = Slow(data, rng, breaks=rng.random() < 0.5)
    made.environ['wsgi.input'] = slow if 'sender' in odd else io.BytesIO(data)
    return made


def memory() -> int:
    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096


@pytest.mark.filterwarnings('ignore')  # WebOb's, of what it is sent
@pytest.mark.parametrize('seed', range(4))
def test_whatever_is_sent(samples: Deployment, seed: int) -> None:
    for folder in ('logs', 'health'):
        (samples.root / folder).mkdir()
    samples.configure(HEALTHDIR=str(samples.root / 'health'), MAXUPLOAD='1 MiB', LOCKTIMEOUT='5')
    samples.write(state="[('rack', '*'), ('storage', 4), ('vm', '*')]")
    files = {path.name for path in samples.config.iterdir()}
    told: list[str] = []
    tell: Callable[[str, str], None] = lambda level, line: told.append(f'{level} {line}')  # noqa: E731
    conf = str(samples.conf)
    pages = [upload.Application(conf, tell=tell)] * 4 + [health.Application(conf, tell=tell)]
    rng = random.Random(f'edeploy {seed}')
    statuses: dict[int, int] = {}
    at_first = 0
    for number in range(COUNT // 4):
        if number == COUNT // 16:
            at_first = memory()
        asked = request(rng)
        answer = asked.get_response(rng.choice(pages))
        statuses[answer.status_int] = statuses.get(answer.status_int, 0) + 1
        assert answer.status_int < 500, (seed, number, told[-1], answer.text)
        assert 'Traceback' not in answer.text
        assert (
            answer.status_int == 200
            or asked.method == 'HEAD'
            or answer.text.startswith('#!/bin/sh\n')
        )
        assert all(line.isprintable() for line in told)
        told.clear()
    # Most are still what a machine might send.
    assert statuses[200] > COUNT // 20 and statuses[400] > COUNT // 20
    assert memory() - at_first < 32 << 20
    written = {
        path.relative_to(samples.root).parts[0]
        for path in samples.root.rglob('*')
        if path.is_file()
    }
    assert written <= {'config', 'hw', 'logs', 'health', 'lock', 'edeploy.conf'}
    assert all(path.name.endswith('.log.gz') for path in (samples.root / 'logs').glob('[!.]*'))
    assert all(
        len(path.relative_to(samples.root).parts) == 4
        for path in (samples.root / 'health').rglob('*.hw')
    )
    listed = {f'{name}.cmdb.orig' for name in ('vm', 'rack', 'storage')}
    assert {path.name for path in samples.config.iterdir()} <= listed | files
