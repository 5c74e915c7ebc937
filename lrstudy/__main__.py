"""``python -m lrstudy``: the command ``lrstudy``."""

import sys

from lrstudy.study.console import main

if __name__ == "__main__":
    sys.exit(main())
