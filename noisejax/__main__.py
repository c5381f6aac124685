"""The command line: ``python -m noisejax report | tune | preview``."""

import sys

from noisejax._command.main import main

if __name__ == "__main__":
    sys.exit(main())
