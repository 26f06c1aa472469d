"""The node: its parts work together, it tells what happens, and its end is an end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from peershare.discovery import DICTIONARY_NAME
from peershare.errors import SettingsError, StateInUseError, StorageError
from peershare.library import library as library_module
from peershare.library.index import INDEX_NAME, Index
from peershare.node import Node, make_node
from peershare.settings import Settings, load_settings
from peershare.state import StateLock, make_private_folder
from peershare.status import ContentsChanged, ContentStatus, DownloadState, Event
from peershare.wiring import World
from tests.fakes import FakeReactor, FakeUdpPort, interface, run_now
from tests.library.test_library import FakeWatch

A, B = "198.18.0.2", "198.18.0.3"
WALL = 4_000_000_000.0  # every file is at rest
CONTENT = bytes(range(47))


class NodeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        base = Path(self.mktemp()).absolute()
        self.settings = Settings(share=base / "share", state=base / "state")
        self.settings.share.mkdir(parents=True)
        self.patch(library_module, "FolderWatch", FakeWatch)
        self.reactor = FakeReactor()
        self.events: list[Event] = []
        self.node = self.make()

    def make(self) -> Node:
        world = World(
            reactor=self.reactor,
            workers=run_now,
            hashers=run_now,
            wall_clock=lambda: WALL,
            random=Random(5),
            interfaces=lambda: [interface("198.18.0.1/24", "eth0", "198.18.0.255")],
        )
        lock = StateLock(self.settings.state)
        self.addCleanup(lock.release)
        index = Index(self.settings.state)
        self.addCleanup(index.close)
        node = Node(self.settings, world, lock, index, resume=True)
        node.observe(self.events.append)
        return node

    def start(self) -> None:
        self.node.startService()
        self.reactor.advance(0)

    def stop(self) -> None:
        self.successResultOf(self.node.stopService())

    def udp(self, interface: str) -> FakeUdpPort:
        ports = [port for port in self.reactor.udp_ports if port.port == 5001]
        (port,) = [port for port in ports if port.interface == interface]
        return port

    def hear(self, source: str, *names: str) -> None:
        self.udp("198.18.0.255").hear(json.dumps({"chunks": names}).encode(), source)

    def contents(self) -> tuple[ContentStatus, ...]:
        asked = self.node.contents()
        while not asked.called:
            self.reactor.advance(0.001)
        return self.successResultOf(asked).contents

    def file(self, name: str, data: bytes = CONTENT) -> Path:
        path = self.settings.share / name
        path.write_bytes(data)
        return path


class LifeTests(NodeTestCase):
    def test_starts_everything(self) -> None:
        """It hears on all addresses, serves and announces on its own, and says so."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.file("forest.png")
        self.start()
        self.reactor.advance(0.2)
        self.assertEqual(
            {port.interface for port in self.reactor.udp_ports},
            {"198.18.0.255", "255.255.255.255", "198.18.0.1"},
        )
        self.assertEqual([port.getHost().port for port in self.reactor.tcp_ports], [5000])
        self.assertIn(b"forest_5", self.udp("198.18.0.1").sent[0][0])
        said = [event["log_format"].format(**event) for event in log if "log_format" in event]
        for part in (
            f"sharing 1 files of {self.settings.share}",
            "serving chunks on 198.18.0.1:5000",
            "announcing from 198.18.0.1 to 198.18.0.255 (UDP 5001) every 60 s",
            f"to fetch: peershare get NAME --state {self.settings.state}",
        ):
            self.assertIn(part, said)

    def test_ends_everything(self) -> None:
        """No socket and no timer is left, and the state folder is free again."""
        self.file("forest.png")
        self.start()
        self.node.start_download("bee", None)
        self.hear(A, "bee_1")
        self.reactor.waiting[0].accept().protocol.dataReceived(b"data")
        self.reactor.advance(1.0)
        self.stop()
        self.assertEqual((self.reactor.udp_ports, self.reactor.tcp_ports), ([], []))
        self.reactor.dialled[0].reset()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        StateLock(self.settings.state).release()

    def test_again_after_a_stop(self) -> None:
        """What was heard a moment ago, and what was wanted, goes on."""
        self.start()
        self.node.start_download("bee", None)
        self.hear(A, "bee_1")
        self.hear(B, "forest_1")
        self.reactor.waiting[0].refuse()
        self.stop()
        path = self.settings.state / DICTIONARY_NAME
        self.assertEqual(json.loads(path.read_text()), {"bee_1": [A], "forest_1": [B]})
        os.utime(path, (WALL - 10, WALL - 10))
        self.node = self.make()
        self.start()
        self.assertEqual([peer.address for peer in self.node.peers()], [A, B])
        self.assertEqual([status.name for status in self.node.downloads()], ["bee"])
        self.assertEqual([dialled.host for dialled in self.reactor.waiting], [A])

    def test_a_private_state_folder(self) -> None:
        """Whatever the umask, nobody else reads what was shared with whom."""
        self.file("forest.png")
        self.start()
        self.hear(A, "bee_1")
        self.stop()
        self.assertEqual(self.settings.state.stat().st_mode & 0o777, 0o700)
        for path in self.settings.state.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path.name)


class HearingTests(NodeTestCase):
    def test_a_newcomer_is_answered(self) -> None:
        """An address that is heard for the first time knows our chunks within a moment."""
        self.file("forest.png")
        self.start()
        self.reactor.pump([0.1] * 40)
        sent = len(self.udp("198.18.0.1").sent)
        self.hear(A, "bee_1")
        self.reactor.advance(0.1)
        self.assertEqual(len(self.udp("198.18.0.1").sent), sent + 1)
        self.hear(A, "bee_1")
        self.reactor.pump([0.1] * 20)
        self.assertEqual(len(self.udp("198.18.0.1").sent), sent + 1)

    def test_heard_by_unicast_too(self) -> None:
        """What is sent to our own address goes through the same gate."""
        self.start()
        self.udp("198.18.0.1").hear(b'{"chunks": ["bee_1"]}', A)
        self.udp("198.18.0.1").hear(b'{"chunks": ["bee_2"]}', "203.0.113.1")
        self.assertEqual([peer.address for peer in self.node.peers()], [A])

    def test_the_dictionary_file(self) -> None:
        """It always is one complete object, and follows within a second."""
        path = self.settings.state / DICTIONARY_NAME
        self.start()
        self.assertEqual(json.loads(path.read_text()), {})
        self.hear(A, "bee_1")
        self.reactor.advance(1.0)
        self.assertEqual(json.loads(path.read_text()), {"bee_1": [A]})

    def test_a_waiting_download_goes_on(self) -> None:
        """The moment its name is told."""
        self.start()
        self.assertEqual(self.node.start_download("bee", None).state, DownloadState.SEARCHING)
        self.hear(A, "bee_1", "bee_2", "bee_3", "bee_4", "bee_5")
        self.assertEqual([dialled.host for dialled in self.reactor.waiting], [A])

    def test_lists_that_changed_are_told_once_a_second(self) -> None:
        """How many contents and peers there are; nothing where nothing changed."""
        self.start()
        self.reactor.pump([1.0] * 3)
        self.events.clear()
        self.hear(A, "bee_1", "forest_1")
        self.hear(B, "bee_1")
        self.reactor.pump([0.25] * 12)
        lists = [event for event in self.events if isinstance(event, ContentsChanged)]
        self.assertEqual(lists, [ContentsChanged(2, 2)])


class LogTests(NodeTestCase):
    def test_no_line_for_each_datagram(self) -> None:
        """Addresses that are invented one after the other do not fill the log."""
        self.start()
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        for number in range(2_000):
            self.hear(f"198.18.0.{number % 200 + 20}", "x_1")
            self.node._parts.dictionary.forget(f"198.18.0.{number % 200 + 20}")
            self.reactor.advance(0.01)
        lines = [e for e in log if e.get("log_format") == "heard of {source}"]
        self.assertLess(len(lines), 60)
        self.assertGreater(len(lines), 30)


class AskingTests(NodeTestCase):
    def test_the_node(self) -> None:
        """Addresses, ports, counts, and no problem."""
        self.file("forest.png")
        self.start()
        self.reactor.advance(0.2)
        self.hear(A, "bee_1")
        self.udp("198.18.0.255").hear(b"junk", A)
        status = self.node.node_status()
        self.assertEqual(
            (status.addresses, status.broadcasts), (("198.18.0.1",), ("198.18.0.255",))
        )
        self.assertEqual((status.tcp_port, status.classic_udp_port), (5000, 5001))
        self.assertEqual((status.announcing, status.announced_names, status.files), (True, 5, 1))
        self.assertEqual((status.peers, status.last_announced_at), (1, WALL))
        self.assertEqual(dict(status.refused), {"datagram not understood": 1})
        self.assertEqual(status.problems, ())

    def test_contents_and_peers(self) -> None:
        """Our own files and what others tell, by name."""
        self.file("forest.png")
        self.file("tiny", b"x")
        self.start()
        self.hear(A, *(f"bee_{n}" for n in range(1, 6)), "forest_1")
        contents = {content.name: content for content in self.contents()}
        self.assertEqual(list(contents), ["bee", "forest", "forest.png", "tiny"])
        self.assertTrue(contents["bee"].complete)
        self.assertEqual((contents["bee"].shared, contents["bee"].chunks), (False, (1,) * 5))
        self.assertEqual((contents["forest.png"].shared, contents["forest.png"].size), (True, 47))
        self.assertEqual(contents["forest.png"].peers, (), "theirs may be another forest")
        self.assertEqual(contents["forest"].peers, (A,))
        self.assertTrue(contents["tiny"].complete)  # native peers can have it
        (peer,) = self.node.peers()
        self.assertEqual((peer.address, peer.contents, peer.chunks), (A, ("bee", "forest"), 6))

    def test_sharing_a_file(self) -> None:
        """It appears in the share folder, and its five names are known when it is announced."""
        self.start()
        source = self.settings.share.with_name("bee.png")
        source.write_bytes(CONTENT)
        shared = self.node.share(source)
        self.reactor.pump([0.2, 0.2])
        status = self.successResultOf(shared)
        self.assertEqual((status.name, status.how, status.size), ("bee.png", "linked", 47))
        self.assertEqual(status.chunks, tuple(f"bee_{n}" for n in range(1, 6)))
        self.assertEqual(status.note, "")

    def test_sharing_what_cannot_be_announced(self) -> None:
        """It is shared, and the note says why classic peers do not hear of it."""
        self.start()
        source = self.settings.share.with_name("tiny")
        source.write_bytes(b"x")
        shared = self.node.share(source)
        self.reactor.pump([0.2, 0.2])
        status = self.successResultOf(shared)
        self.assertEqual(status.chunks, ())
        self.assertIn("1 bytes cannot be divided", status.note)

    def test_sharing_what_is_not_there(self) -> None:
        """The failure names the path."""
        self.start()
        shared = self.node.share(self.settings.share.with_name("nothing"))
        self.assertIn("nothing", str(self.failureResultOf(shared, StorageError).value))

    def test_observers(self) -> None:
        """Each gets every event until it does not want them; one that fails harms nobody."""
        self.start()
        others: list[Event] = []

        def fail(event: Event) -> None:
            raise RuntimeError("observer")

        self.node.observe(fail)
        end = self.node.observe(others.append)
        self.node.start_download("bee", None)
        self.reactor.advance(0.2)
        self.assertTrue(others)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))
        end()
        others.clear()
        self.hear(A, "bee_1")
        self.reactor.pump([0.5] * 4)
        self.assertEqual(others, [])
        self.flushLoggedErrors(RuntimeError)


class MakingTests(SynchronousTestCase):
    """A node in the real world; nothing is started."""

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.reactor = FakeReactor()
        self.reactor.getThreadPool = lambda: None

    def settings(self, **flags: str) -> Settings:
        given = {name: [value] for name, value in flags.items()}
        folders = {"share": [str(self.base / "share")], "state": [str(self.base / "state")]}
        return load_settings({"address": ["127.0.0.1"], **folders, **given}, {})

    def make(self, **flags: str) -> Node:
        node = make_node(self.settings(**flags), self.reactor, resume=False)
        self.addCleanup(node._lock.release)
        self.addCleanup(node._parts.index.close)
        return node

    def test_folders_are_made_private(self) -> None:
        """Share and state folder, where there are none yet."""
        self.make()
        for name in ("share", "state"):
            self.assertEqual((self.base / name).stat().st_mode & 0o777, 0o700)

    def test_a_state_folder_in_use(self) -> None:
        """Refused with the pid; nothing else is touched."""
        self.make()
        self.assertRaises(StateInUseError, self.make, share=str(self.base / "other"))
        self.assertFalse((self.base / "other").exists())

    def test_an_address_that_is_not_ours(self) -> None:
        """Refused before anything is made."""
        self.assertRaises(SettingsError, self.make, address="203.0.113.77")
        self.assertFalse(self.base.exists())

    def test_a_failure_gives_the_state_folder_back(self) -> None:
        """A share folder that cannot be made, an index that cannot be opened."""
        self.base.mkdir(parents=True)
        (self.base / "file").write_bytes(b"")
        self.assertRaises(StorageError, self.make, share=str(self.base / "file"))
        make_private_folder(self.base / "state" / INDEX_NAME)
        self.assertRaises(StorageError, self.make)
        (self.base / "state" / INDEX_NAME).rmdir()
        self.make()
