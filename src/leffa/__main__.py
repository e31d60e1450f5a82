"""`python -m leffa` is `leffa`."""

import sys

from leffa.cli import main

if __name__ == "__main__":
    sys.exit(main())
