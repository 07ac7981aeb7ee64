"""HTTP as the installer needs it: no proxies, and a form with a file."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from contextlib import closing
from typing import NamedTuple

# Of an answer, what is read.
_MOST = 1 << 24

# Seconds without a byte after which a server is taken for gone.
_SILENCE = 120

# What urllib raises when there is no answer.
NO_ANSWER = (OSError, http.client.HTTPException)

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Reply(NamedTuple):
    """``retry_after`` is in seconds, None if the server does not say."""

    status: int
    body: str
    retry_after: int | None = None


def get(url: str) -> Reply:
    """Raises NO_ANSWER if there is none; any status is an answer."""
    return _reply(urllib.request.Request(url))


def post(url: str, fields: Mapping[str, str], name: str, data: bytes) -> Reply:
    """Send a form with some texts and the file ``file``, as curl -F does."""
    boundary = uuid.uuid4().hex
    parts = [
        f'Content-Disposition: form-data; name="{field}"\r\n\r\n{value}'.encode()
        for field, value in fields.items()
    ]
    head = (
        f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
        'Content-Type: application/octet-stream\r\n\r\n'
    )
    parts.append(head.encode() + data)
    body = b''.join(f'--{boundary}\r\n'.encode() + part + b'\r\n' for part in parts)
    request = urllib.request.Request(
        url,
        body + f'--{boundary}--\r\n'.encode(),
        {'Content-Type': f'multipart/form-data; boundary={boundary}'},
    )
    return _reply(request)


def download(url: str) -> http.client.HTTPResponse:
    """An open response; raises HTTPError for a status that is not 200, else NO_ANSWER."""
    response: http.client.HTTPResponse = _opener.open(url, timeout=_SILENCE)
    return response


def why(error: BaseException) -> str:
    """An error of urllib in words."""
    reason = getattr(error, 'reason', error)
    return str(getattr(reason, 'strerror', None) or reason or type(reason).__name__)


def _reply(request: urllib.request.Request) -> Reply:
    try:
        response = _opener.open(request, timeout=_SILENCE)
    except urllib.error.HTTPError as refused:
        response = refused
    with closing(response):
        body = response.read(_MOST)
        if response.length and len(body) < _MOST:
            raise http.client.IncompleteRead(body, response.length)
        after = response.headers.get('Retry-After', '')
        seconds = int(after) if after.isdecimal() and len(after) < 6 else None
        return Reply(response.status, body.decode(errors='replace'), seconds)
