#!/usr/bin/env python3
"""Hardware in, configure script out: as CGI, or from the command line with -f."""

import os
import sys

if 'GATEWAY_INTERFACE' in os.environ:
    from edeploylib.web.cgi import serve

    serve('upload')
else:
    from edeploylib.cli.upload import main

    sys.exit(main())
