"""The pages for mod_wsgi, whose log is Apache's error log."""

import logging

from edeploylib.web.site import application as application

logging.basicConfig(
    format='edeploy: time=%(asctime)s level=%(levelname)s %(message)s',
    datefmt='%Y-%m-%dT%H:%M:%S%z',
    level=logging.INFO,
)
