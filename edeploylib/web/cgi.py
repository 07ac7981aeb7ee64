"""A page as a CGI program, which answers one request and ends."""

import gc
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


def serve(page: str) -> NoReturn:
    """Answer the request of the environment; the log goes to the web server's.

    A third of such a program's time would be spent on collecting garbage while
    it imports, where there is none, and on tearing down what ends anyway.
    """
    gc.disable()
    from wsgiref.handlers import CGIHandler

    application = import_module(f'edeploylib.web.{page}').Application(tell=_to_stderr)
    gc.freeze()
    gc.enable()

    def once(environ: dict[str, Any], start_response: 'StartResponse') -> Iterable[bytes]:
        # What is sent in chunks ends where standard input ends.
        environ.setdefault('wsgi.input_terminated', 'CONTENT_LENGTH' not in os.environ)
        answer: Iterable[bytes] = application(environ, start_response)
        return answer

    with suppress(OSError):  # whom there is to tell has gone
        CGIHandler().run(once)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _to_stderr(level: str, line: str) -> None:
    when = time.strftime('%Y-%m-%dT%H:%M:%S%z')
    with suppress(OSError):  # a full disk under the log keeps no machine from its script
        sys.stderr.write(f'edeploy: time={when} level={level} {line}\n')
        sys.stderr.flush()
