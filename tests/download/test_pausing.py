"""Pausing: no byte comes, what is here is kept and offered, and it goes on from there."""

from __future__ import annotations

from base64 import b64decode

from peershare.download.content import DISK_RETRY_SECONDS
from peershare.errors import StorageError, UnknownDownloadError
from peershare.status import DownloadChanged, DownloadState
from tests.download.world import CONTENT, A, B, DownloadTestCase


class PausingTestCase(DownloadTestCase):
    def pause(self, identifier: str) -> None:
        self.assertEqual(self.downloader.pause(identifier).state, DownloadState.PAUSED)

    def paused_after(self, chunks: int) -> str:
        """A download that was paused while the chunk after so many came."""
        self.tell(A)
        identifier = self.start()
        self.serve(CONTENT, chunks)
        self.accept().give(b"abc")
        self.pause(identifier)
        return identifier


class PauseTests(PausingTestCase):
    def test_in_the_middle_of_a_chunk(self) -> None:
        """What still comes is for nobody; nobody is asked; it goes on with that chunk."""
        identifier = self.paused_after(2)
        received = self.status.received
        self.reactor.dialled[-1].give(b"def")
        self.reactor.advance(60.0)
        self.tell(B)
        self.assertEqual(self.reactor.waiting, [])
        self.assertEqual((received, self.status.received), (20, 20))
        self.assertIsNone(self.status.seconds_left)
        self.let_connections_end()
        self.assert_state(DownloadState.PAUSED)
        self.downloader.resume(identifier)
        self.assertEqual(len(self.serve()), 3)
        self.assert_state(DownloadState.DONE)
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)

    def test_what_is_here_is_still_offered(self) -> None:
        """Others can have the chunks of a paused download, even after a restart."""
        self.paused_after(2)
        self.assertIsNotNone(self.library.find_chunk("forest_2"))
        self.restart()
        self.assertIsNotNone(self.library.find_chunk("forest_2"))
        self.assertIsNone(self.library.find_chunk("forest_3"))

    def test_it_survives_a_restart(self) -> None:
        """It is there again, paused, and goes on from where it was when that is wanted."""
        identifier = self.paused_after(2)
        self.restart()
        self.assert_state(DownloadState.PAUSED)
        self.assertEqual((self.status.id, self.status.received), (identifier, 20))
        self.tell(B)
        self.reactor.advance(60.0)
        self.assertEqual(self.reactor.waiting, [])
        self.downloader.resume(identifier)
        self.assertEqual([chunk for _, chunk in self.serve()], ["forest_3", "forest_4", "forest_5"])
        self.assert_state(DownloadState.DONE)

    def test_resumed_it_survives_a_restart_too(self) -> None:
        """As any other: it goes on by itself."""
        identifier = self.paused_after(1)
        self.downloader.resume(identifier)
        self.let_connections_end()
        self.restart()
        self.assertNotEqual(self.status.state, DownloadState.PAUSED)
        self.serve()
        self.assert_state(DownloadState.DONE)

    def test_while_it_dials(self) -> None:
        """The attempt is given up, and an answer that comes too late changes nothing."""
        self.tell(A)
        identifier = self.start()
        self.pause(identifier)
        self.assertEqual(self.reactor.waiting, [])
        self.downloader.resume(identifier)
        self.serve()
        self.assert_state(DownloadState.DONE)

    def test_the_old_stream_ends_late(self) -> None:
        """The end of what was asked before the pause is not taken for that of the new request."""
        self.tell(A)
        self.tell(B)
        identifier = self.start()
        before = self.accept()
        before.give(b"abc")
        self.pause(identifier)
        self.downloader.resume(identifier)
        now = self.accept()
        self.assertIsNot(now, before)
        before.end()
        self.assertEqual(self.status.received, 0)
        now.give(CONTENT[:10])
        now.end()
        self.serve()
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)

    def test_while_it_searches_or_rests(self) -> None:
        """Nothing wakes it up but the user."""
        identifier = self.start()
        self.pause(identifier)
        self.tell(A)
        self.assertEqual(self.reactor.waiting, [])
        self.downloader.resume(identifier)
        while self.reactor.waiting:
            self.dialled.refuse()
        self.assert_state(DownloadState.WAITING)
        self.pause(identifier)
        self.reactor.advance(100.0)
        self.assert_state(DownloadState.PAUSED)
        self.assertEqual(self.reactor.waiting, [])

    def test_while_the_disk_is_full(self) -> None:
        """It does not look at the disk again before it is resumed."""
        self.tell(A)
        (self.share / ".peershare").write_bytes(b"in the way")
        identifier = self.start()
        self.assert_state(DownloadState.BLOCKED)
        self.pause(identifier)
        self.assertEqual(self.status.problem, "")
        (self.share / ".peershare").unlink()
        self.reactor.advance(3 * DISK_RETRY_SECONDS)
        self.assert_state(DownloadState.PAUSED)
        self.downloader.resume(identifier)
        self.serve()
        self.assert_state(DownloadState.DONE)

    def test_stopped_while_paused(self) -> None:
        """It ends, and is not there after a restart; asked for again it goes on."""
        identifier = self.paused_after(2)
        self.assertEqual(self.downloader.stop(identifier).state, DownloadState.STOPPED)
        self.restart()
        self.assertEqual(self.downloader.pictures(), ())
        self.assertEqual(self.start(), identifier)
        self.assertEqual(len(self.serve()), 3)

    def test_told_as_an_event(self) -> None:
        """Whoever follows it sees it at once, and nothing more until it goes on."""
        self.paused_after(1)
        self.reactor.advance(1.0)
        last = [e for e in self.events if isinstance(e, DownloadChanged)][-1]
        self.assertEqual(last.download.state, DownloadState.PAUSED)
        count = len(self.events)
        self.reactor.advance(60.0)
        self.assertEqual(len(self.events), count)

    def test_no_timer_is_left(self) -> None:
        """A paused download costs nothing, and ends with the service."""
        self.paused_after(2)
        self.let_connections_end()
        self.reactor.advance(1.0)
        self.assert_no_timers()
        self.successResultOf(self.downloader.stopService())


class AskingTests(PausingTestCase):
    def test_unknown(self) -> None:
        """There is no such download."""
        self.assertRaises(UnknownDownloadError, self.downloader.pause, "7")
        self.assertRaises(UnknownDownloadError, self.downloader.resume, "7")
        self.assertRaises(UnknownDownloadError, self.downloader.block_map, "7")

    def test_twice(self) -> None:
        """The second time changes nothing."""
        identifier = self.paused_after(1)
        self.pause(identifier)
        self.downloader.resume(identifier)
        self.let_connections_end()
        before = self.status
        self.assertEqual(self.downloader.resume(identifier).state, before.state)

    def test_what_is_over(self) -> None:
        """Neither paused nor begun anew, in this run or a later one."""
        self.tell(A)
        identifier = self.start()
        self.serve()
        for _ in range(2):
            self.assertEqual(self.downloader.pause(identifier).state, DownloadState.DONE)
            self.assertEqual(self.downloader.resume(identifier).state, DownloadState.DONE)
            self.restart()
            self.downloader.start("forest", None)

    def test_a_stopped_one_is_resumed(self) -> None:
        """By its id, with what it had."""
        self.tell(A)
        identifier = self.start()
        self.serve(CONTENT, 2)
        self.downloader.stop(identifier)
        self.let_connections_end()
        self.assertEqual(self.downloader.resume(identifier).id, identifier)
        self.assertEqual(len(self.serve()), 3)
        self.assert_state(DownloadState.DONE)

    def test_asked_for_by_name(self) -> None:
        """Whoever wants it now does not want it paused."""
        identifier = self.paused_after(2)
        self.let_connections_end()
        self.assertEqual(self.start(), identifier)
        self.serve()
        self.assert_state(DownloadState.DONE)

    def test_asked_for_by_name_after_a_run_without_it(self) -> None:
        """A node that resumes nothing by itself takes it up when it is asked for."""
        identifier = self.paused_after(2)
        self.restart(resume=False)
        self.assertEqual(self.start(), identifier)
        self.serve()
        self.assert_state(DownloadState.DONE)

    def test_an_index_that_fails(self) -> None:
        """A pause that would not survive a restart is none."""
        self.tell(A)
        identifier = self.start()
        self.index.close()
        self.assertRaises(StorageError, self.downloader.pause, identifier)
        self.assertNotEqual(self.status.state, DownloadState.PAUSED)


class MapTests(PausingTestCase):
    def cells(self, identifier: str) -> list[int]:
        return list(b64decode(self.downloader.block_map(identifier).cells))

    def test_chunks_are_cells(self) -> None:
        """Each with the address it came from, over a restart too."""
        self.tell(A, "forest_1", "forest_2")
        self.tell(B, "forest_3", "forest_4")
        identifier = self.start()
        self.assertEqual(self.cells(identifier), [0] * 5)
        self.serve(CONTENT, 3)
        self.accept().give(b"x")
        found = self.downloader.block_map(identifier)
        self.assertEqual((found.sources, found.count, found.block_size), ((A, B), 5, 0))
        self.assertEqual(self.cells(identifier), [3, 3, 4, 1, 0])
        self.pause(identifier)
        self.assertEqual(self.cells(identifier), [3, 3, 4, 0, 0])
        self.restart()
        self.assertEqual(self.cells(identifier), [3, 3, 4, 0, 0])

    def test_of_one_that_was_complete_already(self) -> None:
        """All is held."""
        self.tell(A)
        identifier = self.start()
        self.serve()
        self.assertEqual(self.cells(identifier), [3] * 5)
        self.restart()
        self.start()
        self.assertEqual(self.cells(identifier), [3] * 5)
