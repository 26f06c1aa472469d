"""What is kept of a download over a restart, and what is not believed."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from peershare.download.content import HURRY_SECONDS
from peershare.library.index import INDEX_NAME
from peershare.status import ChunkState, DownloadState
from tests.download.world import CONTENT, A, B, DownloadTestCase, pieces
from tests.fakes import HeldWorkers, run_now

ONE, TWO, THREE, FOUR, FIVE = pieces(CONTENT)


class RestartTestCase(DownloadTestCase):
    """A download that a restart finds with two chunks."""

    def setUp(self) -> None:
        super().setUp()
        self.tell(A)
        self.start()
        self.serve(CONTENT, 2)

    @property
    def part(self) -> Path:
        (path,) = (self.share / ".peershare").iterdir()
        return path

    def held(self) -> list[int]:
        return [chunk.number for chunk in self.status.chunks if chunk.state is ChunkState.HELD]

    def finish(self) -> list[str]:
        """Serve the rest; which chunks were asked for."""
        asked = [name for _, name in self.serve()]
        self.assert_state(DownloadState.DONE)
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)
        return asked


class RestartTests(RestartTestCase):
    def test_held_chunks_are_not_fetched_again(self) -> None:
        """A wanted download goes on by itself with the chunks that are missing."""
        self.restart()
        self.assertEqual(self.held(), [1, 2])
        self.assertEqual(self.status.chunks[0].source, A)
        self.assertEqual(self.finish(), ["forest_3", "forest_4", "forest_5"])

    def test_they_are_offered_again_at_once(self) -> None:
        """Before anything else is fetched."""
        self.restart()
        self.assertEqual(list(self.library.groups_to_tell()), [("forest_1", "forest_2")])

    def test_half_a_chunk_is_nothing(self) -> None:
        """What was in flight is fetched again, whole."""
        self.accept().give(THREE[:5])
        self.restart()
        self.assertEqual(self.held(), [1, 2])
        self.assertEqual(self.finish()[0], "forest_3")

    def test_not_by_itself_where_it_is_not_to(self) -> None:
        """A node inside the client begins only what the user asks for, and finds the chunks."""
        self.restart(resume=False)
        self.assertEqual(self.downloader.pictures(), ())
        self.start()
        self.assertEqual(self.finish(), ["forest_3", "forest_4", "forest_5"])

    def test_not_if_the_user_had_stopped_it(self) -> None:
        """It waits to be asked for again."""
        self.downloader.stop(self.status.id)
        self.restart()
        self.assertEqual(self.downloader.pictures(), ())
        self.start()
        self.assertEqual(self.finish(), ["forest_3", "forest_4", "forest_5"])

    def test_from_somebody_else(self) -> None:
        """The other chunks may come from another address."""
        self.restart()
        self.dialled.refuse()
        self.tell(B)
        while self.reactor.waiting:
            if self.dialled.host == B:
                self.serve(CONTENT, 1)
            else:
                self.dialled.refuse()
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)

    def test_killed_before_the_name_was_noted(self) -> None:
        """The file has its final name and the part's too: it is done without a second copy."""
        workers = HeldWorkers()
        self.workers = workers
        self.serve(CONTENT, 3)
        for _ in range(4):
            workers.do_one()
        self.assertEqual(workers.waiting, ["finish"])
        os.link(self.part, self.share / "forest")
        # killed: nobody stops anything, the kernel closes what was open
        self.downloader._roster._entries["1"].download.store.part.close()
        self.index.close()
        self.workers = run_now
        self.make_downloader()
        self.assert_state(DownloadState.DONE)
        self.assertEqual([path.name for path in self.share.iterdir()], ["forest"])
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)
        self.assertEqual(self.reactor.waiting, [])


class NamingTests(DownloadTestCase):
    def test_misleading(self) -> None:
        """A name that hides is asked for as it is, and stored without what hides in it."""
        self.tell(A, stem="a\u200bb")
        self.start("a\u200bb")
        asked = [name for _, name in self.serve()]
        self.assertEqual(asked[0], "a\u200bb_1")
        self.assertEqual((self.share / "a_b").read_bytes(), CONTENT)
        again = self.downloader.start("a\u200bb", None)
        self.assertEqual((again.state, self.reactor.waiting), (DownloadState.DONE, []))


class DamageTests(RestartTestCase):
    def damage(self, offset: int) -> None:
        with self.part.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xff")

    def test_a_damaged_chunk_is_fetched_again(self) -> None:
        """It is said, only that one is missing, and it is not offered."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.damage(15)
        self.restart()
        self.assertEqual(self.held(), [1])
        self.assertEqual(len([e for e in log if "are damaged" in e["log_format"]]), 1)
        self.assertEqual(list(self.library.groups_to_tell()), [("forest_1",)])
        self.assertEqual(self.finish()[0], "forest_2")

    def test_all_damaged(self) -> None:
        """Then nothing is believed, the chunk size neither."""
        self.damage(5)
        self.damage(15)
        self.restart()
        self.assertEqual((self.held(), self.status.size), ([], None))
        self.assertEqual(self.finish()[0], "forest_1")

    def test_a_part_that_is_gone(self) -> None:
        """Everything is fetched again."""
        self.part.unlink()
        self.restart()
        self.assertEqual(self.held(), [])
        self.finish()

    def test_a_part_that_is_cut_off(self) -> None:
        """Chunks that are not all there do not count."""
        os.truncate(self.part, 15)
        self.restart()
        self.assertEqual(self.held(), [1])
        self.finish()

    def test_a_damaged_index(self) -> None:
        """It is set aside; the download is not known any more, the part file harms nobody."""
        self.downloader.stopService()
        self.library.stopService()
        self.index.close()
        self.let_connections_end()
        for path in self.state.glob(f"{INDEX_NAME}*"):
            path.write_bytes(b"garbage" * 1_000)
        self.make_downloader()
        self.assertTrue(self.index.was_damaged)
        self.start()
        self.assertEqual(len(self.finish()), 5)


class CheckingTests(RestartTestCase):
    def held_up(self) -> HeldWorkers:
        """Restart with workers that do nothing yet."""
        self.successResultOf(self.downloader.stopService())
        self.library.stopService()
        self.index.close()
        self.let_connections_end()
        self.workers = HeldWorkers()
        self.make_downloader()
        return self.workers

    def test_nothing_is_dialled_while_it_is_checked(self) -> None:
        """First it is known what is missing."""
        workers = self.held_up()
        self.assertEqual(self.reactor.waiting, [])
        workers.do_all()
        self.workers = run_now
        self.assertEqual(self.finish(), ["forest_3", "forest_4", "forest_5"])

    def test_stopped_while_it_is_checked(self) -> None:
        """It ends as soon as the worker lets go of the part, and nothing is lost or left open."""
        workers = self.held_up()
        self.assertEqual(workers.waiting, ["survey", "PartFile"])
        workers.do_one()
        workers.do_one()
        self.assertEqual(workers.waiting[-1], "hash")
        stopped = self.downloader.stopService()
        self.assertNoResult(stopped)
        stopped.addCallback(lambda _: self.index.close())
        before = len(list(Path("/proc/self/fd").iterdir()))
        workers.do_one()
        workers.do_one()
        self.successResultOf(stopped)
        self.assertLess(len(list(Path("/proc/self/fd").iterdir())), before)
        self.assertNotIn("hash", workers.waiting)
        self.make_downloader()
        workers.do_all()
        self.assertEqual(self.held(), [1, 2])

    def test_a_long_check_is_not_waited_for(self) -> None:
        """After a second the worker is told to give up; the node ends within two."""
        workers = self.held_up()
        self.downloader.stopService()
        part = self.downloader._roster._entries["1"].download.store.part
        self.reactor.advance(HURRY_SECONDS)
        self.assertIsNone(part.hash(0, 10))
        workers.do_all()
        self.assert_no_timers()
