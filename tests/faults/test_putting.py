"""What people and guests put here is whole, or not here, whatever call fails."""

from __future__ import annotations

from tests.faults.driver import EachStep
from tests.faults.putting import Accept, GuestUpload, ShareByBytes, ShareByCopy, ShareByLink


class LinkTests(EachStep):
    """A file is shared as a link."""

    operation = ShareByLink


class CopyTests(EachStep):
    """A file is shared as a copy."""

    operation = ShareByCopy


class BytesTests(EachStep):
    """A file is shared by its bytes."""

    operation = ShareByBytes


class GuestTests(EachStep):
    """A guest sends a file."""

    operation = GuestUpload


class AcceptTests(EachStep):
    """A guest's file is accepted."""

    operation = Accept


del EachStep  # it is no test of its own
