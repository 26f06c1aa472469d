"""The two logs of transfers: written line by line, rotated, read back."""

import errno
import os
import stat
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from peershare import ledger
from peershare.ledger import Ledger
from peershare.status import HistoryEntry
from tests.fakes import HeldWorkers

START = 1_795_333_397.125


class LedgerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.now = START
        self.ledger = Ledger(self.folder, lambda: self.now)
        self.downloads = self.folder / "download_log.txt"
        self.uploads = self.folder / "upload_log.txt"
        self.warnings: list[str] = []
        globalLogPublisher.addObserver(self._observe)
        self.addCleanup(globalLogPublisher.removeObserver, self._observe)

    def _observe(self, event: dict[str, object]) -> None:
        if event.get("log_level") == LogLevel.warn:
            self.warnings.append(str(event["log_format"]))

    def download(self, chunk: str = "forest_1", result: str = "ok unverified") -> None:
        self.now += 1
        self.ledger.record_download("198.18.0.2", chunk, 1_024, 0.25, result)

    def chunks(self, limit: int = 100) -> list[str]:
        return [entry.chunk for entry in self.ledger.history(limit)]


class RecordTests(LedgerTestCase):
    def test_line(self) -> None:
        """A line has the six fields, separated by tabs, the time with its offset first."""
        self.ledger.record_download("198.18.0.2", "forest_1", 1_024, 0.25, "ok unverified")
        line = self.downloads.read_text()
        self.assertTrue(line.endswith("\n"))
        time, *rest = line.removesuffix("\n").split("\t")
        self.assertEqual(rest, ["198.18.0.2", "forest_1", "1024", "0.250", "ok unverified"])
        self.assertRegex(time, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.125[+-]\d\d:\d\d$")
        self.assertEqual(datetime.fromisoformat(time).timestamp(), START)

    def test_two_files(self) -> None:
        """Downloads and uploads have a file each."""
        self.ledger.record_upload("198.18.0.3", "bee_2", 5, 1.0, "failed reset: it hung up")
        self.assertFalse(self.downloads.exists())
        self.assertIn("\tbee_2\t5\t1.000\tfailed reset: it hung up\n", self.uploads.read_text())

    def test_at_once(self) -> None:
        """A line can be read as soon as the call returns, the next one is added after it."""
        for count in (1, 2, 3):
            self.download()
            self.assertEqual(len(self.downloads.read_text().splitlines()), count)

    def test_limit(self) -> None:
        """A file may grow to 8 MiB before it is rotated, and three older ones are kept."""
        self.assertEqual(ledger.MAX_LOG_BYTES, 8 * 1024 * 1024)
        self.assertEqual(ledger.ROTATED_FILES, 3)

    def test_private(self) -> None:
        """The files are the user's alone, whatever the umask says."""
        self.addCleanup(os.umask, os.umask(0))
        self.download()
        self.assertEqual(stat.S_IMODE(self.downloads.stat().st_mode), 0o600)

    def test_hostile_names(self) -> None:
        """One event is one line of six fields, whatever the name and the reason contain."""
        self.download("x\n2026\t\x1b[2J\u202e\u2028_1", "failed short: \r\n\tsaid \ud800")
        line = self.downloads.read_bytes().decode()
        self.assertEqual(len(line.splitlines()), 1)
        self.assertEqual(len(line.split("\t")), 6)
        self.assertNotIn("\x1b", line)

    def test_folder_comes_back(self) -> None:
        """A log that was taken away is begun anew."""
        self.download()
        self.downloads.unlink()
        self.download("forest_2")
        self.assertEqual(self.chunks(), ["forest_2"])


class SlowDiskTests(LedgerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.workers = HeldWorkers()
        self.ledger = Ledger(self.folder, lambda: self.now, self.workers)

    def test_a_worker_writes(self) -> None:
        """Lines wait in their order, and are written together."""
        for number in range(5):
            self.download(f"forest_{number}")
        flushed = self.ledger.flushed()
        self.assertEqual((self.workers.waiting, self.downloads.exists()), (["_append_all"], False))
        self.workers.do_one()
        self.assertNoResult(flushed)
        self.workers.do_one()
        self.successResultOf(flushed)
        self.assertEqual(self.workers.waiting, [])
        self.assertEqual(self.chunks(), [f"forest_{n}" for n in (4, 3, 2, 1, 0)])
        self.successResultOf(self.ledger.flushed())

    def test_too_slow(self) -> None:
        """What waits is bounded; what is lost is counted and said."""
        self.patch(ledger, "_MOST_WAITING", 3)
        for number in range(6):
            self.download(f"forest_{number}")
        self.assertEqual((self.ledger.lost_lines, len(self.warnings)), (2, 1))
        self.workers.do_all()
        self.assertEqual(self.chunks(), [f"forest_{n}" for n in (3, 2, 1, 0)])


class FailingDiskTests(LedgerTestCase):
    def test_no_folder(self) -> None:
        """A line that cannot be written is counted, and said once until it works again."""
        self.folder.rmdir()
        for _ in range(5):
            self.download()
        self.assertEqual(self.ledger.lost_lines, 5)
        self.assertEqual(len(self.warnings), 1)
        self.folder.mkdir()
        self.download()
        self.download()
        self.assertEqual(self.ledger.lost_lines, 5)
        self.assertEqual(len(self.warnings), 2)
        self.assertEqual(len(self.chunks()), 2)

    def test_one_of_two(self) -> None:
        """If one of the two files fails, that is still said once only."""
        self.uploads.mkdir()
        for _ in range(5):
            self.download()
            self.ledger.record_upload("198.18.0.3", "bee_2", 5, 1.0, "ok")
        self.assertEqual(self.ledger.lost_lines, 5)
        self.assertEqual(len(self.warnings), 1)

    def test_full_disk(self) -> None:
        """A line that went out in part is counted as lost, and does not spoil the next one."""
        self.download()
        write = os.write
        self.patch(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
        self.download("forest_2")
        self.patch(os, "write", write)
        self.download("forest_3")
        self.assertEqual(self.ledger.lost_lines, 1)
        self.assertEqual(self.chunks(), ["forest_3", "forest_1"])

    def test_error_of_the_disk(self) -> None:
        """An error in mid-write is no exception for the caller."""

        def fail(descriptor: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch(os, "write", fail)
        self.download()
        self.assertEqual(self.ledger.lost_lines, 1)

    def test_links_and_pipes(self) -> None:
        """A log that is a link, a pipe or a folder is neither written nor read nor waited for."""
        target = self.folder / "precious"
        target.write_text("do not touch\n")
        self.downloads.symlink_to(target)
        os.mkfifo(self.uploads)
        self.download()
        self.ledger.record_upload("198.18.0.3", "bee_2", 5, 1.0, "ok")
        self.assertEqual(self.ledger.lost_lines, 2)
        self.assertEqual(target.read_text(), "do not touch\n")
        self.assertEqual(self.ledger.history(10), ())

    def test_no_descriptor_is_left(self) -> None:
        """Neither success nor failure leaves a file open."""
        before = len(list(Path("/proc/self/fd").iterdir()))
        self.uploads.mkdir()
        for _ in range(20):
            self.download()
            self.ledger.record_upload("198.18.0.3", "bee_2", 5, 1.0, "ok")
            self.ledger.history(1)
        self.assertEqual(len(list(Path("/proc/self/fd").iterdir())), before)

    test_no_descriptor_is_left.skip = (  # type: ignore[attr-defined]
        None if Path("/proc/self/fd").exists() else "counts descriptors in /proc"
    )


class RotationTests(LedgerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(ledger, "MAX_LOG_BYTES", 1_000)

    def test_rotated(self) -> None:
        """A file that is full moves on, the oldest of four goes, and no line is torn."""
        for number in range(200):
            self.download(f"x{number}_1")
        names = sorted(path.name for path in self.folder.iterdir())
        log = "download_log.txt"
        self.assertEqual(names, [log, f"{log}.1", f"{log}.2", f"{log}.3"])
        for path in self.folder.iterdir():
            self.assertLessEqual(path.stat().st_size, 1_000)
            self.assertRegex(path.read_text(), r"\A[^\n][^\0]*[^\n]\n\Z")
        kept = self.chunks()
        self.assertGreater(len(kept), 40)
        self.assertEqual(kept, [f"x{n}_1" for n in range(199, 199 - len(kept), -1)])

    def test_each_for_itself(self) -> None:
        """The upload log stays when the download log is rotated."""
        self.ledger.record_upload("198.18.0.3", "bee_2", 5, 1.0, "ok")
        for _ in range(50):
            self.download()
        self.assertFalse((self.folder / "upload_log.txt.1").exists())

    def test_exactly_full(self) -> None:
        """The last byte of a file is used, one more is too much."""
        self.download("a_1")
        length = self.downloads.stat().st_size
        self.patch(ledger, "MAX_LOG_BYTES", 2 * length)
        self.download("b_1")
        self.assertEqual(self.downloads.stat().st_size, 2 * length)
        self.download("c_1")
        self.assertEqual(self.downloads.stat().st_size, length)

    def test_line_longer_than_a_file(self) -> None:
        """A line is written even if it is longer than a whole file may be."""
        self.patch(ledger, "MAX_LOG_BYTES", 10)
        self.download("a_1")
        self.download("b_1")
        self.assertEqual(self.chunks(), ["b_1", "a_1"])

    def test_one_address_washes_out_nobody(self) -> None:
        """However often it asks: what others fetched stays, and so does its own end."""
        self.patch(ledger, "MAX_LOG_BYTES", 20_000)
        self.ledger.record_upload("198.18.0.77", "secret plan_1", 10_000, 0.1, "ok")
        for number in range(5_000):
            self.ledger.record_upload("198.18.0.66", f"tiny_{number}", 1, 0.001, "ok")
            if number == 2_500:
                self.ledger.record_upload("198.18.0.78", "in between_1", 1, 0.001, "ok")
        found = [entry.chunk for entry in self.ledger.history(1_000_000)]
        self.assertIn("secret plan_1", found)
        self.assertIn("in between_1", found)
        self.assertEqual(found[0], "tiny_4999")
        self.assertEqual(len(found), len(set(found)))
        files = list(self.folder.glob("upload_log.txt*"))
        self.assertEqual(len(files), 1 + ledger.ROTATED_FILES)
        self.assertLessEqual(max(file.stat().st_size for file in files), 20_000)

    def test_parts_are_equal(self) -> None:
        """Of the oldest file each address has as much, the last lines of each, in their order."""
        self.patch(ledger, "MAX_LOG_BYTES", 20_000)
        for number in range(3_000):
            for address in ("198.18.0.7", "198.18.0.8"):
                self.ledger.record_upload(address, f"f_{number}", 1, 0.001, "ok")
        lines = (self.folder / "upload_log.txt.3").read_text().splitlines()
        self.assertEqual(len(lines) % 2, 0)
        count = sum("198.18.0.7" in line for line in lines)
        self.assertEqual(count, len(lines) - count)
        self.assertEqual(lines, sorted(lines, key=lambda line: int(line.split("\t")[2][2:])))

    def test_rotation_fails(self) -> None:
        """If a full file cannot be moved, the line is lost and the file does not grow."""
        (self.folder / "download_log.txt.1").mkdir()
        (self.folder / "download_log.txt.2").mkdir()
        (self.folder / "download_log.txt.2" / "x").touch()
        for number in range(50):
            self.download(f"x{number}_1")
        self.assertGreater(self.ledger.lost_lines, 0)
        self.assertLessEqual(self.downloads.stat().st_size, 1_000)

    def test_size_as_documented(self) -> None:
        """Unpatched, a file holds 8 MiB."""
        self.patch(ledger, "MAX_LOG_BYTES", 8 * 1024 * 1024)
        self.downloads.write_bytes(b"x" * (8 * 1024 * 1024 - 1) + b"\n")
        self.download()
        self.assertEqual((self.folder / "download_log.txt.1").stat().st_size, 8 * 1024 * 1024)
        self.assertEqual(self.chunks(), ["forest_1"])


class HistoryTests(LedgerTestCase):
    def test_newest_first(self) -> None:
        """Both logs in one list, the newest event first, as many as wanted."""
        self.download("a_1")
        self.now += 1
        self.ledger.record_upload("198.18.0.3", "b_1", 7, 0.5, "failed reset: gone")
        self.download("c_1")
        self.assertEqual(self.chunks(), ["c_1", "b_1", "a_1"])
        self.assertEqual(self.chunks(2), ["c_1", "b_1"])
        self.assertEqual(self.chunks(0), [])
        entry = self.ledger.history(2)[1]
        expected = HistoryEntry(
            direction="upload",
            time=entry.time,
            address="198.18.0.3",
            chunk="b_1",
            bytes=7,
            seconds=0.5,
            result="failed reset: gone",
        )
        self.assertEqual(entry, expected)

    def test_same_moment(self) -> None:
        """Of events of one millisecond, the one written later comes first."""
        for number in range(5):
            self.ledger.record_download("a", f"x{number}_1", 1, 0.0, "ok")
        self.assertEqual(self.chunks(), ["x4_1", "x3_1", "x2_1", "x1_1", "x0_1"])

    def test_nothing_yet(self) -> None:
        """Without files the history is empty."""
        self.assertEqual(self.ledger.history(10), ())

    def test_damaged_lines(self) -> None:
        """Whatever stands in a log that is no line of ours is skipped."""
        self.download("a_1")
        with self.downloads.open("ab") as file:
            file.write(b"\n\n\xff\xfe\t\t\t\t\t\nhello\na\tb\tc\td\te\tf\n" + bytes(200) + b"\n")
            file.write(b"2026-11-22T07:43:17\tno offset\tx_1\t1\t1.0\tok\n")
            file.write(b"2026-11-22T07:43:17+01:00\ta\tx_1\tmany\t1.0\tok\n")
            file.write(b"2026-11-22T07:43:17+01:00\ta\tx_1\t-1\t1.0\tok\n")
            file.write(b"2026-11-22T07:43:17+01:00\ta\tx_1\t1\tnan\tok\n")
            file.write(b"2026-11-22T07:43:17+01:00\ta\tx_1\t" + b"9" * 9_000 + b"\t1\tok\n")
            file.write(b"x" * 200_000 + b"\n" + b"torn in the mid")
        self.download("b_1")
        self.assertEqual(self.chunks(), ["b_1", "a_1"])

    def test_torn_end(self) -> None:
        """A log that lost its end to a power cut goes on with a line of its own."""
        self.download("a_1")
        self.download("b_1")
        self.downloads.write_bytes(self.downloads.read_bytes()[:-5])
        self.download("c_1")
        self.assertEqual(self.chunks()[0], "c_1")
        self.assertIn("a_1", self.chunks())

    def test_long_log(self) -> None:
        """Lines are read whole across the blocks in which the file is read."""
        for number in range(2_500):
            self.download(f"{'x' * (number % 90)}{number}_1")
        found = self.chunks(5_000)
        self.assertEqual(found, [f"{'x' * (n % 90)}{n}_1" for n in range(2_499, -1, -1)])

    def test_clock_set_back(self) -> None:
        """Events are ordered by their time, an hour that comes twice included."""
        self.download("a_1")
        self.now -= 3_600
        self.download("b_1")
        self.assertEqual(self.chunks(), ["a_1", "b_1"])

    @given(
        st.text(st.characters(codec=None), max_size=50),
        st.integers(0, 2**63),
        st.floats(0, 1e6),
        st.text(st.characters(codec=None), max_size=50),
    )
    def test_any_event(self, chunk: str, size: int, seconds: float, result: str) -> None:
        """Any event is one line that is read back as it was written."""
        self.now += 1
        self.ledger.record_upload("198.18.0.3", chunk, size, seconds, result)
        entry = self.ledger.history(1)[0]
        self.assertEqual((entry.bytes, entry.address), (size, "198.18.0.3"))
        self.assertLess(abs(entry.seconds - seconds), 0.001)
        moment = datetime.fromisoformat(entry.time)
        self.assertLess(abs(moment.timestamp() - self.now), timedelta(seconds=0.01).total_seconds())


class ChoosingTests(LedgerTestCase):
    """Which events are asked for, and how all of them are counted."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(1, 6):
            self.download(f"forest_{number}")
            self.ledger.record_upload("198.18.0.3", f"bee_{number}", 5, 1.0, "ok")

    def test_of_one_direction(self) -> None:
        """Those of one log, as many as are wanted."""
        found = self.ledger.history(3, direction="upload")
        self.assertEqual([entry.chunk for entry in found], ["bee_5", "bee_4", "bee_3"])
        self.assertEqual(
            {e.direction for e in self.ledger.history(9, direction="download")}, {"download"}
        )

    def test_since_a_time(self) -> None:
        """What is as old or younger, of both logs."""
        found = self.ledger.history(100, START + 4)
        self.assertEqual(
            {entry.chunk for entry in found}, {"forest_4", "bee_4", "forest_5", "bee_5"}
        )
        self.assertEqual(self.ledger.history(100, START + 6), ())
        self.assertEqual(len(self.ledger.history(3, START)), 3)
        self.assertEqual(len(self.ledger.history(100, START + 5, "upload")), 1)

    def test_counted_by_result(self) -> None:
        """All that went well together, what failed by its reason."""
        self.download(result="failed reset: cut the connection after 5 bytes")
        self.download(result="failed stalled: sent nothing")
        self.download(result="ok verified: 7 blocks")
        self.download(result="odd")
        self.assertEqual(self.ledger.downloads, {"ok": 6, "reset": 1, "stalled": 1, "odd": 1})
        self.assertEqual(self.ledger.uploads, {"ok": 5})

    def test_reasons_without_end(self) -> None:
        """Only so many are counted by name."""
        for number in range(100):
            self.download(result=f"failed reason{number}: x")
        self.assertLessEqual(len(self.ledger.downloads), 65)
        self.assertEqual(sum(self.ledger.downloads.values()), 105)
