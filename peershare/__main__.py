"""`python -m peershare`: the same as the `peershare` command."""

from __future__ import annotations

import sys

from peershare.client.main import main

if __name__ == "__main__":
    sys.exit(main())
