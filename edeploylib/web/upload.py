"""``POST /cgi-bin/upload.py``: hardware in, configure script out."""

import logging
import shlex
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from webob import Request, Response
from webob.multidict import MultiDict

from edeploylib.address import within
from edeploylib.errors import (
    EdeployError,
    IdentityConflict,
    InventoryError,
    LockTimeout,
    NotAllowed,
    TooLarge,
    UnknownSection,
    UploadError,
    printable,
)
from edeploylib.inventory import Inventory
from edeploylib.service import install, report_failure
from edeploylib.settings import DEFAULT_SECTION, Settings
from edeploylib.store import FileStore, Store

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_log = logging.getLogger('edeploylib.upload')

# The first that an error is; what is not listed is the server's fault.
STATUSES: tuple[tuple[type[EdeployError], int], ...] = (
    (NotAllowed, 403),
    (TooLarge, 413),
    (UploadError, 400),
    (InventoryError, 400),
    (UnknownSection, 400),
    (IdentityConflict, 409),
    (LockTimeout, 503),
    (EdeployError, 500),
)


class Application:
    """The upload page.

    ``load`` gives the settings of a section, ``open_store`` a store for them.
    """

    def __init__(
        self,
        load: Callable[[str], Settings] = lambda section: Settings.load(section=section),
        open_store: Callable[[Settings], Store] = FileStore,
    ) -> None:
        self._load = load
        self._open_store = open_store

    def __call__(
        self, environ: dict[str, Any], start_response: 'StartResponse'
    ) -> Iterable[bytes]:
        return self.respond(Request(environ))(environ, start_response)

    def respond(self, request: Request) -> Response:
        """The answer to a request; no exception leaves it."""
        try:
            return self._answer(request)
        except EdeployError as error:
            status = next(status for kind, status in STATUSES if isinstance(error, kind))
            _log.warning('from=%s status=%d error=%r', request.remote_addr, status, str(error))
            refusal = _refusal(status, error.report())
            if isinstance(error, LockTimeout):
                refusal.retry_after = error.retry_after
            return refusal
        except Exception:
            _log.exception('from=%s status=500', request.remote_addr)
            return _refusal(500, "internal error, see the server's log")

    def _answer(self, request: Request) -> Response:
        if request.method != 'POST':
            raise UploadError('No file passed to the CGI')
        fields = _fields(request)
        section = _text(fields, 'section') or DEFAULT_SECTION
        settings = self._load(section)
        _check_door(request, settings)
        inventory = _inventory(fields)
        who = request.remote_addr or ''
        store = self._open_store(settings)
        for warning in inventory.warnings:
            _log.warning('machine=%s warning=%r', inventory.sysname, warning)
        failed = _text(fields, 'failure')
        if failed is not None:
            note = report_failure(inventory, failed, store, settings, who).decision.note
            return _script(f'# {note}\n')
        answer = install(inventory, store, settings, who)
        if answer.script is None:
            return _refusal(404, answer.decision.explanation())
        return _script(answer.script)


def _fields(request: Request) -> MultiDict[str, object]:
    try:
        return MultiDict(request.POST.items())
    except (ValueError, OSError) as broken:
        raise UploadError(f'expected multipart/form-data: {str(broken)!a}') from None


def _text(fields: MultiDict[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise UploadError(f'expected a text as {name}, found a file')


def _check_door(request: Request, settings: Settings) -> None:
    address = request.remote_addr or ''
    if settings.allow and not within(settings.allow)(address):
        raise NotAllowed(f'address {printable(address)!r} may not upload here')
    if (request.content_length or 0) > settings.max_upload:
        raise TooLarge(f'expected an upload of at most {settings.max_upload} bytes')


def _inventory(fields: MultiDict[str, object]) -> Inventory:
    value = fields.get('file')
    if value is None:
        raise UploadError('No file passed to the CGI')
    data = value if isinstance(value, str) else value.file.read()  # type: ignore[attr-defined]
    return Inventory.parse(data, 'file')


def _script(text: str) -> Response:
    return Response(text, content_type='text/x-python', charset='UTF-8')


def _refusal(status: int, reason: str) -> Response:
    """A script that prints the reason and fails, since machines run what they get."""
    lines = [printable(line) for line in reason.split('\n')]
    words = ' \\\n    '.join(map(shlex.quote, lines))
    text = f"#!/bin/sh\nprintf '%s\\n' \\\n    {words} >&2\nexit 1\n"
    return Response(text, status=status, content_type='text/x-shellscript', charset='UTF-8')


application = Application()
