"""Downloads go on by themselves, whatever call of theirs fails."""

from __future__ import annotations

from tests.faults.downloads import ClassicDownload, NativeDownload
from tests.faults.driver import EachStep


class NativeTests(EachStep):
    """A verified download."""

    operation = NativeDownload


class ClassicTests(EachStep):
    """A download by the classic protocol."""

    operation = ClassicDownload


del EachStep  # it is no test of its own
