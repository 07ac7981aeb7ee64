"""Run the upload page as a CGI program, once."""

import logging
import sys
from wsgiref.handlers import CGIHandler

from edeploylib.web.upload import application


def serve() -> None:
    """Answer the request of the environment; the log goes to the web server's."""
    logging.basicConfig(format='edeploy: %(message)s', level=logging.INFO, stream=sys.stderr)
    CGIHandler().run(application)
