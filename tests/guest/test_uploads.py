"""Uploads: hidden until accepted, never over a limit, never over another file."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred

from peershare.errors import BadNameError, StorageError, UnknownUploadError
from peershare.guest import inbox as inboxes
from peershare.guest.connection import CHECK_SECONDS, STALLED_SECONDS
from peershare.guest.inbox import LIST_NAME, Inbox, NotTakenError
from peershare.guest.status import GuestUpload, UploadState
from peershare.library import files
from peershare.library.parts import PART_FOLDER, PartFile
from tests.fakes import FakeDisk, HeldWorkers
from tests.guest.world import GUEST, LIMIT, OTHER, WALL, Answer, GuestTestCase, form, post

DATA = Random(3).randbytes(200_000)
PLAIN = "Accept: text/plain"


class UploadTestCase(GuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.box = self.folder / "Inbox"

    def hidden(self) -> list[Path]:
        """What lies there and was not accepted."""
        return sorted((self.box / PART_FOLDER).glob("*"))

    def send(self, *files: tuple[str, bytes], host: str = GUEST) -> Answer:
        """Send these with the form."""
        guest = self.open(host).send(post(form(*files), None, PLAIN))
        self.assertTrue(guest.ended)
        return guest.answer

    def only(self) -> GuestUpload:
        (upload,) = self.inbox.uploads()
        return upload


class SendTests(UploadTestCase):
    def test_waits(self) -> None:
        """It is there whole, hidden, private, and somebody is told."""
        answer = self.send(("a b.png", DATA))
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
        upload = self.only()
        self.assertEqual((upload.name, upload.size, upload.address), ("a b.png", len(DATA), GUEST))
        self.assertEqual((upload.state, upload.received_at), (UploadState.WAITING, WALL))
        self.assertEqual(self.waiting, [upload])
        (path,) = self.hidden()
        self.assertEqual(path.read_bytes(), DATA)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(path.parent.stat().st_mode & 0o777, 0o700)
        self.assertEqual([p.name for p in self.box.iterdir()], [PART_FOLDER])

    def test_without_script(self) -> None:
        """The form alone leads back to the page, which says thank you."""
        guest = self.open().send(post(form(("a.png", DATA))))
        self.assertEqual(guest.answer.status, 303)
        page = self.get(guest.answer.headers["location"])
        self.assertIn(b"waits until somebody there accepts", page.body)

    def test_several_and_in_pieces(self) -> None:
        """Several files in one form, byte by byte."""
        guest = self.open()
        for byte in post(form(("a.png", b"one"), ("b.png", b"two" * 9))):
            guest.connection.dataReceived(bytes([byte]))
        self.assertEqual(guest.take().answer.status, 303)
        self.assertEqual([u.size for u in self.inbox.uploads()], [3, 27])

    def test_continue(self) -> None:
        """A client that asks first is told to go on."""
        body = form(("a.png", DATA))
        guest = self.open().send(post(b"", len(body), "Expect: 100-continue"))
        self.assertEqual(guest.received, b"HTTP/1.1 100 Continue\r\n\r\n")
        guest.received = b""
        self.assertEqual(guest.send(body).answer.status, 303)

    def test_while_it_arrives(self) -> None:
        """It is shown with how much is there, and its size from the start."""
        body = form(("a.png", DATA))
        guest = self.open().send(post(body[:100_000], len(body)))
        upload = self.only()
        self.assertEqual((upload.state, upload.size), (UploadState.ARRIVING, len(DATA)))
        self.assertTrue(99_000 < upload.received < 100_000)
        guest.send(body[100_000:])
        self.assertEqual(self.only().state, UploadState.WAITING)

    def test_misleading_names(self) -> None:
        """A name that hides or is obeyed is harmless from the first moment on."""
        self.send(("desktop.ini", DATA))
        self.assertEqual(self.only().name, "desktop.ini.txt")


class RefusedTests(UploadTestCase):
    def refused(self, data: bytes, status: int, host: str = GUEST) -> str:
        """Refused with this status and an end in order; nothing is kept of it."""
        before = self.inbox.uploads(), self.hidden()
        guest = self.open(host).send(data)
        self.assertEqual(guest.answer.status, status, guest.received[:300])
        self.assertTrue(guest.ended)
        self.assertEqual((self.inbox.uploads(), self.hidden()), before)
        return guest.answer.body.decode()

    def test_names(self) -> None:
        """A name that is a path, or no name for a file, is refused; nothing lies anywhere."""
        for name in (
            "../../x",
            "a/b",
            "..\\x",
            "C:\\x",
            "/etc/passwd",
            ".hidden",
            "NUL",
            "a\x00b",
            "a\r\nb",
            "x" * 201,
            "con.txt",
            "a:b",
            "  ",
            "a.",
        ):
            text = self.refused(post(form((name, b"x")), None, PLAIN), 400)
            self.assertIn("file name", text, name)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["share"])

    def test_lengths(self) -> None:
        """Without a length, or with one that is too long, nothing is read."""
        head = post(b"", 5).replace(b"Content-Length: 5\r\n", b"")
        self.refused(head, 411)
        chunked = head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello")
        self.refused(chunked, 411)
        self.refused(post(b"", 10**12), 413)
        self.refused(post(form(("a.png", b"x" * (LIMIT + 1)))), 413)
        self.assertEqual(self.send(("a.png", b"x" * LIMIT)).status, 200)

    def test_no_form(self) -> None:
        """What is no form, or has no file in it, is told so."""
        self.refused(post(b"hello", None, "Content-Type: text/plain"), 415)
        self.refused(post(b"hello"), 400)
        self.refused(post(form(("", b""))), 400)
        self.refused(post(form(("a.png", b"x"))[:-10]), 400)

    def test_no_body(self) -> None:
        """A body of no bytes has no file in it, and is not waited for."""
        self.refused(post(b"", 0), 400)

    def test_too_many(self) -> None:
        """Their number is bounded, of one address and in all; so is their size."""
        self.patch(inboxes, "MAX_UPLOADS_PER_ADDRESS", 2)
        self.patch(inboxes, "MAX_UPLOADS", 3)
        for host in (GUEST, GUEST, OTHER):
            self.assertEqual(self.send(("a.png", b"x"), host=host).status, 200)
            if host == GUEST and len(self.inbox.uploads()) == 2:
                self.refused(post(form(("a.png", b"x"))), 413)
        self.refused(post(form(("a.png", b"x"))), 413, OTHER)

    def test_all_together(self) -> None:
        """Four times the limit of one may wait; who has nothing here has the last quarter."""
        for _ in range(3):
            self.assertEqual(self.send(("a.png", b"x" * LIMIT)).status, 200)
        self.refused(post(form(("a.png", b"x" * 100))), 413)
        self.assertEqual(self.send(("a.png", b"x" * LIMIT), host=OTHER).status, 200)
        self.refused(post(form(("a.png", b"x" * 100))), 413, "198.18.0.4")
        self.inbox.refuse(self.inbox.uploads()[0].id)
        self.assertEqual(self.send(("a.png", b"x" * 100), host="198.18.0.4").status, 200)

    def test_only_announced(self) -> None:
        """What was announced and does not arrive takes no room; what arrives too much is cut."""
        body = form(("a.png", b"x" * LIMIT))
        hosts = [f"198.18.0.{number}" for number in range(10, 18)]
        guests = [self.open(host).send(post(body[:1_000], len(body))) for host in hosts]
        self.assertEqual(self.send(("a.png", b"x" * LIMIT), host=OTHER).status, 200)
        for guest in guests:
            guest.send(body[1_000:])
        statuses = [guest.answer.status for guest in guests]
        self.assertEqual((statuses.count(303), statuses.count(413)), (3, 5))
        self.assertEqual((self.inbox.used(), len(self.hidden())), (4 * LIMIT, 4))

    def test_places_for_others(self) -> None:
        """The last quarter of the places is for addresses that have nothing here."""
        self.patch(inboxes, "MAX_UPLOADS", 4)
        for _ in range(3):
            self.assertEqual(self.send(("a.png", b"x")).status, 200)
        self.refused(post(form(("a.png", b"x"))), 413)
        self.assertEqual(self.send(("a.png", b"x"), host=OTHER).status, 200)

    def test_cut_in_the_middle(self) -> None:
        """Nothing is kept of what is not whole."""
        body = form(("a.png", DATA))
        guest = self.open().send(post(body[:-1_000], len(body)))
        self.assertEqual(len(self.hidden()), 1)
        guest.transport.lose(ConnectionError())
        self.assertEqual((self.hidden(), self.inbox.uploads()), ([], ()))

    def test_stands_still(self) -> None:
        """An upload that stands still is cut."""
        body = form(("a.png", DATA))
        guest = self.open().send(post(body[:-1_000], len(body)))
        self.reactor.pump([CHECK_SECONDS] * int(STALLED_SECONDS / CHECK_SECONDS + 1))
        self.assertTrue(guest.reset)
        self.assertEqual(self.hidden(), [])

    def test_goes_on_after_a_refusal(self) -> None:
        """Who sends on although it was refused may do so for a moment, and gets to read why."""
        body = form(("../x", DATA))
        guest = self.open().send(post(body[:1_000], len(body)))
        guest.connection.dataReceived(body[1_000:])
        self.assertEqual(guest.take().answer.status, 400)
        self.assertFalse(guest.reset)
        for _ in range(65):
            guest.connection.dataReceived(bytes(1 << 20))
        self.assertTrue(guest.reset)

    def test_disk_full(self) -> None:
        """Our disk is said to be full, its path is not; nothing is kept."""
        disk = FakeDisk(self.patch)
        disk.full_after = 50_000
        text = self.refused(post(form(("a.png", DATA)), None, PLAIN), 507)
        self.assertIn("not enough room", text)
        self.assertNotIn("Inbox", text)

    def test_no_room(self) -> None:
        """Where there is no room for it, it does not begin."""

        def check_room(file: PartFile, more: int) -> None:
            raise StorageError(f"{file.folder}: the disk is full", more)

        self.patch(PartFile, "check_room", check_room)
        self.refused(post(form(("a.png", DATA))), 507)

    def test_cannot_be_kept(self) -> None:
        """A disk that fails at the last moment is told as such."""

        def sync(file: PartFile) -> None:
            raise StorageError(f"{file.path}: cannot write to the disk")

        self.patch(PartFile, "sync", sync)
        self.refused(post(form(("a.png", DATA), ("b.png", DATA))), 507)


class DecideTests(UploadTestCase):
    def test_accept(self) -> None:
        """It gets its name in the inbox folder, never that of another file."""
        self.send(("a.png", DATA))
        self.send(("a.png", b"another"))
        self.send(("A.PNG", b"a third"))
        for upload, name in zip(
            self.inbox.uploads(), ("a.png", "a (2).png", "A (3).PNG"), strict=True
        ):
            taken = self.successResultOf(self.inbox.accept(upload.id))
            self.assertEqual(taken.state, UploadState.ACCEPTED)
            self.assertEqual(Path(taken.path), self.box / name)
        self.assertEqual((self.box / "a.png").read_bytes(), DATA)
        self.assertEqual((self.box / "a (2).png").read_bytes(), b"another")
        self.assertEqual((self.inbox.uploads(), self.hidden()), ((), []))

    def test_refuse(self) -> None:
        """It is gone; and is none any more."""
        self.send(("a.png", DATA))
        upload = self.only()
        self.assertEqual(self.inbox.refuse(upload.id).state, UploadState.REFUSED)
        self.assertEqual((self.inbox.uploads(), self.hidden()), ((), []))
        for decide in (self.inbox.refuse, self.inbox.accept):
            self.assertRaises(UnknownUploadError, decide, upload.id)
            self.assertRaises(UnknownUploadError, decide, "../../x")

    def test_refuse_while_it_arrives(self) -> None:
        """It is cut, and its guest told."""
        body = form(("a.png", DATA))
        guest = self.open().send(post(body[:1_000], len(body), PLAIN))
        self.assertRaises(UnknownUploadError, self.inbox.accept, self.only().id)
        self.inbox.refuse(self.only().id)
        self.assertEqual(self.hidden(), [])
        guest.send(body[1_000:])
        self.assertEqual((guest.answer.status, self.inbox.uploads()), (413, ()))
        self.assertIn(b"refused here", guest.answer.body)

    def test_disk_fails(self) -> None:
        """What cannot be put into the folder still waits, and can be accepted later."""
        self.send(("a.png", DATA))
        upload = self.only()
        patch = self.patch(inboxes.PartFile, "finish", _failing("finish"))
        self.failureResultOf(self.inbox.accept(upload.id), StorageError)
        self.assertEqual(self.inbox.uploads(), (upload,))
        patch.restore()
        self.successResultOf(self.inbox.accept(upload.id))
        self.assertEqual((self.box / "a.png").read_bytes(), DATA)

    def test_changed_meanwhile(self) -> None:
        """What is not as it came is not accepted."""
        self.send(("a.png", DATA))
        for data in (b"short", bytes(len(DATA))):
            self.hidden()[0].write_bytes(data)
            self.failureResultOf(self.inbox.accept(self.only().id), StorageError)
        self.hidden()[0].write_bytes(DATA)
        self.successResultOf(self.inbox.accept(self.only().id))

    def test_gone_meanwhile(self) -> None:
        """Nothing is made in the place of what somebody removed."""
        self.send(("a.png", DATA))
        self.hidden()[0].unlink()
        self.failureResultOf(self.inbox.accept(self.only().id), StorageError)
        self.assertEqual(self.hidden(), [])

    def test_name_not_durable(self) -> None:
        """It is accepted once its name is on the disk; what fails is gone on with."""
        self.send(("a.png", DATA))
        upload = self.only()
        patch = self.patch(files.OpenFolder, "sync", _io_error)
        for _ in range(2):
            self.failureResultOf(self.inbox.accept(upload.id), StorageError)
            self.assertEqual(self.inbox.uploads(), (upload,))
        patch.restore()
        self.assertEqual(
            self.successResultOf(self.inbox.accept(upload.id)).path, str(self.box / "a.png")
        )
        self.assertEqual([path.name for path in self.box.iterdir()], ["a.png"])

    def test_cannot_be_removed(self) -> None:
        """What is refused and cannot be removed still waits."""
        self.send(("a.png", DATA))
        patch = self.patch(os, "unlink", _io_error)
        self.assertRaises(StorageError, self.inbox.refuse, self.only().id)
        patch.restore()
        self.inbox.refuse(self.only().id)
        self.assertEqual((self.hidden(), self.inbox.uploads()), ([], ()))

    def test_bad_name(self) -> None:
        """The inbox judges names itself."""
        self.assertRaises(BadNameError, self.inbox.begin, "../x", 1, GUEST)
        self.assertRaises(NotTakenError, self.inbox.begin, "x", LIMIT + 1, GUEST)


class SlowDiskTests(UploadTestCase):
    def setUp(self) -> None:
        self.workers = HeldWorkers()
        super().setUp()

    def test_answered_when_safe(self) -> None:
        """The guest is told once it is on the disk, however long that takes."""
        guest = self.open().send(post(form(("a.png", DATA))))
        self.reactor.pump([CHECK_SECONDS] * 20)
        self.assertEqual((guest.received, guest.reset), (b"", False))
        self.workers.do_all()
        self.assertEqual(guest.take().answer.status, 303)

    def test_accepted_twice(self) -> None:
        """While it is being accepted it cannot be decided on again."""
        self.open().send(post(form(("a.png", DATA))))
        self.workers.do_all()
        accepting: Deferred[GuestUpload] = self.inbox.accept(self.only().id)
        for decide in (self.inbox.accept, self.inbox.refuse):
            self.assertRaises(UnknownUploadError, decide, self.only().id)
        self.workers.do_all()
        self.assertEqual(self.successResultOf(accepting).state, UploadState.ACCEPTED)


class RestartTests(UploadTestCase):
    def restart(self) -> Inbox:
        """The inbox of the next run."""
        after = Inbox(
            self.box, self.folder, LIMIT, self.workers, Random(2), lambda: WALL, self.waiting.append
        )
        after.recall()
        return after

    def test_what_waited(self) -> None:
        """What was whole waits on; what was not is removed."""
        self.send(("a.png", DATA))
        body = form(("b.png", DATA))
        self.open().send(post(body[:1_000], len(body)))
        self.kill()
        after = self.restart()
        self.assertEqual([upload.name for upload in after.uploads()], ["a.png"])
        self.assertEqual(len(self.hidden()), 1)
        self.successResultOf(after.accept(after.uploads()[0].id))
        self.assertEqual((self.box / "a.png").read_bytes(), DATA)
        self.assertEqual(self.restart().uploads(), ())

    def kill(self) -> None:
        """The process that has files open is no more."""
        for upload in self.inbox._arriving.values():
            upload._file.close()

    def test_stopped(self) -> None:
        """The end of the service keeps what waits and drops what arrives."""
        self.send(("a.png", DATA))
        body = form(("b.png", DATA))
        self.open().send(post(body[:1_000], len(body)))
        self.inbox.stop()
        self.assertEqual([upload.name for upload in self.inbox.uploads()], ["a.png"])
        self.assertEqual(len(self.hidden()), 1)

    def recovered(self) -> GuestUpload:
        """The one that is there although its line is lost."""
        (upload,) = self.restart().uploads()
        self.assertEqual((upload.size, upload.state), (len(DATA), UploadState.WAITING))
        self.assertTrue(upload.name.startswith("guest-"))
        return upload

    def test_damaged(self) -> None:
        """A list that is torn, or lies, is set aside; the files that it named are still there."""
        self.send(("a.png", DATA))
        path = self.folder / LIST_NAME
        good = path.read_bytes()
        line = json.loads(good)[0]
        for bad in (b"\xff", good[:40], b"", b"{}", json.dumps([{**line, "id": "../../share"}])):
            path.write_bytes(bad if isinstance(bad, bytes) else bad.encode())
            self.recovered()
            self.assertFalse(path.exists())
        aside = sorted(path.name for path in self.folder.glob(f"{LIST_NAME}.bad*"))
        self.assertEqual(len(aside), 5)
        after = self.restart()
        taken = self.successResultOf(after.accept(after.uploads()[0].id))
        self.assertEqual(Path(taken.path).read_bytes(), DATA)

    def test_lost(self) -> None:
        """Without its list every whole file still waits."""
        self.send(("a.png", DATA))
        (self.folder / LIST_NAME).unlink()
        self.recovered()

    def test_list_of_another_size(self) -> None:
        """A line that does not fit its file removes nothing, and gives it no name."""
        self.send(("a.png", DATA))
        path = self.folder / LIST_NAME
        path.write_text(json.dumps([{**json.loads(path.read_text())[0], "size": 5}]))
        after = self.restart()
        self.failureResultOf(after.accept(after.uploads()[0].id), StorageError)
        self.assertEqual(len(self.hidden()), 1)

    def test_of_the_version_before(self) -> None:
        """Its list has no digests."""
        self.send(("a.png", DATA))
        path = self.folder / LIST_NAME
        line = json.loads(path.read_text())[0]
        self.assertEqual(len(line.pop("digest")), 64)
        path.write_text(json.dumps([line]))
        after = self.restart()
        self.assertEqual([upload.name for upload in after.uploads()], ["a.png"])
        self.successResultOf(after.accept(after.uploads()[0].id))
        self.assertEqual((self.box / "a.png").read_bytes(), DATA)

    def test_cannot_be_read_yet(self) -> None:
        """While the list, or the folder, cannot be read nothing is removed, changed or taken."""
        self.send(("a.png", DATA))
        before = (self.folder / LIST_NAME).read_bytes()
        for module, call in ((Path, "open"), (os, "scandir")):
            patch = self.patch(module, call, _io_error)
            after = self.restart()
            self.assertEqual(after.uploads(), ())
            self.assertRaises(StorageError, after.begin, "b.png", 3, GUEST)
            patch.restore()
            self.assertEqual(len(self.hidden()), 1)
            self.assertEqual((self.folder / LIST_NAME).read_bytes(), before)
            after.recall()
            self.assertEqual([upload.name for upload in after.uploads()], ["a.png"])
            after.recall()
            self.assertEqual(len(after.uploads()), 1)

    def test_folder_not_there(self) -> None:
        """A disk that is not mounted at a start comes back."""
        self.send(("a.png", DATA))
        away = self.box.with_name("away")
        self.box.rename(away)
        after = self.restart()
        upload = after.uploads()[0]
        self.failureResultOf(after.accept(upload.id), StorageError)
        self.assertFalse(self.box.exists())
        away.rename(self.box)
        self.successResultOf(after.accept(upload.id))
        self.assertEqual((self.box / "a.png").read_bytes(), DATA)

    def test_accepted_and_killed(self) -> None:
        """A line of what has its name by now is no upload any more."""
        self.send(("a.png", DATA))
        before = (self.folder / LIST_NAME).read_bytes()
        self.successResultOf(self.inbox.accept(self.only().id))
        (self.folder / LIST_NAME).write_bytes(before)
        self.assertEqual(self.restart().uploads(), ())
        self.assertEqual([path.name for path in self.box.iterdir()], ["a.png"])

    def test_arriving_elsewhere(self) -> None:
        """What another node is taking into this folder is not removed."""
        body = form(("b.png", DATA))
        guest = self.open().send(post(body[:1_000], len(body)))
        self.restart()
        self.assertEqual(guest.send(body[1_000:]).answer.status, 303)
        self.assertEqual(len(self.hidden()), 1)

    def test_order_of_durability(self) -> None:
        """Bytes, the name that says that it is whole, the list: all before the answer."""
        events: list[str] = []
        real_sync, real_data, real_link = os.fsync, os.fdatasync, os.link

        def fsync(descriptor: int) -> None:
            real_sync(descriptor)
            events.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")

        def fdatasync(descriptor: int) -> None:
            real_data(descriptor)
            events.append("sync data")

        def link(source: str, name: str, **more: Any) -> None:
            real_link(source, name, **more)
            if name.endswith(".upload"):
                events.append("whole")

        self.patch(os, "fsync", fsync)
        self.patch(os, "fdatasync", fdatasync)
        self.patch(os, "link", link)
        self.assertEqual(self.send(("a.png", DATA)).status, 200)
        folders = [f"sync {path.name}" for path in (self.box, self.folder)]
        expected = ["sync data", "whole", "sync .peershare", *folders]
        self.assertEqual(events, [*expected, f"sync .{LIST_NAME}.new", f"sync {self.folder.name}"])


class ClosedTests(GuestTestCase):
    uploads = False

    def test_nothing_is_taken(self) -> None:
        """Without the option there is no such path."""
        self.assertEqual(self.open().send(post(form(("a.png", b"x")))).answer, self.get("/"))
        self.assertFalse((self.folder / "Inbox").exists())


def _io_error(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _failing(name: str) -> Callable[..., Any]:
    def fail(file: PartFile, *_: object) -> None:
        raise StorageError(f"{file.path}: cannot {name}: Read-only file system")

    return fail
