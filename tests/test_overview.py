"""The overview: what people are shown can be shown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from peershare import overview
from peershare.dictionary import ContentDictionary
from peershare.holdings import Holdings
from peershare.library.entries import SharedFile
from peershare.library.files import Identity

NAME = "bad\udcff.txt"


class OneFile:
    """A library with one file, whose name is no UTF-8 (so it is told to nobody)."""

    def files(self) -> tuple[SharedFile, ...]:
        return (SharedFile(NAME, Path("/s"), NAME, Identity(1, 2, 10, 3), "no"),)

    def content_id(self, file: SharedFile) -> str:
        return ""

    def chunk_names(self, file: SharedFile) -> tuple[str, ...]:
        return ()


class NameTests(SynchronousTestCase):
    def test_a_name_that_is_not_utf8(self) -> None:
        """It is listed with question marks and can be sent as JSON like any other."""
        parts: Any = SimpleNamespace(
            dictionary=ContentDictionary(),
            library=OneFile(),
            neighbourhood=SimpleNamespace(holdings=Holdings(lambda address: False)),
        )
        listed = overview.contents(parts, 0.0)
        self.assertEqual([content.name for content in listed], ["bad?.txt"])
        self.assertIn(b"bad?.txt", msgspec.json.encode(listed))
