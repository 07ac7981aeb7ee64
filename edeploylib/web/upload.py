"""``POST /cgi-bin/upload.py``: hardware in, configure script out."""

import logging
import shlex
from collections.abc import Callable, Collection, Iterable
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

from webob import Request, Response

from edeploylib.address import within
from edeploylib.errors import (
    EdeployError,
    EditedMeanwhile,
    IdentityConflict,
    InventoryError,
    LockTimeout,
    NotAllowed,
    TooLarge,
    UnclearEntry,
    UnknownSection,
    UploadError,
    printable,
)
from edeploylib.service import install, refusal_lines, report_failure
from edeploylib.settings import DEFAULT_SECTION, Settings
from edeploylib.store import FileStore, Store
from edeploylib.web.form import Body, fields_of, inventory_of, text_of, too_large

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_log = logging.getLogger('edeploylib.upload')

# Seconds after which it is worth asking again.
RETRY_AFTER = 10

_MAX_UPLOAD = Settings._field_defaults['max_upload']

# The first that an error is; what is not listed is the server's fault.
STATUSES: tuple[tuple[type[EdeployError], int], ...] = (
    (NotAllowed, 403),
    (TooLarge, 413),
    (UploadError, 400),
    (InventoryError, 400),
    (UnknownSection, 400),
    (IdentityConflict, 409),
    (UnclearEntry, 409),
    (LockTimeout, 503),
    (EditedMeanwhile, 503),
    (EdeployError, 500),
)


class Application:
    """The upload page, for the settings file ``conf``.

    ``open_store`` gives the store of a section.
    """

    def __init__(
        self, conf: str | None = None, open_store: Callable[[Settings], Store] = FileStore
    ) -> None:
        self._conf = conf
        self._open_store = open_store

    def __call__(
        self, environ: dict[str, Any], start_response: 'StartResponse'
    ) -> Iterable[bytes]:
        return self.respond(Request(environ))(environ, start_response)

    def respond(self, request: Request) -> Response:
        """The answer to a request; no exception leaves it."""
        body = request.environ['wsgi.input'] = Body(request)
        try:
            return self._answer(request, body)
        except EdeployError as error:
            status = next(status for kind, status in STATUSES if isinstance(error, kind))
            _log.warning('from=%r status=%d error=%r', _address(request), status, str(error))
            refusal = _refusal(status, error.report())
            if status == 503:
                refusal.retry_after = RETRY_AFTER
            return refusal
        except Exception as bug:
            # What it says may be a client's text: a traceback would print it raw.
            calls = [f'{call.filename}:{call.lineno}' for call in extract_tb(bug.__traceback__)]
            _log.error('from=%r status=500 bug=%r at=%r', _address(request), bug, calls)
            return _refusal(500, "internal error, see the server's log")
        finally:
            body.drain()

    def _answer(self, request: Request, body: Body) -> Response:
        if request.method != 'POST':
            raise UploadError('No file passed to the CGI')
        # The section is known only from the body, so first for all of them.
        sections = Settings.all(self._conf).values()
        _check_door(request, sections)
        body.most = max((settings.max_upload for settings in sections), default=_MAX_UPLOAD)
        fields = fields_of(request)
        settings = Settings.load(self._conf, text_of(fields, 'section') or DEFAULT_SECTION)
        _check_door(request, [settings])
        inventory = inventory_of(fields)
        who = _address(request)
        store = self._open_store(settings)
        for warning in inventory.warnings:
            _log.warning('machine=%s warning=%r', inventory.sysname, warning)
        failed = text_of(fields, 'failure')
        if failed is not None:
            note = report_failure(inventory, failed, store, settings, who).decision.note
            return _script(f'# {note}\n')
        answer = install(inventory, store, settings, who)
        if answer.script is None:
            return _refusal(404, '\n'.join(refusal_lines(answer.decision, inventory)))
        return _script(answer.script)


def _address(request: Request) -> str:
    return request.remote_addr or ''


def _check_door(request: Request, sections: Collection[Settings]) -> None:
    """Refuse an address that may upload to none of the sections, and what is too large for all."""
    address = _address(request)
    if sections and not any(_is_welcome(address, settings) for settings in sections):
        raise NotAllowed(f'address {address!r} may not upload here')
    most = max((settings.max_upload for settings in sections), default=_MAX_UPLOAD)
    if (request.content_length or 0) > most:
        raise too_large(most)


def _is_welcome(address: str, settings: Settings) -> bool:
    return not settings.allow or within(settings.allow)(address)


def _script(text: str) -> Response:
    return Response(text, content_type='text/x-python', charset='UTF-8')


def _refusal(status: int, reason: str) -> Response:
    """A script that prints the reason and fails, since machines run what they get."""
    lines = [printable(line) for line in reason.split('\n')]
    words = ' \\\n    '.join(map(shlex.quote, lines))
    text = f"#!/bin/sh\nprintf '%s\\n' \\\n    {words} >&2\nexit 1\n"
    return Response(text, status=status, content_type='text/x-shellscript', charset='UTF-8')


application = Application()
