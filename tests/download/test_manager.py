"""All downloads of a node: begun, found again, shown, ended."""

from __future__ import annotations

from pathlib import Path

from peershare.download.manager import PICTURE_SECONDS
from peershare.download.roster import REMEMBERED_DOWNLOADS
from peershare.errors import AmbiguousContentError, BadNameError, StorageError, UnknownDownloadError
from peershare.status import DownloadChanged, DownloadState, Notice, NoticeKind
from tests.download.world import CONTENT, A, B, DownloadTestCase


class StartingTests(DownloadTestCase):
    def test_the_same_again_is_the_same(self) -> None:
        """A name that is already on its way into that folder is not begun twice."""
        self.tell(A)
        first = self.start()
        self.assertEqual(self.start(), first)
        with self.assertRaises(BadNameError):
            self.start("forest ")  # a name of its own, which no file here can have
        self.assertNotEqual(self.start(" forest"), first)
        self.assertEqual(len(self.reactor.dialled), 1)

    def test_into_two_folders(self) -> None:
        """They are two downloads; the second one takes its chunks when the address is free."""
        self.tell(A)
        elsewhere = self.state.parent / "elsewhere"
        self.assertNotEqual(self.start(), self.start("forest", elsewhere))
        self.assertEqual(len(self.reactor.waiting), 1, "one connection at a time to an address")
        self.serve()
        self.assertEqual((self.share / "forest").read_bytes(), CONTENT)
        self.assertEqual((elsewhere / "forest").read_bytes(), CONTENT)

    def test_names_that_cannot_be(self) -> None:
        """A name that could not be a file's is refused with the reason; nothing is begun."""
        for name in ("", " ", "../forest", "a/b", "a\\b", ".hidden", "nul", "a\0b", "x" * 300):
            self.assertRaises(BadNameError, self.start, name)
        self.assertEqual((self.downloader.pictures(), self.index.downloads()), ((), ()))

    def test_ambiguous_names(self) -> None:
        """Two contents that the name fits: the user chooses."""
        self.tell(A, "forest.png_1", "forest.jpg_1")
        with self.assertRaises(AmbiguousContentError) as caught:
            self.start()
        choices = [(c.name, c.id, c.addresses) for c in caught.exception.candidates]
        self.assertEqual(choices, [("forest.jpg", "", (A,)), ("forest.png", "", (A,))])
        self.assertEqual(self.index.downloads(), ())
        self.start("forest.png")
        self.assertEqual(len(self.reactor.waiting), 1)

    def test_an_index_that_fails(self) -> None:
        """It is told to whoever asked."""
        self.index.close()
        self.assertRaises(StorageError, self.start)


class AgainTests(DownloadTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tell(A)
        self.start()
        self.serve()
        self.path = Path(self.status.path)

    def test_what_lies_there_unchanged_is_done_at_once(self) -> None:
        """Nobody is dialled for it, in this run or a later one."""
        dialled = len(self.reactor.dialled)
        status = self.downloader.start("forest", None)
        self.assertEqual((status.state, status.path), (DownloadState.DONE, str(self.path)))
        self.restart()
        status = self.downloader.start("forest", None)
        self.assertEqual((status.state, status.path), (DownloadState.DONE, str(self.path)))
        self.assertEqual((status.received, status.size, len(status.chunks)), (47, 47, 5))
        self.assertEqual(len(self.reactor.dialled), dialled)
        self.assertEqual(self.downloader.stop(status.id).state, DownloadState.DONE)
        self.assertEqual([picture.id for picture in self.downloader.pictures()], [status.id])

    def test_what_was_deleted_is_fetched_again(self) -> None:
        """The user wants it back."""
        self.path.unlink()
        self.start()
        self.serve()
        self.assertEqual(self.path.read_bytes(), CONTENT)

    def test_what_was_changed_is_fetched_again(self) -> None:
        """The changed file stays, the fresh one lies beside it."""
        self.path.write_bytes(b"edited")
        self.start()
        self.serve()
        self.assertEqual(self.path.read_bytes(), b"edited")
        self.assertEqual((self.share / "forest (2)").read_bytes(), CONTENT)

    def test_a_file_elsewhere_is_offered_after_a_restart(self) -> None:
        """A finished download in another folder is still had."""
        elsewhere = self.state.parent / "elsewhere"
        self.start("forest", elsewhere)
        self.serve()
        self.path.unlink()
        self.restart()
        handle = self.library.find_chunk("forest_1")
        assert handle is not None
        self.assertEqual(handle.path.parent, elsewhere)


class StoppingTests(DownloadTestCase):
    def test_unknown(self) -> None:
        """There is no such download, and its name is safe to show."""
        with self.assertRaises(UnknownDownloadError) as caught:
            self.downloader.stop("7\x1b[31m")
        self.assertIn("7\\x1b[31m", str(caught.exception))

    def test_twice(self) -> None:
        """The second time changes nothing."""
        identifier = self.start()
        self.downloader.stop(identifier)
        self.assertEqual(self.downloader.stop(identifier).state, DownloadState.STOPPED)

    def test_begun_again(self) -> None:
        """A stopped download goes on under its id when it is asked for again."""
        self.tell(A)
        identifier = self.start()
        self.serve(CONTENT, 2)
        self.downloader.stop(identifier)
        self.let_connections_end()
        self.assertEqual(self.start(), identifier)
        self.assertEqual(len(self.downloader.pictures()), 1)
        self.assertEqual(len(self.serve()), 3)
        self.assert_state(DownloadState.DONE)

    def test_the_end_of_the_service(self) -> None:
        """Every download ends, no timer is left, and each goes on after the next start."""
        self.tell(A)
        self.start()
        self.start("bee")
        self.tell(B, stem="cow")
        self.start("cow")
        self.accept_all()
        self.successResultOf(self.downloader.stopService())
        self.let_connections_end()
        self.assert_no_timers()
        self.assertEqual([record.wanted for record in self.index.downloads()], [True] * 3)

    def accept_all(self) -> None:
        for dialled in self.reactor.waiting:
            dialled.accept()


class ShowingTests(DownloadTestCase):
    def pictures(self) -> list[DownloadChanged]:
        return [event for event in self.events if isinstance(event, DownloadChanged)]

    def test_at_most_ten_pictures_a_second(self) -> None:
        """However many reads there are; the last one shows the end, at once."""
        self.tell(A)
        self.start()
        dialled = self.accept()
        for _ in range(1_000):
            dialled.give(b"x" * 10)
            self.reactor.advance(0.001)
        self.assertTrue(9 <= len(self.pictures()) <= 11, len(self.pictures()))
        dialled.end()
        self.serve(b"x" * 50_000)
        last = self.pictures()[-1].download
        self.assertEqual((last.state, last.received), (DownloadState.DONE, 50_000))
        count = len(self.pictures())
        self.reactor.advance(1.0)
        self.assertEqual(len(self.pictures()), count)

    def test_a_picture_comes_soon_after_a_change(self) -> None:
        """Within a tenth of a second."""
        self.tell(A)
        self.start()
        self.reactor.advance(PICTURE_SECONDS)
        self.events.clear()
        self.accept().give(b"x" * 10)
        self.reactor.advance(PICTURE_SECONDS)
        (picture,) = self.pictures()
        self.assertEqual((picture.download.received, picture.download.peer), (10, A))

    def test_the_size_is_an_upper_bound_until_it_is_known(self) -> None:
        """Five times the first chunk, then exact."""
        self.tell(A)
        self.start()
        self.assertIsNone(self.status.size)
        self.serve(CONTENT, 1)
        self.assertEqual(self.status.size, 50)
        self.serve()
        self.assertEqual(self.status.size, 47)

    def test_time_without_progress(self) -> None:
        """Seconds since the last byte, for whoever wants to give up."""
        self.tell(A)
        self.start()
        self.reactor.advance(7.0)
        self.assertEqual(self.status.idle_seconds, 7.0)
        self.accept().give(b"x")
        self.reactor.advance(2.0)
        self.assertEqual((self.status.idle_seconds, self.status.elapsed_seconds), (2.0, 9.0))

    def test_rate_and_time_left(self) -> None:
        """A steady transfer shows its rate, and how long the rest takes."""
        self.tell(A)
        self.start()
        self.serve(b"x" * 50_000, 1)
        dialled = self.accept()
        for _ in range(80):
            dialled.give(b"x" * 100)
            self.reactor.advance(0.1)
            self.downloader.pictures()
        self.assertTrue(900 < self.status.rate < 1_300, self.status.rate)
        left = self.status.seconds_left
        assert left is not None
        self.assertTrue(25 < left < 40, left)

    def test_who_gave_what(self) -> None:
        """Bytes by address, over all downloads of this run."""
        self.tell(A, "forest_1", "forest_2")
        self.tell(B, "forest_3", "forest_4", "forest_5")
        self.start()
        self.serve()
        self.assertEqual(dict(self.downloader.given), {A: 20, B: 27})
        self.assertEqual(self.status.given, {A: 20, B: 27})

    def test_notices_name_their_download(self) -> None:
        """Kind, chunk and peer, for whoever follows one of several."""
        self.tell(A)
        identifier = self.start()
        self.serve(CONTENT, 1)
        notice = next(event for event in self.events if isinstance(event, Notice))
        self.assertEqual(
            (notice.kind, notice.download, notice.chunk, notice.peer),
            (NoticeKind.CHUNK, identifier, "forest_1", A),
        )

    def test_names_built_to_lie_are_shown_plainly(self) -> None:
        """What goes to the log and to people has no control character."""
        name = "for\u2028est"
        self.tell(A, stem="x")
        self.assertRaises(BadNameError, self.start, name)
        self.start("f\u200borest")
        self.tell(A, stem="f\u200borest")
        self.serve(CONTENT, 1)
        self.assertIn("f\\u200borest_1 downloaded", self.notices(NoticeKind.CHUNK)[0])

    def test_the_list_of_what_is_over_stays_short(self) -> None:
        """A hundred ended downloads are remembered."""
        for number in range(REMEMBERED_DOWNLOADS + 50):
            self.downloader.stop(self.start(f"name {number}"))
        self.assertLessEqual(len(self.downloader.pictures()), REMEMBERED_DOWNLOADS + 1)
