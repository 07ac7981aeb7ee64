"""All pages as one WSGI application, each under the name that machines know it by."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from webob import Request

from edeploylib.web import health, upload
from edeploylib.web.form import open_body
from edeploylib.web.log import Call, to_logging
from edeploylib.web.page import refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

PAGES: 'dict[str, WSGIApplication]' = {
    'upload.py': upload.application,
    'upload-health.py': health.application,
}


def application(environ: dict[str, Any], start_response: 'StartResponse') -> Iterable[bytes]:
    """The page that the last part of the path names, whatever stands before it."""
    path = environ.get('SCRIPT_NAME', '') + environ.get('PATH_INFO', '')
    page = PAGES.get(path.rpartition('/')[2])
    if page is not None:
        return page(environ, start_response)
    call = Call(environ.get('REMOTE_ADDR', ''), to_logging)
    call.end('refused', 'WARNING', status=404, path=path)
    open_body(Request(environ)).drain()
    return refusal(404, f'no page {path!a:.200}', call)(environ, start_response)
