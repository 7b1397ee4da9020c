"""`accelerate launch -m pelrp_nb.faithfulness CONFIG`, or the same with python alone."""

from __future__ import annotations

import sys

from ..errors import exit_code
from .command import main

if __name__ == "__main__":
    sys.exit(exit_code(main))
