"""The small pure parts of the client: words, patience, requests, statuses, the event decoder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.client.outcome import ClientError, ExitStatus, worst
from peershare.client.paths import absolute, completions
from peershare.client.patience import Limits, Patience, Verdict
from peershare.client.requests import Completion, Request, complete, parse_line
from peershare.client.sse import MAX_LINE_BYTES, EventStreamDecoder, ServerEvent
from peershare.client.wording import (
    about,
    clock_text,
    done_text,
    json_text,
    kept_text,
    percent_text,
    progress_text,
    rate_text,
    short_id,
    size_text,
    span_text,
)
from peershare.content.manifest import id_query
from peershare.control.paths import path_of, text_of
from peershare.status import ChunkState, ChunkStatus, DownloadState
from tests.control.fake_node import NOTHING_YET, a_download

AN_ID = "b3:" + "0123456789abcdef" * 4


def held(*sources: str) -> tuple[ChunkStatus, ...]:
    """Chunks that are here, from these addresses."""
    return tuple(
        ChunkStatus(number=number, state=ChunkState.HELD, received=5, source=source)
        for number, source in enumerate(sources, 1)
    )


class WordingTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        """Sizes have two or three digits and a decimal unit."""
        for size, text in (
            *((0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (9_949, "9.9 kB"), (9_960, "10 kB")),
            *((999_499, "999 kB"), (999_500, "1.0 MB"), (34_000_000_000, "34 GB")),
            (5 * 10**18, "5000 PB"),
        ):
            self.assertEqual(size_text(size), text)
        self.assertEqual(rate_text(1_500), "1.5 kB/s")

    def test_times(self) -> None:
        """Times to go look like a clock, times that have passed have a unit."""
        for seconds, text in ((0, "0:00"), (7.4, "0:07"), (754, "12:34"), (3_723, "1:02:03")):
            self.assertEqual(clock_text(seconds), text)
        for seconds, text in (
            *((0.042, "0.042 s"), (9.9, "9.9 s"), (65, "65 s"), (300, "5 min"), (7_200, "2 h")),
        ):
            self.assertEqual(span_text(seconds), text)

    def test_done(self) -> None:
        """What is done says how much, how long, and whose chunks it is made of."""
        sources = ("198.18.0.2", "198.18.0.3", "198.18.0.3", "198.18.0.2", "198.18.0.3")
        status = a_download(size=1_300_000, given={"198.18.0.9": 7}, chunks=held(*sources))
        self.assertEqual(
            done_text(status, 2.5),
            "done, 1.3 MB in 2.5 s from 198.18.0.2 (2 chunks) and 198.18.0.3 (3 chunks)",
        )
        one = a_download(size=10, given={"198.18.0.2": 10}, chunks=held("198.18.0.2"))
        self.assertEqual(done_text(one, None), "done, 10 B from 198.18.0.2")
        self.assertEqual(
            done_text(a_download(size=10), 1.0),
            "it was complete already (10 B); nothing was transferred",
        )

    def test_done_verified(self) -> None:
        """Where bytes come from everybody at once, it says how much of them each gave."""
        given = {"198.18.0.2": 250, "198.18.0.3": 750}
        status = a_download(content=AN_ID, size=1_000, given=given)
        self.assertEqual(
            done_text(status, 2.5),
            "done, 1.0 kB in 2.5 s from 198.18.0.3 (75%) and 198.18.0.2 (25%)",
        )
        one = a_download(content=AN_ID, size=1_000, given={"198.18.0.2": 1_000})
        self.assertEqual(done_text(one, None), "done, 1.0 kB from 198.18.0.2")
        many = {f"198.18.0.{number}": 100 - number for number in range(2, 42)}
        text = done_text(a_download(content=AN_ID, size=1_000, given=many), None)
        self.assertTrue(text.endswith("198.18.0.6 (3%) and 35 others"), text)

    def test_short_ids(self) -> None:
        """Enough of an id to ask for it by."""
        self.assertEqual(short_id(AN_ID), AN_ID[:15])
        self.assertIsNotNone(id_query(short_id(AN_ID)))
        self.assertEqual(short_id(""), "")

    def test_how_far(self) -> None:
        """Percent and bytes; a hundred only when it is done."""
        half = a_download(received=450, size=1_000)
        self.assertEqual(progress_text(half), "45% (450 B of 1.0 kB)")
        self.assertEqual(percent_text(a_download(received=1_000, size=1_000)), "99%")
        done = a_download(received=1_000, size=1_000, state=DownloadState.DONE)
        self.assertEqual(percent_text(done), "100%")
        self.assertEqual((percent_text(a_download()), progress_text(a_download())), ("-", "0 B"))

    def test_kept(self) -> None:
        """What is not done says what stays, and where."""
        status = a_download(received=5, chunks=(*held("198.18.0.2"), *NOTHING_YET[1:]))
        self.assertIn("1 of 5 chunks stays in /share/.peershare", kept_text(status))
        self.assertIn("nothing", kept_text(a_download()))
        status = a_download(content=AN_ID, received=2_000, size=8_000)
        self.assertIn("part file with 2.0 kB of 8.0 kB stays in /share", kept_text(status))

    def test_hostile_names(self) -> None:
        """Names and addresses from peers are made safe wherever they are shown."""
        status = a_download(
            size=1, folder="/sh\x1bare", received=1, given={"x": 1}, chunks=held("\x1b[2J", "x")
        )
        for text in (done_text(status, 1.0), kept_text(status), about("\x1b[2J", "is gone")):
            self.assertNotIn("\x1b", text)

    def test_json(self) -> None:
        """JSON is ASCII, so that no name acts on a terminal, and decodes to the same."""
        text = json_text(a_download(name="\u202egnp.\x9b2J"))
        self.assertTrue(text.isascii() and text.isprintable())
        self.assertEqual(json.loads(text)["name"], "\u202egnp.\x9b2J")

    def test_about(self) -> None:
        """A sentence gets its name once."""
        self.assertEqual(about("forest", "not found"), "forest: not found")
        self.assertEqual(about("../x", "'../x' cannot be"), "'../x' cannot be")


class WorstTests(SynchronousTestCase):
    def test_ranking(self) -> None:
        """An interruption beats a failure, that a wrong name, that one nobody has."""
        order = [ExitStatus.INTERRUPTED, ExitStatus.FAILED, ExitStatus.USAGE]
        order += [ExitStatus.AMBIGUOUS, ExitStatus.NOT_FOUND]
        for position, status in enumerate(order):
            self.assertIs(worst([ExitStatus.DONE, *order[position:]]), status)
        self.assertIs(worst([]), ExitStatus.DONE)

    def test_numbers(self) -> None:
        """The numbers are what the manual says."""
        self.assertEqual([int(status) for status in ExitStatus], [0, 1, 2, 3, 4, 130, 143])


class PatienceTests(SynchronousTestCase):
    def patience(self, **limits: float | None) -> Patience:
        return Patience(Limits(limits.get("wait", 65.0), limits.get("give_up", 300.0)), 1_000.0)

    def test_not_heard(self) -> None:
        """A name that nobody tells is waited for as long as --wait says, from the wish on."""
        patience = self.patience()
        for idle in (500.0, 0.0):  # an old wish of somebody else's; a clock that does not count
            patience.look(a_download(idle_seconds=idle), 1_010.0)
        self.assertEqual(patience.seconds_left(1_010.0), 55.0)
        self.assertIsNone(patience.verdict(1_064.9))
        self.assertIs(patience.verdict(1_065.0), Verdict.NOT_FOUND)

    def test_heard(self) -> None:
        """Once a peer is known, only standing still counts."""
        for state in ("downloading", "waiting", "blocked"):
            patience = self.patience()
            patience.look(a_download(state=DownloadState(state)), 1_060.0)
            self.assertEqual(patience.seconds_left(1_100.0), 260.0, state)
            self.assertIs(patience.verdict(1_360.0), Verdict.GIVEN_UP, state)

    def test_lost_again(self) -> None:
        """A name that is forgotten in the middle is given up, not unknown."""
        patience = self.patience()
        patience.look(a_download(state=DownloadState.DOWNLOADING), 1_010.0)
        patience.look(a_download(idle_seconds=90.0), 1_100.0)
        self.assertIsNone(patience.verdict(1_200.0))
        self.assertIs(patience.verdict(1_310.0), Verdict.GIVEN_UP)

    def test_every_byte_counts(self) -> None:
        """Progress starts the patience anew."""
        patience = self.patience(give_up=10.0)
        for now in range(1_005, 1_100, 5):
            patience.look(a_download(state=DownloadState.DOWNLOADING, idle_seconds=1.0), now)
            self.assertIsNone(patience.verdict(now + 8.0))

    def test_finishing(self) -> None:
        """Putting a large file in its place may take its time."""
        patience = self.patience(give_up=1.0)
        patience.look(a_download(state=DownloadState.FINISHING), 1_001.0)
        self.assertIsNone(patience.verdict(9_999.0))

    def test_paused(self) -> None:
        """What somebody holds is not given up, nor at once when it goes on."""
        patience = self.patience(give_up=10.0)
        patience.look(a_download(state=DownloadState.PAUSED, idle_seconds=900.0), 1_001.0)
        self.assertIsNone(patience.verdict(9_999.0))
        patience.look(a_download(state=DownloadState.PAUSED, idle_seconds=9_900.0), 9_999.0)
        going = a_download(state=DownloadState.DOWNLOADING, idle_seconds=9_901.0)
        patience.look(going, 10_000.0)
        self.assertIsNone(patience.verdict(10_005.0))
        self.assertIs(patience.verdict(10_010.0), Verdict.GIVEN_UP)

    def test_for_ever(self) -> None:
        """Without limits it never ends; limits that are set later count from then."""
        limits = Limits(None, None)
        patience = Patience(limits, 1_000.0)
        self.assertIsNone(patience.verdict(9_999.0))
        limits.wait, limits.since = 65.0, 9_999.0
        self.assertEqual(patience.seconds_left(9_999.0), 65.0)

    def test_no_wait(self) -> None:
        """--wait 0 is over at once."""
        self.assertIs(self.patience(wait=0.0).verdict(1_000.0), Verdict.NOT_FOUND)

    def test_seconds_spent(self) -> None:
        """What is told as the time of a download leaves the waiting out."""
        patience = self.patience()
        self.assertIsNone(patience.seconds_spent(1_050.0))
        patience.look(a_download(state=DownloadState.DOWNLOADING), 1_060.0)
        self.assertEqual(patience.seconds_spent(1_063.0), 3.0)


class ParseLineTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Commands are commands, everything else is a name."""
        for line, request in (
            ("forest", Request("get", "forest")),
            (" my forest.png ", Request("get", " my forest.png ")),
            ("get  my forest.png", Request("get", " my forest.png")),
            ("stop  forest", Request("stop", " forest")),
            (" list ", Request("list")),
            ("get   ", Request("get")),
            ("list", Request("list")),
            ("list of birds", Request("get", "list of birds")),
            ("list *.png", Request("list", "*.png")),
            ("verify", Request("verify")),
            ("verify my forest.png", Request("verify", "my forest.png")),
            ("listing", Request("get", "listing")),
            ("get list", Request("get", "list")),
            ("get", Request("get")),
            ("share /tmp/a b.txt", Request("share", "/tmp/a b.txt")),
            ("share '/tmp/a b.txt' ", Request("share", "/tmp/a b.txt")),
            ("stop forest", Request("stop", "forest")),
            ("history", Request("history")),
            ("history 5", Request("history", "5")),
            ("history of art", Request("get", "history of art")),
            ("exit", Request("quit")),
            ("help", Request("help")),
        ):
            self.assertEqual(parse_line(line), request, line)
        self.assertIsNone(parse_line("   "))


class CompleteTests(SynchronousTestCase):
    def test_one(self) -> None:
        """What fits alone is completed, in its own spelling."""
        self.assertEqual(complete("FOR", ["Forest", "bee"]), Completion("Forest"))
        self.assertEqual(complete("get be", ["forest", "bee"]), Completion("get bee"))

    def test_common(self) -> None:
        """Of several, as much as they share."""
        self.assertEqual(complete("f", ["forest", "fort", "bee"]), Completion("for"))

    def test_choices(self) -> None:
        """Where nothing more is shared, the choices are told."""
        found = complete("for", ["forest", "fort", "fort"])
        self.assertEqual(found, Completion("for", ("forest", "fort")))

    def test_none(self) -> None:
        """Where nothing fits, nothing happens."""
        self.assertEqual(complete("x", ["forest"]), Completion("x"))

    @given(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=8))
    def test_any(self, line: str, words: list[str]) -> None:
        """Whatever peers call things, it ends with a text."""
        self.assertIsInstance(complete(line, words).line, str)


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


class PathsTests(SynchronousTestCase):
    def test_absolute(self) -> None:
        """The home folder and the current one are understood, links are kept."""
        self.assertEqual(absolute("x"), Path.cwd() / "x")
        self.assertEqual(absolute("~/x"), Path.home() / "x")

    def test_uris(self) -> None:
        """What a file manager hands over is the path that it means."""
        self.assertEqual(absolute("file:///a%20b/caf%E9"), Path("/a b/caf\udce9"))
        self.assertEqual(absolute("FILE://localhost/x"), Path("/x"))
        self.assertRaises(ClientError, absolute, "file://elsewhere/x")

    def test_the_folder_is_gone(self) -> None:
        """Without a current folder no relative path means anything: one sentence says so."""
        self.patch(os.path, "abspath", raising(FileNotFoundError()))
        error = self.assertRaises(ClientError, absolute, "x")
        self.assertEqual(str(error), "x: the folder you are in is gone")

    def test_no_utf8(self) -> None:
        """A path that JSON cannot hold goes as a URI, and arrives as it was."""
        for path in (Path("/caf\udce9/x"), Path("/für/x"), Path("/a%20b")):
            text = text_of(path)
            text.encode()
            self.assertEqual(path_of(text), path)

    def test_completions(self) -> None:
        """Files and folders that begin so, as they were begun; hidden ones when asked for."""
        folder = Path(self.mktemp())
        (folder / "sub").mkdir(parents=True)
        for name in ("forest.png", ".hidden"):
            (folder / name).touch()
        self.assertEqual(completions(f"{folder}/"), [f"{folder}/forest.png", f"{folder}/sub/"])
        self.assertEqual(completions(f"{folder}/.h"), [f"{folder}/.hidden"])
        self.assertEqual(completions(f"{folder}/nowhere/x"), [])


class EventStreamDecoderTests(SynchronousTestCase):
    STREAM = (
        b": hello\n\nevent: notice\ndata: one\n\ndata: a\r\ndata:b\r\n\r\nid: 4\n\nevent: x\n\n"
    )
    EVENTS = (ServerEvent("notice", b"one"), ServerEvent("message", b"a\nb"))

    def test_whole(self) -> None:
        """Events are ended by an empty line; comments and fields that mean nothing are none."""
        self.assertEqual(tuple(EventStreamDecoder().feed(self.STREAM)), self.EVENTS)

    def test_byte_by_byte(self) -> None:
        """It does not matter where the bytes are cut."""
        decoder = EventStreamDecoder()
        found = [event for byte in self.STREAM for event in decoder.feed(bytes([byte]))]
        self.assertEqual(tuple(found), self.EVENTS)

    def test_trailing(self) -> None:
        """What is not ended yet is not told."""
        decoder = EventStreamDecoder()
        self.assertEqual(decoder.feed(b"data: begun"), [])
        self.assertEqual(decoder.feed(b"\n\n"), [ServerEvent("message", b"begun")])

    def test_endless_line(self) -> None:
        """A line without an end is an error, not memory."""
        decoder = EventStreamDecoder()
        with self.assertRaises(ValueError):
            for _ in range(20):
                decoder.feed(b"x" * (MAX_LINE_BYTES // 10))

    @given(st.binary(max_size=300))
    def test_any(self, data: bytes) -> None:
        """No bytes harm it."""
        EventStreamDecoder().feed(data)
