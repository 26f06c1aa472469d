"""Tell one story, or several: `python -m tests.simnet SEED [SEED…] [--trace FILE]`.

`--trace` writes down all that happened, line by line.  The exit status is 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import cast

from twisted.logger import ILogObserver, globalLogBeginner

from tests.simnet.story import Story


def main() -> int:
    """Tell them; how each went is printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", metavar="SEED", type=int, nargs="+")
    parser.add_argument("--trace", metavar="FILE", type=Path)
    options = parser.parse_args()
    silence = cast(ILogObserver, lambda event: None)
    globalLogBeginner.beginLoggingTo([silence], redirectStandardIO=False)
    failed = 0
    for seed in options.seeds:
        with options.trace.open("w") if options.trace else nullcontext() as text:
            outcome = Story(seed, text).run()
        failed += bool(outcome.problems)
        print(f"seed {seed}: {outcome.seconds:.1f} s, {outcome.events} events, {outcome.digest}")
        for line in (*outcome.plot, *outcome.problems):
            print("   ", line)
    return 1 if failed else 0


sys.exit(main())
