"""The guest service: its ports, its link, and who may connect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from segno import make
from twisted.internet.address import IPv4Address as TcpAddress
from twisted.trial.unittest import SynchronousTestCase

from peershare.admission import MAX_CONNECTIONS, RESERVED_FOR_FIRST, RESERVED_FOR_KNOWN
from peershare.errors import UnknownUploadError
from peershare.guest.connection import GuestConnection
from peershare.guest.making import Surroundings, make_guest
from peershare.guest.qr import svg_code, text_code
from peershare.guest.server import REFRESH_SECONDS, GuestService, make_token
from peershare.ledger import Ledger
from peershare.refusals import Refusal
from peershare.settings import Settings
from peershare.status import Event, Notice
from tests.fakes import FakeReactor, FakeTransport, link, run_now
from tests.guest.world import FakeLibrary, form, parse

ONE, TWO = link("198.18.0.1/24"), link("198.18.5.1/24")


class FakeServing:
    """What the guest page shares with other uploads."""

    def __init__(self) -> None:
        self.contents = self.warmer = self
        self.bucket = None
        self.taken: list[tuple[str, int]] = []

    def warm(self, *_: object) -> bool:
        return True

    def uploaded(self, address: str, count: int) -> None:
        self.taken.append((address, count))


class GuestServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.reactor = FakeReactor()
        self.library: Any = FakeLibrary()
        self.links = [ONE]
        self.events: list[Event] = []
        self.settings = Settings(share=self.folder, state=self.folder, guest=True)

    def start(self, **changes: Any) -> GuestService:
        given = Surroundings(
            self.reactor,
            run_now,
            Random(1),
            lambda: 0.0,
            self.library,
            Ledger(self.folder, lambda: 0.0),
        )
        serving: Any = FakeServing()
        service = make_guest(
            replace(self.settings, **changes),
            given,
            serving,
            serving,
            lambda: self.links,
            lambda _: None,
            self.events.append,
        )
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def connect(self, host: str) -> Any:
        (port,) = self.reactor.tcp_ports
        protocol = port.factory.buildProtocol(TcpAddress("TCP", host, 40_000))
        protocol.makeConnection(FakeTransport(self.reactor, protocol))
        return protocol

    def ports(self) -> list[tuple[str, int]]:
        return [(port.interface, port.port) for port in self.reactor.tcp_ports]

    def test_off(self) -> None:
        """Without the option nothing listens, and nothing is shown."""
        service = self.start(guest=False, guest_upload=True)
        self.assertEqual(self.ports(), [])
        status = service.status()
        self.assertEqual((status.link, status.qr, status.takes_uploads), ("", "", False))
        self.assertRaises(UnknownUploadError, service.accept, "1")
        self.assertRaises(UnknownUploadError, service.refuse, "1")

    def test_own_addresses_alone(self) -> None:
        """It listens on each own address, as they come and go, and on nothing else."""
        service = self.start()
        self.assertEqual(self.ports(), [("198.18.0.1", 5080)])
        self.links = [TWO]
        self.reactor.advance(REFRESH_SECONDS)
        self.assertEqual(self.ports(), [("198.18.5.1", 5080)])
        self.links = [TWO, ONE]
        self.reactor.advance(REFRESH_SECONDS)
        self.assertEqual(len(service.links), 2)
        service.stopService()
        self.assertEqual(self.ports(), [])
        self.assertEqual(service.link, "")

    def test_port_is_taken(self) -> None:
        """Another port is used, and the link says which; none at all is told once."""
        self.reactor.taken.add(("198.18.0.1", 5080))
        service = self.start()
        self.assertIn(f"http://198.18.0.1:{self.ports()[0][1]}/", service.link)
        self.assertNotIn(":5080/", service.link)
        self.reactor.taken.add(("198.18.5.1", 5080))
        self.reactor.taken.add(("198.18.5.1", 0))
        self.links = [ONE, TWO]
        self.reactor.advance(REFRESH_SECONDS)
        self.assertEqual(len(self.ports()), 1)

    def test_link(self) -> None:
        """It leads to the page, and nothing else does."""
        service = self.start()
        _, _, path = service.link.removeprefix("http://").partition("/")
        connection = self.connect("198.18.0.9")
        transport = connection.transport
        connection.dataReceived(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.assertEqual(parse(transport.written).status, 200)
        self.assertEqual(service.status().links, (service.link,))

    def test_tokens(self) -> None:
        """A token has 128 bits, and every run another one."""
        tokens = {make_token(Random(seed)) for seed in range(100)}
        self.assertEqual(len(tokens), 100)
        for token in tokens:
            self.assertRegex(token, r"\A[A-Za-z0-9_-]{22}\Z")

    def test_admission(self) -> None:
        """Strangers are turned away, and so is whoever comes too often, or too late.

        Six addresses that hold what they can leave room for the first connection of others.
        """
        self.start()
        self.assertIsInstance(self.connect("203.0.113.1"), Refusal)
        busy = [self.connect(f"198.18.0.{2 + number // 32}") for number in range(192)]
        held = sum(isinstance(protocol, GuestConnection) for protocol in busy)
        room = MAX_CONNECTIONS - RESERVED_FOR_KNOWN
        self.assertEqual(held, room - RESERVED_FOR_FIRST + 1)
        for number in range(room - held):
            self.assertIsInstance(self.connect(f"198.18.0.{100 + number}"), GuestConnection)
        self.assertIsInstance(self.connect("198.18.0.200"), Refusal)

    def test_stop(self) -> None:
        """The end of the service cuts every connection."""
        service = self.start()
        connection = self.connect("198.18.0.9")
        service.stopService()
        self.assertIn("reset", connection.transport.events)
        self.reactor.advance(0)
        self.assertEqual([str(call.func) for call in self.reactor.getDelayedCalls()], [])

    def test_upload_is_told(self) -> None:
        """People are told that a file waits, by a name that cannot mislead them."""
        service = self.start(guest_upload=True)
        (token,) = {part for part in service.link.split("/") if len(part) == 22}
        connection = self.connect("198.18.0.9")
        body = form(("b\u200be.png", b"x" * 1_234))
        head = (
            f"POST /{token}/upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: multipart/form-data; boundary=XyZ\r\n\r\n"
        )
        connection.dataReceived(head.encode() + body)
        (notice,) = self.events
        assert isinstance(notice, Notice)
        self.assertEqual(notice.peer, "198.18.0.9")
        self.assertIn("198.18.0.9 sent b_e.png (1,234 bytes)", notice.text)
        (upload,) = service.status().uploads
        self.assertEqual(self.successResultOf(service.accept(upload.id)).state, "accepted")
        self.assertEqual(len(list((self.folder / "Inbox").glob("*.png"))), 1)

    def test_inbox_folder(self) -> None:
        """It is where the settings say."""
        service = self.start(guest_upload=True, guest_inbox=self.folder / "other")
        self.assertEqual(service.status().upload_limit, 1_000_000_000)
        self.assertTrue(service.status().takes_uploads)
        self.assertFalse((self.folder / "other").exists())


class QrTests(SynchronousTestCase):
    LINK = "http://198.18.0.1:5080/AAAAAAAAAAAAAAAAAAAAAA/"

    def test_text(self) -> None:
        """Light and dark are those of the code, with a quiet zone, within 40 columns."""
        lines = text_code(self.LINK).splitlines()
        self.assertLessEqual(max(map(len, lines)), 40)
        light: list[list[bool]] = []
        for line in lines:
            light.append([c in "█▀" for c in line])
            light.append([c in "█▄" for c in line])
        matrix = make(self.LINK, micro=False, error="m").matrix
        found = [[not cell for cell in row[2:-2]] for row in light[2 : 2 + len(matrix)]]
        self.assertEqual(found, [[bool(cell) for cell in row] for row in matrix])
        self.assertTrue(all(all(row) for row in light[:2]))

    def test_svg(self) -> None:
        """One drawing without scripts, styles or links to elsewhere."""
        text = svg_code(self.LINK)
        self.assertTrue(text.startswith("<svg ") and text.rstrip().endswith("</svg>"))
        for word in ("script", "style", "href", self.LINK):
            self.assertNotIn(word, text)
