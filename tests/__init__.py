"""The tests of peershare; they mirror the package.

Hypothesis tries the same examples in every run, so that a failure is a failure everywhere;
`HYPOTHESIS_PROFILE=hunt` tries many more, and others each time.
"""

import os

from hypothesis import settings

settings.register_profile("suite", deadline=None, database=None, derandomize=True)
settings.register_profile("hunt", deadline=None, database=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
