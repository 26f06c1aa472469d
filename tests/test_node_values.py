"""What the node shows and lets people change while it runs: rates, limits, files that are given."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path

from peershare.errors import BadNameError, StorageError, UnknownDownloadError
from peershare.status import DownloadState, Limits, NodeChanged, ShareMode
from tests.fakes import Dialled, HeldWorkers
from tests.test_node import CONTENT, WALL, A, NodeTestCase

NO_LIMITS = Limits(upload=None, download=None)


class ValuesTestCase(NodeTestCase):
    def accept(self) -> Dialled:
        """The attempt that waited, connected."""
        (dialled,) = self.reactor.waiting
        dialled.accept()
        return dialled


class ShowingTests(ValuesTestCase):
    def test_the_node(self) -> None:
        """Since when it runs, how much room there is, what went by in each second."""
        self.start()
        self.reactor.pump([0.25] * 12)
        status = self.node.node_status()
        self.assertEqual(status.started_at, WALL)
        self.assertGreater(status.free_bytes, 0)
        self.assertEqual(status.rates, ((0.0, 0.0),) * 3)
        self.assertEqual((status.reactor_delay, status.guest), (0.0, ""))

    def test_rates_of_a_download(self) -> None:
        """Of the node and of the peer that gives; why another is not asked."""
        self.start()
        self.node.start_download("bee", None)
        self.hear(A, "bee_1")
        dialled = self.accept()
        for _ in range(12):
            dialled.give(b"x" * 250)
            self.reactor.advance(0.25)
        self.assertEqual([down for down, _ in self.node.node_status().rates], [1_000.0] * 3)
        (peer,) = self.node.peers()
        self.assertEqual((peer.download_rate, peer.upload_rate), (1_000.0, 0.0))
        self.assertEqual((peer.given, peer.problem), (3_000, ""))
        dialled.reset()
        (peer,) = self.node.peers()
        self.assertIn("cut the connection", peer.problem)

    def test_contents(self) -> None:
        """Which are being downloaded, and which can be checked."""
        self.file("forest.png")
        self.start()
        self.hear(A, "bee_1")
        self.node.start_download("bee", None)
        self.reactor.advance(0.2)
        contents = {content.name: content for content in self.contents()}
        self.assertEqual((contents["bee"].downloading, contents["bee"].verified), (True, False))
        forest = contents["forest.png"]
        self.assertEqual((forest.downloading, forest.verified), (False, bool(forest.id)))

    def test_counters(self) -> None:
        """What was sent, refused and transferred since the start."""
        self.file("forest.png")
        self.start()
        self.hear(A, "bee_1")
        self.udp("198.18.0.255").hear(b"junk", A)
        self.node.start_download("bee", None)
        dialled = self.accept()
        dialled.give(b"x" * 10)
        dialled.reset()
        self.reactor.pump([0.1] * 10)
        counters = self.node.counters()
        self.assertEqual((counters.downloaded_bytes, counters.uploaded_bytes), (10, 0))
        self.assertEqual(counters.downloads, {"reset": 1})
        self.assertEqual((counters.peers, counters.uploads), (1, {}))
        self.assertEqual(counters.refused, {"datagram not understood": 1})
        self.assertEqual(counters.announcements, len(self.udp("198.18.0.1").sent))
        self.assertGreater(counters.beacons, 0)

    def test_history(self) -> None:
        """Of one direction, since a time."""
        self.start()
        self.hear(A, "bee_1")
        self.node.start_download("bee", None)
        while self.reactor.waiting:
            self.reactor.waiting[0].refuse()
        for arguments, count in (
            ((10,), 1),
            ((10, WALL, "download"), 1),
            ((10, WALL + 1), 0),
            ((10, None, "upload"), 0),
        ):
            found = self.successResultOf(self.node.history(*arguments))
            self.assertEqual(len(found), count, arguments)

    def test_what_was_decided_is_durable(self) -> None:
        """An answer can wait until it is; in trouble it waits but a while."""
        workers = HeldWorkers()
        self.node._parts.index.start(self.reactor, workers)
        self.successResultOf(self.node.recorded())
        self.node.start_download("bee", None)
        recorded = self.node.recorded()
        self.assertNoResult(recorded)
        workers.do_all()
        self.successResultOf(recorded)
        self.node.start_download("fox", None)
        recorded = self.node.recorded()
        self.reactor.advance(6.0)
        self.successResultOf(recorded)
        workers.do_all()

    def test_told_while_something_is_under_way(self) -> None:
        """Once a second; a quiet node is told now and then, where it has changed."""
        self.start()
        self.reactor.pump([0.25] * 40)
        self.events.clear()
        self.reactor.pump([0.25] * 80)
        self.assertEqual(self.changes(), [])
        identifier = self.node.start_download("bee", None).id
        self.reactor.pump([0.25] * 12)
        self.assertEqual(len(self.changes()), 3)
        self.node.pause_download(identifier)
        self.reactor.pump([0.25] * 4)
        self.events.clear()
        self.reactor.pump([0.25] * 40)
        self.assertLess(len(self.changes()), 3)

    def changes(self) -> list[NodeChanged]:
        return [event for event in self.events if isinstance(event, NodeChanged)]


class PausingTests(NodeTestCase):
    def test_over_a_restart(self) -> None:
        """Paused, found paused again, resumed."""
        self.start()
        self.hear(A, "bee_1")
        identifier = self.node.start_download("bee", None).id
        self.assertEqual(self.node.pause_download(identifier).state, DownloadState.PAUSED)
        self.stop()
        self.node = self.make()
        self.start()
        self.hear(A, "bee_1")
        (status,) = self.node.downloads()
        self.assertEqual((status.id, status.state), (identifier, DownloadState.PAUSED))
        self.assertEqual(self.reactor.waiting, [])
        self.assertEqual(self.node.block_map(identifier).count, 5)
        self.node.resume_download(identifier)
        self.assertEqual([dialled.host for dialled in self.reactor.waiting], [A])

    def test_unknown(self) -> None:
        """Each says so."""
        self.start()
        for ask in (self.node.pause_download, self.node.resume_download, self.node.block_map):
            self.assertRaises(UnknownDownloadError, ask, "7")


class LimitTests(ValuesTestCase):
    def test_changed_while_a_chunk_comes(self) -> None:
        """From the next bytes on, in both directions; without one it is as fast as it can be."""
        self.start()
        self.assertEqual(self.node.limits(), NO_LIMITS)
        self.node.start_download("bee", None)
        self.hear(A, "bee_1")
        dialled = self.accept()
        self.assertFalse(self.reading_stopped(dialled, 100_000))
        limits = Limits(upload=500.0, download=10_000.0)
        self.assertEqual(self.node.set_limits(limits), limits)
        status = self.node.node_status()
        self.assertEqual((status.upload_limit, status.download_limit), (500.0, 10_000.0))
        self.assertTrue(self.reading_stopped(dialled, 100_000))
        self.reactor.pump([0.1] * 80)
        self.assertNotIn("resume", self.said(dialled))
        self.assertEqual(self.node.set_limits(NO_LIMITS), NO_LIMITS)
        self.reactor.pump([0.1] * 10)
        self.assertIn("resume", self.said(dialled))
        self.assertFalse(self.reading_stopped(dialled, 100_000))

    def said(self, dialled: Dialled) -> list[str]:
        """What was done with the connection."""
        assert dialled.transport is not None
        return dialled.transport.events

    def reading_stopped(self, dialled: Dialled, count: int) -> bool:
        """Whether nothing more is read of the connection once so many bytes came."""
        before = self.said(dialled).count("pause")
        dialled.give(b"x" * count)
        return self.said(dialled).count("pause") > before

    def test_limits_that_cannot_be(self) -> None:
        """Refused; what held before still does."""
        for rate in (0.0, -1.0, 0.5, nan, inf):
            self.assertRaises(ValueError, self.node.set_limits, Limits(upload=rate, download=None))
            self.assertRaises(ValueError, self.node.set_limits, Limits(upload=None, download=rate))
        self.assertEqual(self.node.limits(), NO_LIMITS)


class GivingTests(NodeTestCase):
    def names(self) -> list[str]:
        share = self.settings.share
        found = [*share.iterdir(), *(share / ".peershare").glob("*")]
        return sorted(path.name for path in found if path.name != ".peershare")

    def test_a_file_that_is_received(self) -> None:
        """It is announced once it is whole."""
        self.start()
        writer = self.node.receive_share("bee.png", len(CONTENT))
        writer.write(CONTENT[:10])
        writer.write(CONTENT[10:])
        finished = writer.finish()
        writer.abort()
        self.reactor.pump([0.2, 0.2])
        status = self.successResultOf(finished)
        self.assertEqual((status.name, status.how, status.size), ("bee.png", "received", 47))
        self.assertEqual(status.chunks, tuple(f"bee_{n}" for n in range(1, 6)))
        self.assertEqual((self.settings.share / "bee.png").read_bytes(), CONTENT)

    def test_a_file_that_is_not_received(self) -> None:
        """Given up by whoever gave it, or because the node ends: nothing is kept."""
        self.start()
        self.assertRaises(BadNameError, self.node.receive_share, "../bee")
        first, second = self.node.receive_share("bee"), self.node.receive_share("bee")
        first.write(b"x")
        second.write(b"x")
        first.abort()
        self.stop()
        self.assertEqual(self.names(), [])
        self.assertRaises(StorageError, self.node.receive_share, "bee")
        self.assertRaises(StorageError, second.write, b"x")

    def test_too_few_bytes(self) -> None:
        """Told when it is finished."""
        self.start()
        writer = self.node.receive_share("bee", 5)
        writer.write(b"x")
        self.failureResultOf(writer.finish(), StorageError)
        self.assertEqual(self.names(), [])

    def test_too_many_at_a_time(self) -> None:
        """Each holds a file open: there is a limit, and an end of one makes room."""
        self.start()
        writers = [self.node.receive_share(f"bee {number}") for number in range(64)]
        self.assertRaises(StorageError, self.node.receive_share, "one more")
        writers[0].abort()
        self.node.receive_share("one more")
        self.stop()

    def test_shared_as_the_user_says(self) -> None:
        """Copied although it could be linked; a symbolic link is refused."""
        self.start()
        source = self.source("bee.png")
        shared = self.node.share(source, ShareMode.COPY)
        self.reactor.pump([0.2, 0.2])
        self.assertEqual(self.successResultOf(shared).how, "copied")
        link = source.with_name("link.png")
        link.symlink_to(source)
        self.failureResultOf(self.node.share(link), StorageError)

    def source(self, name: str) -> Path:
        path = self.settings.share.with_name(name)
        path.write_bytes(CONTENT)
        return path
