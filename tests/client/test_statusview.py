"""What `status` shows: never too wide, never too high, the same in a pipe."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from peershare.client.progress import Progress
from peershare.client.screen import cells_of
from peershare.client.statusview import Room, Snapshot, plain_status, status_lines
from peershare.status import DownloadState, NodeStatus, NotOffered
from tests.control.fake_node import FakeNode, a_download, a_peer

AN_ID = "b3:" + "0123456789abcdef" * 4


def a_node(**fields: Any) -> NodeStatus:
    return structs.replace(FakeNode().node_status(), **fields)


def running(name: str = "forest.png", **fields: Any) -> Progress:
    status = a_download(
        name,
        name,
        **{
            "state": DownloadState.DOWNLOADING,
            "received": 450_000,
            "size": 1_000_000,
            "peer": "198.18.0.2",
            "elapsed_seconds": 5.0,
            "given": {"198.18.0.2": 300_000, "198.18.0.3": 150_000},
            "content": AN_ID,
            **fields,
        },
    )
    return Progress(status, 0.0, 2_000_000.0, 12.0)


PEERS = (
    a_peer(download_rate=1_500_000.0, given=5),
    a_peer("198.18.0.3", problem="refuses connections", native=True, count=1_200),
)


class StatusLinesTests(SynchronousTestCase):
    def lines(self, columns: int = 80, rows: int = 22, **node: Any) -> list[str]:
        downloads = [running(), running("done.txt", state=DownloadState.DONE, verified=True)]
        return status_lines(a_node(**node), downloads, PEERS, Room(columns, rows, False))

    def test_wide(self) -> None:
        """The node, a bar with who gives below it, and the peers with what is wrong with them."""
        lines = self.lines(download_rate=1_500_000.0, download_limit=2_000_000.0, free_bytes=10**9)
        self.assertEqual(
            lines[0], "down 1.5 MB/s of 2.0 MB/s  up 0 B/s  1 peer  0 files  1.0 GB free"
        )
        self.assertRegex(lines[1], r"^forest.png +━+[^ ]* +45% 2.0 MB/s 0:12 198.18.0.2$")
        self.assertEqual(lines[2], "  verified: 198.18.0.2 67% 198.18.0.3 33%")
        self.assertRegex(lines[3], r"^done.txt .* 100% done, 1.0 MB verified$")
        table = lines[lines.index(next(one for one in lines if one.startswith("PEER"))) :]
        self.assertEqual(table[0].split(), ["PEER", "DOWN", "UP", "HEARD", "HAS"])
        self.assertEqual(
            table[1].split(), ["198.18.0.2", "1.5", "MB/s", "-", "1.5", "s", "ago", "1"]
        )
        self.assertEqual(table[2].split()[-1], "1200")
        self.assertEqual(table[3], "  refuses connections")

    def test_what_is_not_offered(self) -> None:
        """A line with the first of it and why; in a pipe a line for each of these."""
        first = (NotOffered("a\x1b?", "it holds ?"),)
        lines = self.lines(not_offered=12, not_offered_first=first)
        self.assertEqual(lines[1], "12 not offered (list names all): a\\x1b?: it holds ?")
        node = a_node(not_offered=12, not_offered_first=first)
        plain = plain_status(Snapshot(node=node, downloads=(), peers=())).split("\n")
        self.assertEqual(plain[1], "not offered\ta\\x1b?\tit holds ?")

    def test_narrow(self) -> None:
        """In 40 columns the same, in more lines and without what can be spared."""
        lines = self.lines(40)
        self.assertTrue(all(cells_of(line) < 40 for line in lines), lines)
        text = "\n".join(lines)
        for part in ("down 0 B/s", "45%", "2.0 MB/s 0:12", "1.5 MB/s", "refuses connections"):
            self.assertIn(part, text)
        self.assertNotIn("HEARD", text)

    def test_nothing(self) -> None:
        """A node alone says that it is."""
        lines = status_lines(a_node(), [], (), Room(80, 22, False))
        self.assertEqual(lines[1:], ["no download", "nobody was heard"])

    def test_paused(self) -> None:
        """What is paused says so, and how much is here."""
        lines = status_lines(
            a_node(), [running(state=DownloadState.PAUSED)], (), Room(80, 22, False)
        )
        self.assertIn("paused, 450 kB here", lines[1])

    def test_problems(self) -> None:
        """What is wrong with the node stands above."""
        lines = self.lines(problems=("port 5001 is taken\x1b[2J",))
        self.assertEqual(lines[1], "port 5001 is taken\\x1b[2J")

    def test_little_room(self) -> None:
        """In little room downloads go before peers, and what is left out is counted."""
        many = [running(f"file {n}") for n in range(30)]
        peers = tuple(a_peer(f"198.18.1.{n}") for n in range(30))
        lines = status_lines(a_node(), many, peers, Room(80, 12, False))
        self.assertLessEqual(len(lines), 12)
        self.assertTrue(lines[-1].startswith("… and "), lines)
        self.assertGreater(sum(line.startswith("file") for line in lines), 4)

    @settings(deadline=None, max_examples=60)
    @given(
        st.text(max_size=50),
        st.sampled_from(list(DownloadState)),
        st.integers(20, 120),
        st.integers(4, 40),
        st.integers(0, 12),
        st.booleans(),
    )
    def test_size(
        self, text: str, state: DownloadState, columns: int, rows: int, count: int, color: bool
    ) -> None:
        """Whatever peers say, it fits: no line is too wide, none too many."""
        downloads = [running(f"{n}{text}", state=state, problem=text) for n in range(count)]
        peers = tuple(a_peer(text or "x", problem=text) for _ in range(count))
        lines = status_lines(a_node(), downloads, peers, Room(columns, rows, color))
        self.assertLessEqual(len(lines), rows)
        for line in lines:
            self.assertLess(cells_of(line), columns)
            self.assertNotIn("\n", line)


class PlainTests(SynchronousTestCase):
    def test_rows(self) -> None:
        """A kind and tabs; numbers are plain numbers."""
        snapshot = Snapshot(
            node=a_node(problems=("no\tnetwork",), free_bytes=5, download_rate=1.6),
            downloads=(running(rate=7.0).status,),
            peers=PEERS,
        )
        self.assertEqual(
            plain_status(snapshot).split("\n"),
            [
                "node\t2\t0\t1\t0\t5",
                "problem\tno\\x09network",
                "download\tforest.png\tdownloading\t45%\t450000\t7\tforest.png\t",
                "peer\t198.18.0.2\t1500000\t0\t2\t1\t",
                "peer\t198.18.0.3\t0\t0\t2\t1200\trefuses connections",
            ],
        )
