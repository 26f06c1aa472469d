"""The ledger: `download_log.txt` and `upload_log.txt`, and the history they are lines of.

One line an event, tab-separated: time (ISO 8601, local, with offset), peer address, chunk name,
bytes, seconds, result (requirements 1.1, 2.3.0-G, 2.4.0-D).  A file that would outgrow 8 MiB
becomes `….txt.1`, that one `….txt.2`.  What was `….txt.2` and `….txt.3` becomes `….txt.3`, of which
each address has an equal part: it loses its own oldest lines, so that nobody can wash out what is
written of others.  Lines are written by a worker, in their order; each is one write to a file
opened for appending, and a torn one (a full disk, a power loss) never spoils the next one.

Not for: the service's own log, which is twisted.logger's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice, takewhile
from math import isfinite
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from peershare.content.names import display
from peershare.library.entries import Workers, at_once
from peershare.status import HistoryEntry

DOWNLOAD_LOG_NAME = "download_log.txt"
UPLOAD_LOG_NAME = "upload_log.txt"
MAX_LOG_BYTES = 8 * 1024 * 1024
ROTATED_FILES = 3

_BLOCK_BYTES = 65_536
# A chunk name has 255 characters at most, each of them up to ten when escaped.
_NAME_LIMIT = 600
_RESULT_LIMIT = 500
# So many lines wait for a slow disk; those that come then are lost.
_MOST_WAITING = 20_000
# So many reasons are counted, far more than there are.
_MOST_CODES = 64


class Ledger:
    """Writes both logs and reads them back.  A failing disk costs lines, never an exception."""

    _log = Logger()

    def __init__(
        self, folder: Path, wall_clock: Callable[[], float], workers: Workers = at_once
    ) -> None:
        """`folder` is the state folder; `wall_clock` gives Unix time, for the timestamps.

        `workers` write the lines; without any they are written at once.
        """
        self._downloads = folder / DOWNLOAD_LOG_NAME
        self._uploads = folder / UPLOAD_LOG_NAME
        self._wall_clock = wall_clock
        self._workers = workers
        self._waiting: list[tuple[Path, bytes]] = []
        self._writing = False
        self._idle: list[Deferred[None]] = []
        self._failing: set[Path] = set()
        self.lost_lines = 0
        self.downloads: Counter[str] = Counter()  # lines since the start, by result
        self.uploads: Counter[str] = Counter()

    def record_download(
        self, address: str, chunk: str, size: int, seconds: float, result: str
    ) -> None:
        """A chunk came from an address, or failed to: `size` bytes in `seconds`.

        `result` is "ok unverified", or "failed REASON: sentence".
        """
        _count(self.downloads, result)
        self._record(self._downloads, address, chunk, size, seconds, result)

    def record_upload(
        self, address: str, chunk: str, size: int, seconds: float, result: str
    ) -> None:
        """A chunk went to an address, or was cut short; as `record_download`."""
        _count(self.uploads, result)
        self._record(self._uploads, address, chunk, size, seconds, result)

    def flushed(self) -> Deferred[None]:
        """Fires when every line so far is written, or lost."""
        flushed: Deferred[None] = Deferred()
        self._idle.append(flushed)
        self._go_on()
        return flushed

    def history(
        self, limit: int, since: float | None = None, direction: str = ""
    ) -> tuple[HistoryEntry, ...]:
        """Worker: the last `limit` events of both logs, newest first; damaged lines are skipped.

        With a `direction` ("download" or "upload") those of one log; `since` (Unix time) ends
        the search in each log at the first event that is older.  A file that cannot be read
        counts as empty.
        """
        if limit <= 0:
            return ()
        logs = {"download": self._downloads, "upload": self._uploads}
        found: list[HistoryEntry] = []
        for name, path in logs.items():
            if direction in ("", name):
                entries = _entries(name, path)
                found += islice(
                    takewhile(lambda e: since is None or _at(e) >= since, entries), limit
                )
        found.sort(key=_at, reverse=True)
        return tuple(found[:limit])

    def _record(
        self, path: Path, address: str, chunk: str, size: int, seconds: float, result: str
    ) -> None:
        moment = datetime.fromtimestamp(self._wall_clock()).astimezone()
        line = "\t".join(
            (
                moment.isoformat(timespec="milliseconds"),
                display(address),
                display(chunk, _NAME_LIMIT),
                str(size),
                f"{seconds:.3f}",
                display(result, _RESULT_LIMIT),
            )
        )
        if len(self._waiting) >= _MOST_WAITING:
            self._lose(path, OSError(errno.EAGAIN, "the disk is too slow"))
        else:
            self._waiting.append((path, f"{line}\n".encode()))
            self._go_on()

    def _go_on(self) -> None:
        """Have written what waits, unless a worker is at it; say so if nothing does."""
        if self._writing:
            return
        if not self._waiting:
            idle, self._idle = self._idle, []
            for deferred in idle:
                deferred.callback(None)
            return
        self._writing = True
        lines, self._waiting = self._waiting, []
        written = self._workers(_append_all, lines)
        written.addCallback(self._written)
        written.addErrback(lambda f: self._log.failure("writing the logs failed", failure=f))

    def _written(self, results: list[tuple[Path, OSError | None]]) -> None:
        self._writing = False
        for path, error in results:
            if error is None:
                self._recover(path)
            else:
                self._lose(path, error)
        self._go_on()

    def _lose(self, path: Path, error: OSError) -> None:
        """Count a line that could not be written; tell of the first one of a row only."""
        self.lost_lines += 1
        if path not in self._failing:
            self._failing.add(path)
            self._log.warn(
                "{path}: cannot write ({error}); transfers go on, their lines are lost",
                path=path,
                error=error.strerror or error,
            )

    def _recover(self, path: Path) -> None:
        if path in self._failing:
            self._failing.remove(path)
            self._log.warn(
                "{path}: written again; {lost} lines of both logs were lost since the start",
                path=path,
                lost=self.lost_lines,
            )


def _at(entry: HistoryEntry) -> float:
    """When it was, in Unix time."""
    return datetime.fromisoformat(entry.time).timestamp()


def _count(counts: Counter[str], result: str) -> None:
    """Count a line under "ok", or under the reason why it failed."""
    kind, _, rest = result.partition(" ")
    code = kind if kind == "ok" else rest.partition(":")[0] or kind
    counts[code if code in counts or len(counts) < _MOST_CODES else "other"] += 1


def _append_all(lines: list[tuple[Path, bytes]]) -> list[tuple[Path, OSError | None]]:
    """Worker: add each line to its log; what came of it."""
    results: list[tuple[Path, OSError | None]] = []
    for path, line in lines:
        try:
            _append(path, line)
        except OSError as error:
            results.append((path, error))
        else:
            results.append((path, None))
    return results


def _append(path: Path, line: bytes) -> None:
    """Add one line to the log at `path`, rotating it first if it is full.  Raises OSError."""
    if _is_full(path, len(line)):
        _rotate(path)
    descriptor = _open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line  # what is before was torn: leave it a line of its own
        if os.write(descriptor, line) != len(line):
            raise OSError("only a part of the line could be written")
    finally:
        os.close(descriptor)


def _is_full(path: Path, more: int) -> bool:
    try:
        size = path.lstat().st_size
    except FileNotFoundError:
        return False
    return size > 0 and size + more > MAX_LOG_BYTES


def _open(path: Path, flags: int) -> int:
    """Open a log file, which is never a link, a pipe or a device.  Raises OSError."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _generation(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def _rotate(path: Path) -> None:
    """Worker: make room for a new file.  Raises OSError."""
    oldest, before = _generation(path, ROTATED_FILES), _generation(path, ROTATED_FILES - 1)
    if oldest.exists() and before.exists():
        _merge((oldest, before), oldest)
        before.unlink()
    for number in range(ROTATED_FILES, 0, -1):
        older = _generation(path, number)
        newer = _generation(path, number - 1)
        if newer.exists():
            newer.replace(older)


def _merge(paths: tuple[Path, ...], into: Path) -> None:
    """Keep of these files, oldest first, what fits into one: of each address the last lines."""
    sizes: Counter[bytes] = Counter()
    for line in _lines(paths):
        sizes[_address_of(line)] += len(line)
    share = _equal_share(list(sizes.values()), MAX_LOG_BYTES)
    surplus = {address: size - share for address, size in sizes.items() if size > share}
    new = into.with_name(f"{into.name}.new")
    new.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            for line in _lines(paths):
                address = _address_of(line)
                if surplus.get(address, 0) > 0:
                    surplus[address] -= len(line)
                else:
                    file.write(line)
        new.replace(into)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _equal_share(sizes: list[int], room: int) -> int:
    """The most that each may have, so that all together fit."""
    left = len(sizes)
    for size in sorted(sizes):
        if size * left > room:
            return room // left
        room -= size
        left -= 1
    return max(sizes, default=0)


def _lines(paths: tuple[Path, ...]) -> Iterator[bytes]:
    """The lines of these files, whole ones with their ends."""
    for path in paths:
        with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
            while line := file.readline(_BLOCK_BYTES):
                if line.endswith(b"\n"):
                    yield line


def _address_of(line: bytes) -> bytes:
    fields = line.split(b"\t", 2)
    return fields[1] if len(fields) == 3 else b""


def _entries(direction: str, path: Path) -> Iterator[HistoryEntry]:
    """The events of one log and its older files, newest first."""
    for number in range(ROTATED_FILES + 1):
        for line in _lines_backwards(_generation(path, number)):
            entry = _parse(direction, line)
            if entry is not None:
                yield entry


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """The lines of a file, last one first, read in blocks; none if it cannot be read.

    A line longer than a block is none of ours; its pieces are thrown away.
    """
    try:
        descriptor = _open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        position = os.fstat(descriptor).st_size
        rest = b""
        while position > 0:
            start = max(0, position - _BLOCK_BYTES)
            lines = (os.pread(descriptor, position - start, start) + rest).split(b"\n")
            rest = lines[0] if len(lines[0]) <= _BLOCK_BYTES else b""
            yield from reversed(lines[1:])
            position = start
        yield rest
    except OSError:
        return
    finally:
        os.close(descriptor)


def _parse(direction: str, line: bytes) -> HistoryEntry | None:
    """One line as it was written; None if it is damaged."""
    try:
        time, address, chunk, size, seconds, result = line.decode().split("\t")
        entry = HistoryEntry(
            direction=direction,
            time=time,
            address=address,
            chunk=chunk,
            bytes=int(size),
            seconds=float(seconds),
            result=result,
        )
        fits = entry.bytes >= 0 and isfinite(entry.seconds)
        return entry if fits and datetime.fromisoformat(time).tzinfo is not None else None
    except ValueError:
        return None
