"""What all pages that machines post forms to do alike.

Machines run what they get: whatever is not a 200 is a script that prints the
reason and fails.
"""

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from webob import Request, Response

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
from edeploylib.inventory import Inventory
from edeploylib.settings import DEFAULT_SECTION, Conf, Settings, conf_path
from edeploylib.store.cache import parsed
from edeploylib.web.form import Body, Form, open_body, read_form, too_large
from edeploylib.web.log import Call, Tell, to_logging

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

# Seconds after which it is worth asking again.
RETRY_AFTER = 10

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

_MAX_UPLOAD: int = Settings._field_defaults['max_upload']

# Lines of the log on what one inventory has that is left out.
_MOST_WARNINGS = 20

Act = Callable[[Form, Settings, Call], Response]


class Page:
    """A WSGI application, for the settings file ``conf``.

    ``act`` is called with the form of a POST that may come in; ``tell`` takes the log.
    """

    def __init__(self, act: Act, conf: str | None = None, tell: Tell = to_logging) -> None:
        self._act = act
        self._conf = conf
        self._tell = tell

    def __call__(
        self, environ: dict[str, Any], start_response: 'StartResponse'
    ) -> Iterable[bytes]:
        return self.respond(Request(environ))(environ, start_response)

    def respond(self, request: Request) -> Response:
        """The answer to a request; no exception leaves it."""
        call = Call(request.remote_addr or '', self._tell)
        body = open_body(request)
        try:
            return self._answer(request, body, call)
        except EdeployError as error:
            status = next(status for kind, status in STATUSES if isinstance(error, kind))
            level = 'ERROR' if status >= 500 else 'WARNING'
            call.end('refused', level, status=status, error=str(error))
            return refusal(status, error.report(), call)
        except Exception as bug:
            # What it says may be a client's text: a traceback would print it raw.
            call.end('bug', 'ERROR', status=500, bug=repr(bug), at=_calls(bug))
            return refusal(500, "internal error, see the server's log", call)
        finally:
            if not _is_waiting(request, body):
                body.drain()

    def _answer(self, request: Request, body: Body, call: Call) -> Response:
        if request.method != 'POST':
            raise UploadError('No file passed to the CGI')
        # Apache's SetEnv stands in the request's environment; no header of a client's does.
        path = conf_path(self._conf or request.environ.get('EDEPLOY_CONF'))
        conf = parsed(path, Conf.parse)
        if conf is None:
            raise Conf.missing(path)
        # The section is known only from the body, so first for all of them. One that is
        # broken is nobody's reason to refuse the others, nor they to refuse it.
        is_whole = len(conf.value.sections) == len(conf.value.names)
        sections = conf.value.sections.values()
        _check_door(call.address, request.content_length, sections if is_whole else [])
        limits = [one.max_upload for one in sections if _is_welcome(call.address, one)]
        most = max(limits if is_whole and limits else [*limits, _MAX_UPLOAD])
        if (request.content_length or 0) > most:
            raise too_large(most, request.content_length)
        form = read_form(request, body, most)
        try:
            section = form.text('section') or DEFAULT_SECTION
            call.know(section=section)
            settings = conf.value.section(section)
            _check_door(call.address, request.content_length, [settings])
            return self._act(form, settings, call)
        finally:
            form.close()


def _check_door(address: str, length: int | None, sections: Collection[Settings]) -> None:
    """Refuse an address that may upload to none of the sections, and what is too large for all."""
    if not sections:
        return
    welcoming = [settings for settings in sections if _is_welcome(address, settings)]
    if not welcoming:
        raise NotAllowed(f'address {address!r} may not upload here')
    most = max(settings.max_upload for settings in welcoming)
    if (length or 0) > most:
        raise too_large(most, length)


def _is_welcome(address: str, settings: Settings) -> bool:
    if not settings.allow:
        return True
    from edeploylib.address import within

    # As an IPv6 socket has the address of an IPv4 client.
    return within(settings.allow)(address.removeprefix('::ffff:'))


def _is_waiting(request: Request, body: Body) -> bool:
    """Whether a client waits for leave to send; a CGI program's web server has given it."""
    environ = request.environ
    return 'HTTP_EXPECT' in environ and body.is_untouched and not environ.get('wsgi.run_once')


def _calls(bug: BaseException) -> list[str]:
    """Where it was raised, without what ``traceback`` would have to open for it."""
    calls = []
    at = bug.__traceback__
    while at is not None:
        calls.append(f'{at.tb_frame.f_code.co_filename}:{at.tb_lineno}')
        at = at.tb_next
    return calls


def _quoted(text: str) -> str:
    """As ``shlex.quote``, which would have to be imported where no file can be opened."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def warn_of(inventory: Inventory, call: Call) -> None:
    """Tell what an inventory has that is left out; its file has all of it."""
    for warning in inventory.warnings[:_MOST_WARNINGS]:
        call.warn(warning)
    more = len(inventory.warnings) - _MOST_WARNINGS
    if more > 0:
        call.warn(f'and {more} more facts left out')


def comment(text: str) -> Response:
    """What there is to say where a machine is to run nothing."""
    return script(f'# {printable(text)}\n')


def script(text: str) -> Response:
    return Response(text, content_type='text/x-python', charset='UTF-8')


def refusal(status: int, reason: str, call: Call) -> Response:
    """A script that prints the reason and fails."""
    # As the log has it, so that who looks for it there finds it.
    reasons = [*reason.split('\n'), f'(request={call.id})']
    lines = ' \\\n    '.join(_quoted(printable(line)) for line in reasons)
    answer = Response(
        f"#!/bin/sh\nprintf '%s\\n' \\\n    {lines} >&2\nexit 1\n",
        status=status,
        content_type='text/x-shellscript',
        charset='UTF-8',
    )
    if status == 503:
        answer.retry_after = RETRY_AFTER
    return answer
