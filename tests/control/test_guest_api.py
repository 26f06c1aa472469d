"""What the API tells of guests, and what it does with what they sent."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail

from peershare.errors import StorageError
from peershare.guest.status import GuestUpload, UploadState
from tests.control.http import ServiceTestCase


def an_upload(identifier: str, name: str = "a.png") -> GuestUpload:
    """A file that waits."""
    return GuestUpload(
        id=identifier,
        name=name,
        size=10,
        address="198.18.0.2",
        received=10,
        state=UploadState.WAITING,
        received_at=0.0,
    )


class GuestTests(ServiceTestCase):
    async def test_status(self) -> None:
        """The link, its code, and what waits."""
        self.node.guest.uploads.append(an_upload("7"))
        answer = await self.ask("GET", "/api/guest")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.json["link"].startswith("http://"))
        self.assertIn("svg", answer.json["qr"])
        self.assertEqual([upload["id"] for upload in answer.json["uploads"]], ["7"])

    async def test_decide(self) -> None:
        """An upload is accepted or refused, once."""
        self.node.guest.uploads += [an_upload("7"), an_upload("8")]
        taken = await self.post("/api/guest/uploads/7/accept", {})
        self.assertEqual((taken.status, taken.json["state"]), (200, "accepted"))
        refused = await self.post("/api/guest/uploads/8/refuse", {})
        self.assertEqual((refused.status, refused.json["state"]), (200, "refused"))
        self.assertEqual(self.node.asked, [("accept", "7"), ("refuse", "8")])
        for path in ("7/accept", "8/refuse", "..%2f8/refuse"):
            again = await self.post(f"/api/guest/uploads/{path}", {})
            self.assertEqual((again.status, again.json["error"]), (404, "unknown-upload"))

    async def test_disk(self) -> None:
        """A disk that does not take it is told as such."""

        def accept(_: str) -> Deferred[Any]:
            return fail(StorageError("/inbox: the disk is full", 5))

        self.patch(self.node.guest, "accept", accept)
        answer = await self.post("/api/guest/uploads/7/accept", {})
        self.assertEqual((answer.status, answer.json["error"]), (503, "storage"))
        self.assertEqual(answer.json["needed_bytes"], 5)

    async def test_changes_are_json(self) -> None:
        """Another site's form decides nothing."""
        self.node.guest.uploads.append(an_upload("7"))
        headers = self.headers(content_type="text/plain")
        plain = await self.ask("POST", "/api/guest/uploads/7/accept", headers, b"{}")
        self.assertEqual(plain.status, 415)
        self.assertEqual(self.node.asked, [])
