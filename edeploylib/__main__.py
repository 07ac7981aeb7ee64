"""``python -m edeploylib``: the operator's desk."""

import sys

from edeploylib.cli.desk import main

if __name__ == '__main__':
    sys.exit(main())
