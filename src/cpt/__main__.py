"""`python -m cpt` is the command `cpt`."""

import sys

from cpt.cli import main

if __name__ == "__main__":
    sys.exit(main())
