"""A service starts, and keeps up with its folder, whatever call of it fails."""

from __future__ import annotations

from tests.faults.driver import EachStep
from tests.faults.services import IndexChange, Start


class StartTests(EachStep):
    """A start on what a former run left."""

    operation = Start


class IndexTests(EachStep):
    """Changes of the share folder."""

    operation = IndexChange


del EachStep  # it is no test of its own
