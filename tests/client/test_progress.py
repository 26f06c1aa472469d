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
    contents_sheet,
    drawn_lines,
    history_sheet,
    peers_sheet,
    plain_lines,
)
from peershare.status import DownloadState
from tests.control.fake_node import a_content, a_download, a_peer, an_entry


def moving(**fields: Any) -> Progress:
    """A download in the middle, but for these fields."""
    status = a_download(
        name=fields.pop("name", "forest.png"),
        state=fields.pop("state", DownloadState.DOWNLOADING),
        received=450_000,
        size=1_000_000,
        rate=3_200_000.0,
        seconds_left=12.0,
        peer="198.18.0.2",
        elapsed_seconds=5.0,
    )
    age = fields.pop("age", 0.0)
    from msgspec import structs

    return Progress(structs.replace(status, **fields), age)


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
        progress = moving(name=name, state=state, problem=problem)
        for line in progress_lines([progress], columns, 4, color):
            self.assertLess(cells_of(line), columns)
            self.assertNotIn("\n", line)


class TablesTests(SynchronousTestCase):
    def test_contents(self) -> None:
        """Name, how many chunks are to be had, size where it is known, who has it."""
        partly = a_content("bee", chunks=(1, 0, 2, 0, 1), complete=False)
        own = a_content("own.txt", shared=True, size=1_500, peers=(), chunks=(0,) * 5)
        self.assertEqual(
            plain_lines(contents_sheet([a_content(), partly, own])),
            "forest\t5/5\t?\t198.18.0.2\nbee\t3/5\t?\t198.18.0.2\nown.txt\t5/5\t1.5 kB\tyou",
        )

    def test_peers(self) -> None:
        """Address, when it was heard, what went to and fro, what it has."""
        self.assertEqual(
            plain_lines(peers_sheet([a_peer(given=1_000)])),
            "198.18.0.2\t1.5 s ago\t1.0 kB\t0 B\tforest",
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
        (row,) = contents_sheet([a_content(peers=peers)]).rows
        self.assertTrue(row[-1].endswith("198.18.0.5 and 6 more"), row)

    def test_drawn(self) -> None:
        """For people there are headings and aligned columns, within the terminal."""
        sheet = contents_sheet([a_content(), a_content("a much longer name of a content" * 3)])
        for columns in (80, 40):
            text = drawn_lines(sheet, columns, color=False)
            self.assertTrue(text.startswith("NAME"))
            self.assertNotIn("\x1b", text)
            for line in text.split("\n"):
                self.assertLessEqual(cells_of(line), columns)

    def test_flood(self) -> None:
        """Of very many rows a terminal is shown the first ones, a pipe all."""
        sheet = contents_sheet([a_content(str(number)) for number in range(MOST_DRAWN_ROWS + 7)])
        drawn = drawn_lines(sheet, 80, color=False).split("\n")
        self.assertEqual(len(drawn), MOST_DRAWN_ROWS + 2)
        self.assertIn("and 7 more", drawn[-1])
        self.assertEqual(len(plain_lines(sheet).split("\n")), MOST_DRAWN_ROWS + 7)

    def test_hostile_names(self) -> None:
        """No name of a peer's gets to move the cursor, break a line or forge a column."""
        sheet = contents_sheet([a_content("a\x1b[2J\tb\nc\u202e[red]")])
        for text in (plain_lines(sheet), drawn_lines(sheet, 80, color=True)):
            self.assertNotIn("\x1b[2J", text)
            self.assertNotIn("\u202e", text)
            self.assertIn("[red]", text)
        self.assertEqual(plain_lines(sheet).count("\t"), 3)
