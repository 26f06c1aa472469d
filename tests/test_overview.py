"""The overview: what people are shown can be shown."""

from __future__ import annotations

from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from peershare import overview
from peershare.dictionary import ContentDictionary
from peershare.library.entries import SharedFile
from peershare.library.files import Identity


class OneFile:
    """A library with one file, whose name is no UTF-8 (so it is told to nobody)."""

    def files(self) -> tuple[SharedFile, ...]:
        return (SharedFile("bad\udcff.txt", Path("/s/bad\udcff.txt"), Identity(1, 2, 10, 3), "no"),)

    def chunk_names(self, file: SharedFile) -> tuple[str, ...]:
        return ()


class NameTests(SynchronousTestCase):
    def test_a_name_that_is_not_utf8(self) -> None:
        """It is listed with question marks and can be sent as JSON like any other."""
        listed = overview.contents(ContentDictionary(), OneFile(), 0.0)  # type: ignore[arg-type]
        self.assertEqual([content.name for content in listed], ["bad?.txt"])
        self.assertIn(b"bad?.txt", msgspec.json.encode(listed))
