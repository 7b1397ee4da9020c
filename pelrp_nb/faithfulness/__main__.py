"""`accelerate launch -m pelrp_nb.faithfulness CONFIG`, or the same with python alone."""

from __future__ import annotations

import sys

from ..errors import PelrpError
from .command import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PelrpError, OSError) as error:
        print(f"pelrp_nb: {error}", file=sys.stderr)
        sys.exit(2)
