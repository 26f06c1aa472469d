"""Beacons and catalogues that lie: nobody is dialled for them, nothing grows, all goes on."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.error import HTTPError

from peershare.content.manifest import ID_PREFIX, content_id, digest
from peershare.wire.beacon import NONCE_BYTES
from peershare.wire.catalogue import CatalogueEntry, digest_of, line_of
from peershare.wire.messages import Catalogue, GetCatalogue
from tests.integration.giving import Giving, Shared
from tests.integration.native import NativePeer, native_address
from tests.integration.peers import Download, Peer, PeersTestCase, picture
from tests.integration.test_swarm_hostile import peak_mebibytes
from tests.lab.processes import wait_until

FOREST = picture(1_000_003, 1)
# Longer than a peer takes to fetch a catalogue that is new to it.
QUIET_SECONDS = 2.5
MOST_MEBIBYTES = 160
PATIENCE_SECONDS = 60.0


def entry(name: str, number: int = 1, size: int = 1_000, like: str = "") -> CatalogueEntry:
    """An entry of a catalogue, with an id that nothing has; it begins as `like` does."""
    made = ID_PREFIX + digest(number.to_bytes(8, "little")).hex()
    return CatalogueEntry(name, size, like + made[len(like) :], True)


class BeaconsTestCase(PeersTestCase):
    """Peer 2 is the one that is lied to."""

    timeout = 300

    def setUp(self) -> None:
        super().setUp()
        self.two = self.start(2, "--no-classic").ready()

    def native(self, kind: type[NativePeer] = NativePeer, *shared: Shared) -> NativePeer:
        """A scripted peer, not announced."""
        native = kind(len(self._cleanups), self.ports, *shared)
        self.addCleanup(native.close)
        return native

    def assert_still_works(self) -> None:
        """It fetches from an honest peer that comes now."""
        honest = NativePeer(200, self.ports, shared := Shared("forest.png", FOREST))
        self.addCleanup(honest.close)
        honest.announce()
        begun = wait_until(
            lambda: self.begin(shared.id), self.two.running.describe, PATIENCE_SECONDS
        )
        # it may have been given another of its names
        self.assertEqual(Path(begun.wait(PATIENCE_SECONDS).path).read_bytes(), FOREST)
        self.assertTrue(self.two.running.alive)

    def begin(self, content: str) -> Download | None:
        """The download of a content; None as long as nobody is known who has it."""
        try:
            return self.two.download(content)
        except HTTPError:
            return None

    def assert_not_dialled(self, victim: socket.socket) -> None:
        """Nobody connects for a while."""
        victim.settimeout(QUIET_SECONDS)
        with self.assertRaises(TimeoutError):
            victim.accept()


def ids(peer: Peer, match: str = "*") -> set[str]:
    """The contents that a peer knows of by such names."""
    return {told["id"] for told in peer.ask("GET", f"/api/contents?match={match}")}


class Deaf(NativePeer):
    """It hears no nonce, as whoever forges its address does not."""

    def hear(self, source: str, told: object) -> None:
        """Nothing."""


class GuessesTheEcho(NativePeer):
    """It answers every nonce with one that it made up."""

    def hear(self, source: str, told: object) -> None:
        self.send(self.beacon(echo="5a" * NONCE_BYTES, nonce="a5" * NONCE_BYTES), source)


class ForgedTests(BeaconsTestCase):
    def test_no_echo(self) -> None:
        """Whoever does not hear our nonce is not dialled, however often it is announced."""
        for kind in (Deaf, GuessesTheEcho):
            forged = self.native(kind, Shared("forest.png", FOREST))
            for _ in range(5):
                forged.announce()
                forged.send(forged.beacon(ask=True), self.two.address)
                time.sleep(0.3)
            time.sleep(QUIET_SECONDS)
            self.assertEqual(forged.counts.connections, 0, kind.__name__)
        self.assert_still_works()

    def test_another_port(self) -> None:
        """A peer that was proven is not believed another port: that may be somebody else's."""
        native = self.native(NativePeer, Shared("bee.png", picture(50_000, 2)))
        native.announce()
        wait_until(lambda: native.counts.catalogues, self.two.running.describe)
        with socket.create_server((native.address, 0)) as victim:
            port = victim.getsockname()[1]
            native.share(Shared("forest.png", FOREST))
            echo = native.beacons[-1][1].nonce
            for told in (
                native.beacon(port=port),
                native.beacon(port=port, echo=echo),
                native.beacon(port=port, echo=echo, instance="ab" * 8),
            ):
                native.send(told, self.two.address)
            self.assert_not_dialled(victim)
        self.assert_still_works()

    def test_echoes_of_others(self) -> None:
        """A nonce that was meant for one address proves no other."""
        native = self.native(NativePeer, Shared("bee.png", picture(50_000, 2)))
        native.announce()
        wait_until(lambda: native.counts.catalogues, self.two.running.describe)
        echoes = [told.nonce for _, told in native.beacons if told.nonce]
        deaf = self.native(Deaf, Shared("forest.png", FOREST))
        for nonce in echoes:
            deaf.send(deaf.beacon(echo=nonce), self.two.address)
            deaf.send(deaf.beacon(echo=nonce, instance=native.instance), self.two.address)
        time.sleep(QUIET_SECONDS)
        self.assertEqual(deaf.counts.connections, 0)

    def test_flood(self) -> None:
        """20,000 beacons of invented instances: bounded, and it goes on working."""
        native = self.native(Deaf)
        for number in range(20_000):
            native.send(native.beacon(instance=f"{number:016x}", ask=True), self.two.address)
        self.assert_still_works()
        self.assertLess(peak_mebibytes(self.two), MOST_MEBIBYTES)

    def test_answers_are_no_larger(self) -> None:
        """Short questions are not answered at all: nothing can be made larger through us."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.bind((native_address(90), 0))
            short = b'{"peershare":1,"peer":"' + b"ab" * 8 + b'","instance":"' + b"ab" * 8
            short += (
                b'","port":5,"catalogue":"' + b"ab" * 32 + b'","count":1,"interval":30,"ask":true}'
            )
            asking.sendto(short, (self.two.address, self.ports.beacon))
            asking.settimeout(1.0)
            with self.assertRaises(TimeoutError):
                asking.recvfrom(2_000)
            asking.sendto(short.ljust(360), (self.two.address, self.ports.beacon))
            self.assertLessEqual(len(asking.recvfrom(2_000)[0]), 360)


class Lying(NativePeer):
    """Its catalogue is whatever `entries` and `digest_told` say."""

    told: Sequence[CatalogueEntry] = ()
    digest_told = ""

    def lines(self) -> list[bytes]:
        return sorted(line_of(one) for one in self.told)

    @property
    def digest(self) -> str:
        return self.digest_told or digest_of(b"".join(self.lines()))


class Endless(Giving):
    """A catalogue that does not end."""

    def get_catalogue(self, message: GetCatalogue) -> None:
        self.counts.catalogues[self.source] += 1
        self.send(Catalogue(digest=self.peer.digest, count=1, length=1 << 42))
        while not self.peer.closed:
            self.send_raw(line_of(entry("forest.png")) * 1_000)


class CatalogueTests(BeaconsTestCase):
    def lie(self, *told: CatalogueEntry, digest: str = "") -> Lying:
        """A peer with this catalogue, which was fetched."""
        lying = self.native(Lying)
        assert isinstance(lying, Lying)
        lying.told, lying.digest_told = told, digest
        lying.announce()
        wait_until(lambda: lying.counts.catalogues, self.two.running.describe)
        return lying

    def test_wrong_digest(self) -> None:
        """Lines that are not what the beacon named are not believed."""
        self.lie(entry("forest.png"), digest="ab" * 32)
        time.sleep(0.5)
        self.assertEqual(ids(self.two), set())
        self.assert_still_works()

    def test_petabytes(self) -> None:
        """Sizes that no content has."""
        self.lie(entry("forest.png", size=1 << 50))
        time.sleep(0.5)
        self.assertNotIn(entry("").id, ids(self.two))
        self.assert_still_works()

    def test_wrong_size(self) -> None:
        """A true id with a false size: the size is part of the id, so an honest peer helps."""
        true = Shared("forest.png", FOREST)
        self.lie(CatalogueEntry("forest.png", 1 << 41, true.id, True))
        self.assert_still_works()
        empty = content_id(0, b"")
        self.lie(CatalogueEntry("nothing.png", 1 << 40, empty, True))
        self.assertTrue(self.two.running.alive)

    def test_names(self) -> None:
        """Names that lead elsewhere, or that a terminal would obey, are left out."""
        names = ("../../etc/passwd", "/etc/passwd", "a\x1b[31m.png", "a\u2028b.exe", "con", ".x")
        entries = [entry(name, 100 + number) for number, name in enumerate(names)]
        self.lie(*entries, entry("good.png", 99))
        wait_until(lambda: entry("", 99).id in ids(self.two), self.two.running.describe)
        self.assertEqual(ids(self.two) & {one.id for one in entries}, set())
        self.assert_still_works()

    def test_100_000_entries(self) -> None:
        """As many as a catalogue may have: known, within bounds, and asked quickly."""
        self.lie(*(entry(f"file number {number}.png", number) for number in range(100_000)))
        wait_until(lambda: len(ids(self.two)) > 1_000, self.two.running.describe, PATIENCE_SECONDS)
        self.assertLess(peak_mebibytes(self.two), 2 * MOST_MEBIBYTES)
        self.assert_still_works()

    def test_hidden_among_ids(self) -> None:
        """Thousands of invented ids that begin as a true one does hide it not."""
        true = Shared("forest.png", FOREST)
        told = [entry(f"a{number}.png", number, like=true.id[:11]) for number in range(5_000)]
        self.lie(*told)
        wait_until(lambda: told[0].id in ids(self.two, "a0.png"), self.two.running.describe)
        self.assert_still_works()

    def test_hidden_among_names(self) -> None:
        """Nor do thousands of names for it, of a peer that does not give it."""
        true = Shared("forest.png", FOREST)
        told = [CatalogueEntry(f"b{n}.png", true.size, true.id, True) for n in range(5_000)]
        self.lie(*told)
        wait_until(lambda: true.id in ids(self.two, "b0.png"), self.two.running.describe)
        self.assert_still_works()

    def test_too_many_entries(self) -> None:
        """More than that are refused."""
        self.lie(*(entry(f"file number {number}.png", number) for number in range(100_001)))
        time.sleep(QUIET_SECONDS)
        self.assertEqual(ids(self.two), set())
        self.assert_still_works()

    def test_endless(self) -> None:
        """A catalogue that never ends is refused before it takes room."""
        native = NativePeer(150, self.ports, Shared("bee.png", FOREST[:50_000]), giving=Endless)
        self.addCleanup(native.close)
        native.announce()
        wait_until(lambda: native.counts.catalogues, self.two.running.describe)
        self.assert_still_works()
        self.assertLess(peak_mebibytes(self.two), MOST_MEBIBYTES)
