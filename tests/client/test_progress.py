"""Progress lines and tables: what they say, and that they never are too wide."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.client.progress import Progress, progress_lines
from peershare.client.screen import cells_of
from peershare.client.tables import (
    MOST_DRAWN_ROWS,
    candidate_lines,
    candidates_sheet,
    contents_sheet,
    drawn_lines,
    history_sheet,
    peers_sheet,
    plain_lines,
    verify_sheet,
)
from peershare.status import DownloadState
from tests.control.fake_node import (
    a_choice,
    a_classic_choice,
    a_content,
    a_download,
    a_peer,
    a_result,
    an_entry,
)

AN_ID = "b3:" + "0123456789abcdef" * 4


def moving(**fields: Any) -> Progress:
    """A download in the middle, but for these fields."""
    status = a_download(
        name=fields.pop("name", "forest.png"),
        state=fields.pop("state", DownloadState.DOWNLOADING),
        received=450_000,
        size=1_000_000,
        peer="198.18.0.2",
        elapsed_seconds=5.0,
    )
    age = fields.pop("age", 0.0)
    from msgspec import structs

    return Progress(structs.replace(status, **fields), age, 3_200_000.0, 12.0)


class ProgressTests(SynchronousTestCase):
    def line(self, progress: Progress, columns: int = 80) -> str:
        return "\n".join(progress_lines([progress], columns, 10, color=False))

    def test_wide(self) -> None:
        """Bar, share, rate, time left and current peer in one line."""
        line = self.line(moving())
        for part in ("forest.png", "━━━━", "45%", "3.2 MB/s", "0:12", "198.18.0.2"):
            self.assertIn(part, line)
        self.assertNotIn("\n", line)

    def test_narrow(self) -> None:
        """The same in two lines of a narrow terminal."""
        line = self.line(moving(), 40)
        for part in ("forest.png", "━━", "45%", "3.2 MB/s", "0:12", "198.18.0.2"):
            self.assertIn(part, line)
        self.assertEqual(line.count("\n"), 1)

    def test_beginning(self) -> None:
        """A rate of the first moment would jump: it is not shown yet."""
        line = self.line(moving(elapsed_seconds=0.4))
        self.assertIn("450 kB", line)
        self.assertNotIn("/s", line)

    def test_standstill(self) -> None:
        """When nothing comes, it says for how long, also when the node tells nothing new."""
        self.assertIn("no bytes for 5 s 198.18.0.2", self.line(moving(idle_seconds=5.0)))
        self.assertIn("no bytes for 5 s", self.line(moving(idle_seconds=1.0, age=4.0)))

    def test_givers(self) -> None:
        """Who gave how much of it, the most first, and whether it is checked, in a line below."""
        given = {"198.18.0.2": 100_000, "198.18.0.3": 350_000, "198.18.0.4": 0}
        _, line = self.line(moving(given=given, content=AN_ID)).split("\n")
        self.assertEqual(line, "  verified: 198.18.0.3 78% 198.18.0.2 22%")
        line = self.line(moving(given={"198.18.0.2": 5}), 40).split("\n")[-1]
        self.assertEqual(line, "  unverified: 198.18.0.2 100%")

    def test_many_givers(self) -> None:
        """Those that do not fit are counted; every line is narrower than the terminal."""
        given = {f"198.18.0.{number}": 1_000 - number for number in range(100, 140)}
        for columns in (80, 40):
            line = self.line(moving(given=given, content=AN_ID), columns).split("\n")[-1]
            self.assertLess(cells_of(line), columns)
            self.assertRegex(line, r" 198.18.0.100 \d+% \.101 \d+%.* \+\d+$")

    def test_givers_of_one_network(self) -> None:
        """In a narrow terminal, what the addresses have in common is said once."""
        given = {"198.18.0.2": 50, "198.18.0.3": 30, "198.18.7.4": 20}
        line = self.line(moving(given=given, content=AN_ID), 40).split("\n")[-1]
        self.assertEqual(line, "  verified: 198.18.0.2 50% .3 30% +1")
        del given["198.18.7.4"]
        line = self.line(moving(given=given, content=AN_ID), 36).split("\n")[-1]
        self.assertEqual(line, "  verified: 198.18.0.2 62% .3 38%")

    def test_several_give(self) -> None:
        """Several that give at the moment are counted beside the bar."""
        peers = ("198.18.0.2", "198.18.0.3")
        self.assertIn("3.2 MB/s 0:12 2 peers", self.line(moving(peers=peers)))
        self.assertIn("0:12 198.18.0.2", self.line(moving(peers=peers[:1])))

    def test_little_room(self) -> None:
        """Who gives is left out before a download is."""
        many = [moving(name=f"file {n}", given={"198.18.0.2": 1}) for n in range(4)]
        self.assertEqual(len(progress_lines(many, 80, 6, color=False)), 6)
        lines = progress_lines(many, 80, 4, color=False)
        self.assertEqual([line.split()[1] for line in lines], ["0", "1", "2", "3"])
        self.assertEqual(len(progress_lines(many, 80, 3, color=False)), 3)

    def test_states(self) -> None:
        """Each state that is no progress says what it waits for."""
        self.assertIn("not heard of yet", self.line(moving(state=DownloadState.SEARCHING)))
        self.assertIn("no peer gives it", self.line(moving(state=DownloadState.WAITING)))
        self.assertIn("in its place", self.line(moving(state=DownloadState.FINISHING)))
        blocked = moving(state=DownloadState.BLOCKED, problem="/x: the disk is full")
        self.assertIn("/x: the disk is full", self.line(blocked))

    def test_never_a_hundred_percent_before_it_is_done(self) -> None:
        """Five chunks that are here are not a file yet."""
        self.assertIn("99%", self.line(moving(received=1_000_000)))

    def test_more_than_fit(self) -> None:
        """What does not fit is counted."""
        many = [moving(name=f"file {number}") for number in range(20)]
        lines = progress_lines(many, 80, 6, color=False)
        self.assertEqual((len(lines), lines[-1]), (6, "… and 15 more"))
        lines = progress_lines(many, 40, 6, color=False)
        self.assertEqual((len(lines), lines[-1]), (5, "… and 18 more"))

    def test_no_colour(self) -> None:
        """Without colour there is no escape at all."""
        self.assertNotIn("\x1b", self.line(moving()))
        (colored,) = progress_lines([moving()], 80, 1, color=True)
        self.assertIn("\x1b[", colored)

    @settings(deadline=None, max_examples=60)
    @given(
        st.text(max_size=60),
        st.sampled_from(list(DownloadState)),
        st.text(max_size=60),
        st.integers(10, 120),
        st.booleans(),
    )
    def test_width(
        self, name: str, state: DownloadState, problem: str, columns: int, color: bool
    ) -> None:
        """Whatever peers call it, a line is narrower than the terminal, and one line."""
        given = {problem: 3, "198.18.0.2": 5}
        progress = moving(name=name, state=state, problem=problem, given=given, content=AN_ID)
        for line in progress_lines([progress], columns, 4, color):
            self.assertLess(cells_of(line), columns)
            self.assertNotIn("\n", line)


class TablesTests(SynchronousTestCase):
    def test_contents(self) -> None:
        """Name, how many chunks are to be had, size where it is known, who has it."""
        partly = a_content("bee", chunks=(1, 0, 2, 0, 1), complete=False)
        own = a_content("own.txt", id=AN_ID, shared=True, size=1_500, peers=(), chunks=(0,) * 5)
        self.assertEqual(
            plain_lines(contents_sheet([a_content(), partly, own], drawn=False)),
            "forest\t5/5\t?\t198.18.0.2\t-\nbee\t3/5\t?\t198.18.0.2\t-\n"
            f"own.txt\t5/5\t1.5 kB\tyou\t{AN_ID}",
        )

    def test_ids(self) -> None:
        """A person gets the beginning of an id, a program all of it."""
        content = a_content(id=AN_ID)
        self.assertIn(AN_ID, plain_lines(contents_sheet([content], drawn=False)))
        self.assertTrue(plain_lines(contents_sheet([content], drawn=True)).endswith(AN_ID[:15]))

    def test_candidates(self) -> None:
        """What tells contents of one name apart: size, id, who has it, since when."""
        addresses = ("198.18.0.2", "198.18.0.3")
        choices = (
            a_choice(1, addresses=addresses),
            a_choice(2, peers=1, complete=1, age_seconds=0.0),
            a_classic_choice("forest", "198.18.0.4"),
        )
        self.assertEqual(
            plain_lines(candidates_sheet(choices)),
            f"1000000\t{choices[0].id}\t2\t60\tforest.png\tnative\t198.18.0.2,198.18.0.3\n"
            f"2000000\t{choices[1].id}\t1\t0\tforest.png\tnative\t-\n"
            "-\t-\t1\t0\tforest\tclassic\t198.18.0.4",
        )
        self.assertEqual(
            candidate_lines(choices).split("\n"),
            [
                "  1  1.0 MB  b3:100000000000  2 peers (1 with all)",
                "     from 198.18.0.2, 198.18.0.3, heard 60 s ago: forest.png",
                "  2  2.0 MB  b3:200000000000  1 peer",
                "     here: forest.png",
                "  3  size unknown  classic, cannot be verified  1 peer",
                "     from 198.18.0.4: forest",
            ],
        )

    def test_hostile_candidates(self) -> None:
        """Names of candidates are names of peers."""
        text = candidate_lines((a_choice(1, name="a\x1b[2J\nb"),))
        self.assertEqual((text.count("\n"), "\x1b" in text), (1, False))

    def test_verified(self) -> None:
        """Each file with its state, its id, and what there is to say."""
        changed = a_result(state="changed", detail="it was b3:2 before")
        sheet = verify_sheet([a_result("bee.mp4"), changed], drawn=True)
        self.assertEqual(
            plain_lines(sheet),
            "bee.mp4\tunchanged\t1.0 kB\tb3:100000000000\t\n"
            "forest.png\tchanged\t1.0 kB\tb3:100000000000\tit was b3:2 before",
        )

    def test_native_peers(self) -> None:
        """Of a native peer it is known how many contents it has."""
        peer = a_peer(native=True, count=250, contents=tuple(f"{n}" for n in range(100)))
        row = plain_lines(peers_sheet([peer]))
        self.assertIn("\tnative\t", row)
        self.assertTrue(row.endswith("0, 1, 2, 3 and 246 more"), row)

    def test_peers(self) -> None:
        """Address, when it was heard, what went to and fro, what it has."""
        self.assertEqual(
            plain_lines(peers_sheet([a_peer(given=1_000)])),
            "198.18.0.2\tclassic\t1.5 s ago\t1.0 kB\t0 B\tforest",
        )

    def test_several_peers_of_one_address(self) -> None:
        """Their TCP ports tell them apart."""
        peers = [a_peer(native=True, tcp_port=port) for port in (5_000, 40_001)]
        rows = plain_lines(peers_sheet([*peers, a_peer(address="198.18.0.3", tcp_port=5_000)]))
        self.assertEqual(
            [row.split("\t")[0] for row in rows.splitlines()],
            ["198.18.0.2:5000", "198.18.0.2:40001", "198.18.0.3"],
        )

    def test_history(self) -> None:
        """The fields of the log line."""
        self.assertEqual(
            plain_lines(history_sheet([an_entry()], drawn=False)),
            "2026-11-22T07:43:17.000+00:00\tdownload\tforest_1\t198.18.0.2\t1000\t0.500"
            "\tok unverified",
        )

    def test_drawn_history(self) -> None:
        """For a person the time is short, and in one line on any terminal."""
        text = drawn_lines(history_sheet([an_entry()], drawn=True), 90, color=False)
        self.assertIn("2026-11-22 07:43:17  download  forest_1", text)
        self.assertEqual(len(text.split("\n")), 2)

    def test_many_peers(self) -> None:
        """A long list of addresses is cut, and counted."""
        peers = tuple(f"198.18.0.{number}" for number in range(2, 12))
        (row,) = contents_sheet([a_content(peers=peers)], drawn=False).rows
        self.assertTrue(row[-2].endswith("198.18.0.5 and 6 more"), row)

    def test_drawn(self) -> None:
        """For people there are headings and aligned columns, within the terminal."""
        sheet = contents_sheet(
            [a_content(), a_content("a much longer name of a content" * 3)], drawn=False
        )
        for columns in (80, 40):
            text = drawn_lines(sheet, columns, color=False)
            self.assertTrue(text.startswith("NAME"))
            self.assertEqual("ID" in text, columns == 80)
            self.assertNotIn("\x1b", text)
            for line in text.split("\n"):
                self.assertLessEqual(cells_of(line), columns)

    def test_flood(self) -> None:
        """Of very many rows a terminal is shown the first ones, a pipe all."""
        sheet = contents_sheet(
            [a_content(str(number)) for number in range(MOST_DRAWN_ROWS + 7)], drawn=False
        )
        drawn = drawn_lines(sheet, 80, color=False).split("\n")
        self.assertEqual(len(drawn), MOST_DRAWN_ROWS + 2)
        self.assertIn("and 7 more", drawn[-1])
        self.assertEqual(len(plain_lines(sheet).split("\n")), MOST_DRAWN_ROWS + 7)

    def test_hostile_names(self) -> None:
        """No name of a peer's gets to move the cursor, break a line or forge a column."""
        sheet = contents_sheet([a_content("a\x1b[2J\tb\nc\u202e[red]")], drawn=False)
        for text in (plain_lines(sheet), drawn_lines(sheet, 80, color=True)):
            self.assertNotIn("\x1b[2J", text)
            self.assertNotIn("\u202e", text)
            self.assertIn("[red]", text)
        self.assertEqual(plain_lines(sheet).count("\t"), 4)
