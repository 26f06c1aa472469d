"""Whole downloads: chunk after chunk, address after address, until the file is there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.internet import error

from peershare.download import storing
from peershare.download.content import DISK_RETRY_SECONDS
from peershare.library import parts
from peershare.status import ChunkState, DownloadState, NoticeKind
from tests.download.world import CONTENT, A, B, C, DownloadTestCase, pieces
from tests.fakes import FakeDisk, HeldWorkers, run_now

OTHER = bytes(range(100, 200))  # another content of the same name, with chunks of 20
ONE, TWO, THREE, FOUR, FIVE = pieces(CONTENT)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


class WholeTests(DownloadTestCase):
    def test_five_chunks_in_order_from_the_first_address(self) -> None:
        """Five sequential downloads (2.3.0-B), joined under the final name, unverified."""
        self.tell(A)
        self.tell(B)
        self.start()
        self.assertEqual(self.serve(), [(A, f"forest_{number}") for number in range(1, 6)])
        self.assert_state(DownloadState.DONE)
        self.assertEqual(self.status.path, str(self.share / "forest"))
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)
        self.assertFalse(self.status.verified)
        self.assertEqual((self.status.received, self.status.size), (47, 47))
        self.assertEqual(self.status.given, {A: 47})
        self.assert_no_timers()

    def test_each_chunk_is_one_line_in_the_log(self) -> None:
        """With its source, marked as unverified (2.3.0-G), and one notice."""
        self.tell(A)
        self.start()
        self.serve()
        expected = [(A, f"forest_{number}", "ok unverified") for number in range(1, 6)]
        self.assertEqual(self.log_lines(), expected)
        self.assertEqual(self.notices(NoticeKind.CHUNK)[0], f"forest_1 downloaded from {A}")

    def test_connections_to_one_address_come_one_after_another(self) -> None:
        """The next chunk is asked for once the connection before is really closed."""
        self.tell(A)
        self.start()
        first = self.accept()
        first.give(ONE)
        self.assertEqual(self.reactor.waiting, [])
        first.end()
        self.assertEqual(self.dialled.host, A)

    def test_the_request_uses_the_addresses_own_spelling(self) -> None:
        """Zero-based, with extension, as each told it."""
        self.tell(A, *(f"forest.png_{number}" for number in range(5)))
        self.start()
        asked = [self.give(piece) for piece in pieces(CONTENT)]
        self.assertEqual(asked, [f"forest.png_{number}" for number in range(5)])
        self.assertEqual((self.share / "forest.png").read_bytes(), CONTENT)

    def test_one_that_nobody_has_is_searched_for(self) -> None:
        """Nothing is dialled; it starts at once when somebody tells it."""
        self.start()
        self.assert_state(DownloadState.SEARCHING)
        self.tell(A, stem="bee")
        self.assertEqual(self.reactor.dialled, [])
        self.tell(A)
        self.serve()
        self.assert_state(DownloadState.DONE)

    def test_chunks_from_different_addresses(self) -> None:
        """Each from whoever has it; what is told while it runs is used."""
        self.tell(A, "forest_1", "forest_2")
        self.start()
        self.assertEqual(self.serve(), [(A, "forest_1"), (A, "forest_2")])
        self.assert_state(DownloadState.SEARCHING)
        self.tell(B, "forest_3", "forest_4", "forest_5")
        self.assertEqual([host for host, _ in self.serve()], [B, B, B])
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)

    def test_a_later_chunk_first(self) -> None:
        """While chunk 1 is nowhere the others come, each to its place; chunk 5 needs a size."""
        self.tell(A, "forest_5")
        self.start()
        self.assertEqual(self.reactor.dialled, [])
        self.tell(A, "forest_3")
        self.assertEqual(self.serve(), [(A, "forest_3"), (A, "forest_5")])
        self.tell(B)
        self.assertEqual([name for _, name in self.serve()], ["forest_1", "forest_2", "forest_4"])
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)

    def test_the_next_chunk_comes_while_the_last_one_is_stored(self) -> None:
        """Syncing and hashing happen beside the transfer; the end waits for them."""
        workers = HeldWorkers()
        self.tell(A)
        self.start()
        self.workers = workers
        self.serve()
        self.assertEqual(workers.waiting, ["sync_and_hash"] * 5)
        self.assert_state(DownloadState.FINISHING)
        for _ in range(6):
            workers.do_one()
        self.assertEqual(workers.waiting, ["finish"])
        workers.do_all()
        self.assert_state(DownloadState.DONE)

    def test_a_large_content(self) -> None:
        """More than one read a chunk; the picture counts with every read."""
        content = os.urandom(1_000_003)
        self.tell(A)
        self.start()
        dialled = self.accept()
        piece = pieces(content)[0]
        for start in range(0, len(piece), 65_536):
            dialled.give(piece[start : start + 65_536])
            self.assertEqual(self.status.received, min(start + 65_536, len(piece)))
        self.assertEqual(self.status.chunks[0].state, ChunkState.FETCHING)
        self.assertEqual((self.status.chunks[0].source, self.status.peer), (A, A))
        dialled.end()
        self.serve(content)
        self.assertEqual((self.share / "forest").read_bytes(), content)


class NameTests(DownloadTestCase):
    def fetched(self, name: str, content: bytes = CONTENT, stem: str = "forest") -> str:
        """The name of the file that a download of this name gives."""
        self.tell(A, stem=stem)
        self.start(name)
        self.serve(content)
        return Path(self.status.path).name

    def test_the_extension_from_the_first_bytes(self) -> None:
        """`forest` that begins like a picture becomes forest.png."""
        self.assertEqual(self.fetched("forest", PNG), "forest.png")

    def test_the_typed_extension_wins(self) -> None:
        """Whatever the bytes look like."""
        self.assertEqual(self.fetched("forest.jpg", PNG), "forest.jpg")

    def test_the_told_extension_comes_before_the_bytes(self) -> None:
        """A peer that tells `forest.gif_1` knows what it is."""
        self.assertEqual(self.fetched("forest", PNG, "forest.gif"), "forest.gif")

    def test_no_extension_is_none(self) -> None:
        """Bytes that say nothing leave the name as it was typed."""
        self.assertEqual(self.fetched("forest"), "forest")

    def test_into_another_folder(self) -> None:
        """It lies there, and is offered from there."""
        self.tell(A)
        folder = self.state.parent / "elsewhere"
        self.start("forest", folder)
        self.serve()
        self.assertEqual(self.status.path, str(folder / "forest"))
        handle = self.library.find_chunk("forest_5")
        assert handle is not None
        self.assertEqual(handle.path, folder / "forest")

    def test_never_over_a_different_file(self) -> None:
        """The user's file stays, the download becomes (2)."""
        (self.share / "forest").write_bytes(b"precious")
        self.assertEqual(self.fetched("forest"), "forest (2)")
        self.assertEqual((self.share / "forest").read_bytes(), b"precious")

    def test_an_equal_file_is_the_result(self) -> None:
        """The user has it already: no second one."""
        (self.share / "forest").write_bytes(CONTENT)
        self.assertEqual(self.fetched("forest"), "forest")
        self.assertEqual([path.name for path in self.share.iterdir()], ["forest"])

    def test_a_folder_has_the_name(self) -> None:
        """The share folder may hold a folder called so: the file becomes (2)."""
        (self.share / "forest").mkdir()
        self.assertEqual(self.fetched("forest"), "forest (2)")


class FailoverTests(DownloadTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tell(A)
        self.tell(B)
        self.start()

    def assert_failed_over(self, reason: str) -> None:
        """A failed once, for this reason; B gives the rest of the file."""
        self.assertEqual(self.dialled.host, B)
        (line,) = [line for line in self.log_lines() if line[0] == A]
        self.assertTrue(line[2].startswith(f"failed {reason}: "), line)
        (notice,) = self.notices(NoticeKind.FAILOVER)
        self.assertIn(f"forest_1: {A} ", notice)
        self.assertIn(f"trying {B}", notice)
        self.serve()
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)
        self.assertEqual(self.notices(NoticeKind.WARNING), [])

    def test_refused(self) -> None:
        """Nobody listens: the next address, at once."""
        self.dialled.refuse()
        self.assert_failed_over("refused")

    def test_no_answer(self) -> None:
        """The connect timeout: the next address, and this one last for the other chunks."""
        self.dialled.fail(error.TimeoutError())
        self.assert_failed_over("connect-timeout")
        self.assertEqual([d.host for d in self.reactor.dialled], [A, B, B, B, B, B])

    def test_no_route(self) -> None:
        """Whatever the network says."""
        self.dialled.fail(error.NoRouteError())
        self.assert_failed_over("unreachable")

    def test_stalled(self) -> None:
        """15 s without a byte."""
        self.accept().give(b"abc")
        self.reactor.pump([1.0] * 16)
        self.assert_failed_over("stalled")

    def test_a_trickle(self) -> None:
        """60 s below 1 KiB a second."""
        dialled = self.accept()
        for _ in range(62):
            if not dialled.over or self.reactor.waiting:
                break
            dialled.give(b"x")
            self.reactor.advance(1.0)
        self.assert_failed_over("too-slow")

    def test_reset(self) -> None:
        """In mid-transfer; what came of the chunk is written over."""
        dialled = self.accept()
        dialled.give(b"abc")
        dialled.reset()
        self.assert_failed_over("reset")

    def test_empty(self) -> None:
        """A clean close without a byte."""
        self.give(b"")
        self.assert_failed_over("empty")


class MisfitTests(DownloadTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tell(A)
        self.tell(B)
        self.start()

    def test_closed_short(self) -> None:
        """Fewer bytes than the others have: the next address; no gap is left in the file."""
        self.give(ONE)
        self.give(TWO[:3])
        self.assertEqual(self.dialled.host, B)
        self.serve()
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)
        self.assertIn((A, "forest_2"), [line[:2] for line in self.log_lines()])
        self.assertTrue(self.log_lines()[1][2].startswith("failed short: gave 3 bytes where 10"))

    def test_too_many_bytes(self) -> None:
        """More than a chunk can have: the next address; the surplus is nowhere in the file."""
        self.give(ONE)
        self.give(TWO + b"x")
        self.assertEqual(self.dialled.host, B)
        self.serve()
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)

    def test_a_first_chunk_that_was_cut_short(self) -> None:
        """Its length is believed until more chunks speak against it; then it is fetched anew."""
        self.give(ONE[:3])
        self.give(TWO)
        self.serve()
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)
        self.assertIn("forest_1 cannot belong to one file", self.notices(NoticeKind.WARNING)[-1])

    def test_two_contents_of_one_name(self) -> None:
        """Chunks of two files are never glued together: the larger number of chunks wins."""
        self.give(ONE)
        self.give(TWO)
        for _ in range(3):
            self.dialled.fail(error.TimeoutError())  # A is gone
            self.serve(OTHER, 1)
        self.serve(OTHER)
        self.assert_state(DownloadState.DONE)
        self.assertEqual((self.share / "forest").read_bytes(), OTHER)
        self.assertIn("two contents of one name", self.notices(NoticeKind.WARNING)[-1])

    def test_replies_that_never_agree(self) -> None:
        """A peer that gives another length each time is not asked again and again without rest."""
        answered = 0
        for length in range(1, 200):
            if not self.reactor.waiting:
                break
            self.give(b"x" * length)
            answered += 1
        self.assertLess(answered, 50)
        self.assert_state(DownloadState.WAITING)
        self.assertEqual([path.name for path in self.share.iterdir()], [".peershare"])


class StuckTests(DownloadTestCase):
    def test_held_chunks_whose_file_is_gone(self) -> None:
        """Three chunks of a file that nobody has any more do not keep out one that is whole."""
        self.tell(A)
        self.start()
        self.serve(CONTENT, 3)
        self.dialled.fail(error.TimeoutError())
        self.tell(B)
        for _ in range(400):
            self.reactor.advance(0.5)
            while self.reactor.waiting:
                if self.dialled.host == A:
                    self.dialled.fail(error.TimeoutError())
                else:
                    self.serve(OTHER, 1)
        self.assert_state(DownloadState.DONE)
        self.assertEqual((self.share / "forest").read_bytes(), OTHER)


class RoundTests(DownloadTestCase):
    def test_nobody_can_give_it(self) -> None:
        """The classic warning, one line per peer saying why, and it goes round again."""
        self.tell(A)
        self.tell(B)
        self.start()
        self.serve(CONTENT, 2)
        self.dialled.refuse()
        self.accept().reset()
        for _ in range(4):
            self.dialled.refuse()
        warning = "CHUNK forest_3 CANNOT BE DOWNLOADED FROM ONLINE PEERS."
        self.assertEqual(self.notices(NoticeKind.WARNING)[0], warning)
        reasons = self.notices(NoticeKind.INFO)
        self.assertIn(f"{A}: refused the connection", reasons[0])
        self.assertIn(f"{B}: cut the connection after 0 bytes", reasons[1])
        self.assert_state(DownloadState.WAITING)
        self.assertTrue(self.status.problem.startswith("CHUNK forest_"))
        self.reactor.advance(1.0)
        self.assert_state(DownloadState.DOWNLOADING)
        self.serve()
        self.assert_state(DownloadState.DONE)
        self.assertEqual(self.status.problem, "")

    def test_who_is_tried_next_is_told_for_that_chunk_only(self) -> None:
        """The address of the next chunk is not shown as a hope for the one that failed."""
        self.tell(A)
        self.start()
        self.accept().reset()
        self.assertEqual(self.dialled.host, A)
        (notice,) = self.notices(NoticeKind.FAILOVER)
        self.assertEqual(notice, f"forest_1: {A} cut the connection after 0 bytes")

    def test_rests_grow(self) -> None:
        """1, 2, 4 … 30 s between two rounds in vain, for as long as the user lets it."""
        self.tell(A)
        self.start()
        rests = []
        for _ in range(7):
            while self.reactor.waiting:
                self.dialled.refuse()
            rests.append(self.reactor.run_until(lambda: bool(self.reactor.waiting), 40.0, 0.5))
        self.assertEqual(rests, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])

    def test_somebody_new_ends_the_rest(self) -> None:
        """It goes on at once; who was tried in this round is not asked again for it."""
        self.tell(A)
        self.start()
        while self.reactor.waiting:
            self.dialled.refuse()
        self.assert_state(DownloadState.WAITING)
        self.tell(B)
        self.assertEqual([host for host, _ in self.serve()], [B] * 5)
        self.assert_state(DownloadState.DONE)
        self.assert_no_timers()

    def test_the_same_again_does_not(self) -> None:
        """An address that failed and tells something else is no reason to go on."""
        self.tell(A)
        self.start()
        while self.reactor.waiting:
            self.dialled.refuse()
        self.tell(A, stem="bee")
        self.assertEqual(self.reactor.waiting, [])

    def test_a_name_that_becomes_ambiguous(self) -> None:
        """It is shown as a problem with the choices, and finds nobody until it is settled."""
        self.start()
        self.tell(A, "forest.png_1", "forest.jpg_1")
        self.assertEqual(self.reactor.dialled, [])
        self.assertIn("forest.jpg, forest.png", self.status.problem)


class StoppingTests(DownloadTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tell(A)
        self.id = self.start()

    def stop(self) -> None:
        self.downloader.stop(self.id)
        self.assert_state(DownloadState.STOPPED)

    def test_while_connecting(self) -> None:
        """The connector is told, and nothing is logged as a failure."""
        dialled = self.dialled
        self.stop()
        self.assertTrue(dialled.cancelled)
        self.assert_no_timers()

    def test_while_receiving(self) -> None:
        """What still comes is dropped for a while: a reset would kill a classic uploader."""
        dialled = self.accept()
        dialled.give(b"abc")
        self.stop()
        dialled.give(b"def")
        transport = dialled.transport
        assert transport is not None
        self.assertEqual(transport.events, ["write"])
        dialled.end()
        self.assert_state(DownloadState.STOPPED)
        self.assert_no_timers()
        self.assertEqual(self.log_lines(), [])

    def test_while_searching_and_resting(self) -> None:
        """No timer is left, and news do not wake it."""
        self.dialled.refuse()
        while self.reactor.waiting:
            self.dialled.refuse()
        self.stop()
        self.tell(B)
        self.reactor.pump([1.0] * 60)
        self.assertEqual(self.reactor.waiting, [])
        self.assert_state(DownloadState.STOPPED)

    def test_while_a_chunk_is_moved(self) -> None:
        """A move that ends after the stop does not begin anything."""
        self.downloader.stop(self.id)
        workers = HeldWorkers()
        self.tell(A, "bee_2", "bee_3")
        self.id = self.start("bee")
        self.workers = workers
        self.give(TWO)
        self.assertEqual(workers.waiting, ["move"])
        self.stop()
        workers.do_all()
        self.assert_state(DownloadState.STOPPED)
        self.assertEqual(self.reactor.waiting, [])

    def test_a_chunk_that_is_being_stored_is_kept(self) -> None:
        """The end waits for it to be recorded: after a restart it is not fetched again."""
        workers = HeldWorkers()
        self.workers = workers
        self.give(ONE)
        stopped = self.downloader.stopService()
        self.assertNoResult(stopped)
        stopped.addCallback(lambda _: self.index.close())  # as the node does
        workers.do_all()
        self.successResultOf(stopped)
        self.index.reopen()
        self.assertEqual([c.number for c in self.index.downloads()[0].chunks], [1])

    def test_while_joining(self) -> None:
        """It is all but done: the file is finished, then the end comes."""
        workers = HeldWorkers()
        self.workers = workers
        self.serve()
        stopped = self.downloader.stopService()
        self.assert_state(DownloadState.FINISHING)
        self.assertNoResult(stopped)
        workers.do_all()
        self.successResultOf(stopped)
        self.assert_state(DownloadState.DONE)
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)

    def test_while_joining_and_the_disk_fails(self) -> None:
        """Then it ends nevertheless: the service does not wait for the disk."""
        workers = HeldWorkers()
        self.workers = workers
        self.serve()
        for _ in range(5):
            workers.do_one()
        stopped = self.downloader.stopService()

        def fail(_: int) -> None:
            raise OSError(5, "Input/output error")

        self.patch(parts.os, "fsync", fail)
        workers.do_all()
        self.successResultOf(stopped)
        self.assert_state(DownloadState.STOPPED)
        self.assert_no_timers()


class StoringFailsTests(DownloadTestCase):
    """What arrived cannot be stored, while the next one is on its way to a place of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.tell(A)
        self.start()
        self.held = HeldWorkers()
        self.workers = self.held

    def fail_storing(self, count: int) -> None:
        """The disk does not take the chunks that are being stored."""
        broken = FailingSync(count)
        self.patch(os, "fdatasync", broken)
        for _ in range(count):
            self.held.do_one()
        self.workers = run_now

    def assert_right(self) -> None:
        self.reactor.pump([1.0] * 20)
        self.serve()
        self.held.do_all()
        self.reactor.pump([1.0] * 20)
        self.serve()
        self.assert_state(DownloadState.DONE)
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)

    def test_the_first_one(self) -> None:
        """The second one stays where it was written, though nothing else is held."""
        self.give(ONE)
        second = self.accept()
        second.give(TWO[:4])
        self.fail_storing(1)
        second.give(TWO[4:])
        second.end()
        self.assert_right()

    def test_the_first_one_before_the_next_is_asked_for(self) -> None:
        """Its place was chosen when it was dialled; it may be as long as it was then."""
        self.give(ONE)
        dialled = self.dialled
        self.fail_storing(1)
        dialled.accept()
        dialled.give(TWO)
        dialled.end()
        self.assert_right()

    def test_all_but_the_last_one(self) -> None:
        """The last chunk is shorter: the others' size is not taken from it."""
        for piece in (ONE, TWO, THREE, FOUR):
            self.give(piece)
        last = self.accept()
        last.give(FIVE[:3])
        self.fail_storing(4)
        last.give(FIVE[3:])
        last.end()
        self.assert_right()

    def test_a_later_one_that_was_cut_short(self) -> None:
        """What is held no more still says how long this one has to be."""
        self.give(ONE)
        second = self.accept()
        second.give(TWO[:4])
        self.fail_storing(1)
        second.end()
        self.assertIn("gave 4 bytes where 10 are due", self.log_lines()[-1][2])
        self.assert_right()

    def test_the_disk_is_full_meanwhile(self) -> None:
        """It is not taken for a chunk that has the front of the part to itself."""
        disk = FakeDisk(self.patch)
        self.give(ONE)
        second = self.accept()
        self.fail_storing(1)
        disk.full_after = 4
        second.give(TWO)
        second.end()
        disk.full_after = None
        self.assert_right()


class FailingSync:
    """So many times it fails."""

    def __init__(self, times: int) -> None:
        self._times = times
        self._real = os.fdatasync

    def __call__(self, descriptor: int) -> None:
        self._times -= 1
        if self._times >= 0:
            raise OSError(errno.EIO, "Input/output error")
        self._real(descriptor)


class OwnDiskTests(DownloadTestCase):
    def test_full(self) -> None:
        """No peer is blamed; it says how many bytes are missing, and goes on by itself."""
        disk = FakeDisk(self.patch)
        self.tell(A)
        self.start()
        self.serve(CONTENT, 1)
        disk.full_after = 4
        dialled = self.accept()
        dialled.give(TWO)
        self.assert_state(DownloadState.BLOCKED)
        self.assertIn("the disk is full: at least 6 bytes more are needed", self.status.problem)
        self.assertIn(str(self.share), self.status.problem)
        self.assertEqual(self.notices(NoticeKind.WARNING), [self.status.problem])
        self.assertEqual([line for line in self.log_lines() if "failed" in line[2]], [])
        dialled.end()
        disk.full_after = None
        self.reactor.advance(DISK_RETRY_SECONDS)
        self.assertEqual(self.serve()[0], (A, "forest_2"))
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)

    def test_full_for_a_long_time(self) -> None:
        """It is said once, and the peer is not bothered while there is no room."""
        disk = FakeDisk(self.patch)
        self.tell(A)
        self.start()
        disk.full_after = 4
        dialled = self.accept()
        dialled.give(ONE)
        dialled.end()
        self.patch(parts.os, "fstatvfs", lambda fd: FullDisk)
        self.reactor.pump([1.0] * 60)
        self.assert_state(DownloadState.BLOCKED)
        (part,) = (self.share / ".peershare").iterdir()
        self.assertEqual(part.stat().st_size, 0, "nothing is held: the room is given back")
        self.assertEqual(len(self.notices(NoticeKind.WARNING)), 1)
        self.assertEqual(len(self.reactor.dialled), 1)

    def test_an_answer_without_an_end(self) -> None:
        """It leaves the disk a reserve and gives its room back; the peer is to blame."""
        self.patch(storing, "_LOOK_BYTES", 8)
        self.patch(parts.os, "fstatvfs", lambda fd: NearlyFullDisk)
        self.tell(A)
        self.start()
        dialled = self.accept()
        for _ in range(20):
            dialled.give(ONE)
        (part,) = (self.share / ".peershare").iterdir()
        self.assertEqual(part.stat().st_size, 0)
        (line,) = (line for line in self.log_lines() if "failed" in line[2])
        self.assertIn("surplus", line[2])
        self.assertIn(A, line)

    def test_no_room_for_the_next_chunk(self) -> None:
        """Once the chunk size is known, room is asked for before anybody is dialled."""
        self.tell(A)
        self.start()
        self.serve(CONTENT, 1)
        dialled = len(self.reactor.dialled)
        self.patch(parts.os, "fstatvfs", lambda fd: FullDisk)
        self.dialled.refuse()
        self.assert_state(DownloadState.BLOCKED)
        self.assertEqual(len(self.reactor.dialled), dialled)

    def test_a_folder_that_cannot_be_written(self) -> None:
        """Nothing is dialled before it is sure that there is a place for the bytes."""
        (self.share / ".peershare").write_bytes(b"in the way")
        self.tell(A)
        self.start()
        self.assert_state(DownloadState.BLOCKED)
        self.assertIn(str(self.share), self.status.problem)
        self.assertEqual(self.reactor.dialled, [])
        (self.share / ".peershare").unlink()
        self.reactor.advance(DISK_RETRY_SECONDS)
        self.serve()
        self.assert_state(DownloadState.DONE)

    def test_a_chunk_that_cannot_be_stored(self) -> None:
        """It does not count, and is fetched again when the disk is well."""
        real = os.fdatasync

        def fail(_: int) -> None:
            raise OSError(5, "Input/output error")

        self.tell(A)
        self.start()
        self.patch(parts.os, "fdatasync", fail)
        self.serve(CONTENT, 1)
        self.assert_state(DownloadState.BLOCKED)
        self.assertIn("Input/output error", self.status.problem)
        self.patch(parts.os, "fdatasync", real)
        self.reactor.advance(DISK_RETRY_SECONDS)
        self.assertEqual(self.serve()[0], (A, "forest_1"))
        self.assert_state(DownloadState.DONE)

    def test_an_index_that_fails(self) -> None:
        """The same: what is not recorded does not count."""
        self.tell(A)
        self.start()
        self.index.close()
        self.serve(CONTENT, 1)
        self.assert_state(DownloadState.BLOCKED)
        self.index.reopen()
        self.reactor.advance(DISK_RETRY_SECONDS)
        self.serve()
        self.assert_state(DownloadState.DONE)

    def test_a_final_name_that_cannot_be_given(self) -> None:
        """All five are here: it waits for the disk and gives the name then, fetching nothing."""
        real = os.fsync

        def fail(_: int) -> None:
            raise OSError(5, "Input/output error")

        self.tell(A)
        self.start()
        self.patch(parts.os, "fsync", fail)
        self.serve()
        self.assert_state(DownloadState.BLOCKED)
        dialled = len(self.reactor.dialled)
        self.patch(parts.os, "fsync", real)
        self.reactor.advance(DISK_RETRY_SECONDS)
        self.assert_state(DownloadState.DONE)
        self.assertEqual(len(self.reactor.dialled), dialled)

    def test_a_mistake_of_our_own(self) -> None:
        """It is logged with its traceback, blames no peer, and the download tries again."""
        self.tell(A)
        self.start()

        def fail(_: int) -> None:
            raise RuntimeError("a mistake")

        real = os.fdatasync
        self.patch(parts.os, "fdatasync", fail)
        self.serve(CONTENT, 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assert_state(DownloadState.BLOCKED)
        self.patch(parts.os, "fdatasync", real)
        self.reactor.advance(DISK_RETRY_SECONDS)
        self.serve()
        self.assert_state(DownloadState.DONE)


class FullDisk:
    """What `fstatvfs` says of a full disk."""

    f_bavail = 0
    f_frsize = 4_096


class NearlyFullDisk:
    """What it says of a disk whose last reserve is left."""

    f_bavail = 4_000
    f_blocks = 100_000
    f_frsize = 4_096


class SharingOnTests(DownloadTestCase):
    def told(self) -> list[tuple[str, ...]]:
        return list(self.library.groups_to_tell())

    def test_while_it_is_still_arriving(self) -> None:
        """What is held is offered, chunk by chunk, with the right bytes."""
        self.tell(A)
        self.start()
        self.assertEqual(self.told(), [])
        self.serve(CONTENT, 2)
        self.assertEqual(self.told(), [("forest_1", "forest_2")])
        handle = self.library.find_chunk("forest_2")
        assert handle is not None
        self.assertEqual(handle.path.read_bytes()[handle.range.start : handle.range.stop], TWO)

    def test_stopped(self) -> None:
        """What it holds stays offered."""
        self.tell(A)
        identifier = self.start()
        self.serve(CONTENT, 2)
        self.downloader.stop(identifier)
        self.assertEqual(self.told(), [("forest_1", "forest_2")])
        self.assertIsNotNone(self.library.find_chunk("forest_1"))

    def test_what_was_outvoted_is_offered_no_more(self) -> None:
        """Chunks that belong to another file are not passed on."""
        self.tell(A)
        self.tell(B)
        self.tell(C)
        self.start()
        self.give(ONE)
        for _ in range(2):
            self.dialled.fail(error.TimeoutError())
            self.serve(OTHER, 1)
        self.assertEqual(self.told(), [])
        self.serve(OTHER)
        self.assertEqual((self.share / "forest").read_bytes(), OTHER)

    def test_whole(self) -> None:
        """All five at once when it is done."""
        self.tell(A)
        self.start()
        self.serve()
        self.assertEqual(self.told(), [tuple(f"forest_{n}" for n in range(1, 6))])
