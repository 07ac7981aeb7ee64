#!/usr/bin/env python3
"""The results of a health check in: CGI."""

import os
import sys

if 'GATEWAY_INTERFACE' not in os.environ:
    sys.exit('upload-health.py is a CGI program: the web server runs it')

from edeploylib.web.cgi import serve

serve('health')
