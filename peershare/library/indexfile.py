"""The file of the index: opened with care, written in transactions, watched for damage.

All methods block, and are called by one thread at a time.  An error is judged by its kind: what
may pass (a lock, a full or failing disk, no descriptors) is an `IndexBusyError` and nothing is
thrown away for it; what says that the file is not the index any more is an `IndexLostError`, and
then it is set aside as `.bad` and written anew.  A mark beside it tells a clean end from a kill,
so that a lost index is never taken for a first run (hostile world, 20).
Not for: what is in the tables.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import sleep

from twisted.logger import Logger

from peershare.errors import StorageError
from peershare.library.files import sync_folder
from peershare.library.schema import prepare, stored_text

MARK_NAME = "index.mark"
# What an earlier run leaves in a state folder, whichever version it was of.
_TRACES = (MARK_NAME, "peer_id")
_OPEN, _CLOSED = "open\n", "closed\n"
# A start tries so long to open what cannot be opened, and looks so often.
OPEN_SECONDS = 3.0
_OPEN_STEP_SECONDS = 0.1
# So long a statement waits for the lock of another program.
_LOCK_SECONDS = 1.0
# So many damaged indexes are kept; none is ever overwritten.
MOST_BAD = 9

_CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"

# A statement, and the rows it is executed with.
Change = tuple[str, Sequence[Sequence[object]]]

_WAITED = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_AUTH,
}
# No second try makes a link a file, or a folder of nothing.
_LASTING = {errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_READONLY_MOVED = sqlite3.SQLITE_READONLY | 4 << 8  # the file was renamed or removed
# What damage looks like where SQLite gives it no code of its own.
_DAMAGE_WORDS = ("malformed", "not a database", "no such", "already exists", "it is of version")


class IndexBusyError(StorageError):
    """The index cannot be used at the moment."""


class IndexLostError(StorageError):
    """The file is damaged, gone, or another one: it has to be written anew."""


class IndexFile:
    """One connection, and what is known of the file behind it."""

    _log = Logger()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mark = path.with_name(MARK_NAME)
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._seen: tuple[int, ...] = ()  # sizes and times of file and log after our last write

    # -- life

    def open(self, load: Callable[[sqlite3.Connection], None]) -> str:
        """At a start: open it or make it, and have it read by `load`; one sentence if it was lost.

        What may pass is waited for, for `OPEN_SECONDS` at most.  Raises `StorageError`.
        """
        lost, damaged = self._missing(), ""
        tries = round(OPEN_SECONDS / _OPEN_STEP_SECONDS)
        while True:
            try:
                self._open(load)
                if lost:
                    self._log.error("{lost}", lost=lost)
                return lost
            except IndexLostError as error:
                self.disconnect()
                if damaged:
                    raise
                with judged(self.path):
                    damaged = self._set_aside()
                lost = f"{error}: {damaged}, a new one is made from the files"
            except IndexBusyError as error:
                self.disconnect()
                tries -= 1
                if tries < 0 or getattr(error.__cause__, "errno", None) in _LASTING:
                    raise
                sleep(_OPEN_STEP_SECONDS)

    def _open(self, load: Callable[[sqlite3.Connection], None]) -> None:
        with judged(self.path):
            self._connect(new=True)
            try:
                load(self.connection)
            except (TypeError, ValueError) as error:
                raise sqlite3.DatabaseError(f"database disk image is malformed: {error}") from error
            self._set_mark(_OPEN)

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection.  Raises `IndexBusyError` while there is none."""
        if self._connection is None:
            raise IndexBusyError(f"{self.path}: the index is not open")
        return self._connection

    def disconnect(self) -> None:
        """Close the connection, as a process that dies would: the mark stays."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def reopen(self) -> None:
        """Open it anew: a connection must not be carried over a fork.  Raises `StorageError`."""
        self.disconnect()
        with judged(self.path):
            self._connect(new=False)

    def close(self) -> None:
        """A clean end: everything is in the file itself.  Raises `StorageError`."""
        try:
            with judged(self.path):
                if not self.connection.execute(_CHECKPOINT).fetchone()[0]:  # nobody reads it
                    self._set_mark(_CLOSED)
        finally:
            self.disconnect()

    # -- writing

    def commit(self, changes: Iterable[Change]) -> None:
        """Make all of these durable, or none.  Raises `IndexBusyError`, `IndexLostError`."""
        try:
            with judged(self.path):
                self._look()
                self._write(changes)
                self._note()
        except IndexLostError:
            raise
        except IndexBusyError as error:
            cause = error.__cause__
            if not (isinstance(cause, sqlite3.Error) and _code(cause) in _LOCKS):
                self.disconnect()  # SQLite may think ill of a connection whose disk failed
            raise

    def rebuild(self, changes: Iterable[Change]) -> str:
        """Set aside what is there, and write all of this into a new file; where the old one is.

        Raises `IndexBusyError`.
        """
        self.disconnect()
        try:
            with judged(self.path):
                kept = self._set_aside()
                self._connect(new=True)
                self._write(changes)
                self._note()
                self._set_mark(_OPEN)
        except IndexLostError as error:
            raise IndexBusyError(str(error)) from error
        return kept

    def _write(self, changes: Iterable[Change]) -> None:
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement, rows in changes:
                try:
                    self._execute(connection, statement, rows)
                except (UnicodeError, OverflowError, sqlite3.DataError):
                    # it can never be written, and nothing else must wait for it
                    self._log.failure("{path} cannot hold a row", path=str(self.path))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise

    def _execute(
        self, connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]]
    ) -> None:
        """Execute it with each of the rows; again for all of them where one has odd paths."""
        try:
            connection.executemany(statement, rows)
        except UnicodeEncodeError:
            connection.executemany(statement, [tuple(map(stored_text, row)) for row in rows])

    def _look(self) -> None:
        """See that what we write into is still what others find under its name."""
        if self._connection is None:
            self._connect(new=False)
        if self._place() != self._inode:
            raise IndexLostError(f"{self.path}: another file has taken its place")
        if not self._wal.exists():
            # SQLite would write into a file without a name
            self.connection.execute(_CHECKPOINT)
            self.disconnect()
            self._connect(new=False)
        elif self._seen != self._look_of_it():
            self._check_afresh()

    def _check_afresh(self) -> None:
        """Somebody else wrote into it: what our connection has in its cache may not be there."""
        try:
            self.connection.execute(_CHECKPOINT)
            with closing(sqlite3.connect(self.path, timeout=_LOCK_SECONDS)) as fresh:
                _check(fresh)
        except sqlite3.Error as error:
            if _code(error) in _LOCKS:
                raise
            raise IndexLostError(f"{self.path}: the index was damaged: {error}") from error

    def _note(self) -> None:
        self._seen = self._look_of_it()

    def _look_of_it(self) -> tuple[int, ...]:
        file, log = self.path.lstat(), self._wal.lstat()
        return file.st_size, file.st_mtime_ns, log.st_size, log.st_mtime_ns

    def _place(self) -> tuple[int, int]:
        status = self.path.lstat()
        return status.st_dev, status.st_ino

    # -- opening

    @property
    def _wal(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def _connect(self, *, new: bool) -> None:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if new else 0)
        os.close(os.open(self.path, flags, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            prepare(connection)
            _check(connection)
            connection.execute("PRAGMA foreign_keys = ON")
            self._inode = self._place()
            self._note()
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _missing(self) -> str:
        """One sentence if something of an earlier run is missing."""
        try:
            size = self.path.lstat().st_size
        except FileNotFoundError:
            size = 0
        except OSError:
            return ""  # opening it will say why
        if not size:
            earlier = any(os.path.lexists(self.path.with_name(name)) for name in _TRACES)
            return (
                f"{self.path}: the index of earlier runs is gone or empty: a new one is made from"
                " the files; downloads that had not ended have to be asked for again"
                if earlier
                else ""
            )
        try:
            mark = self._mark.read_text("ascii", "replace")
        except OSError:
            return ""
        if mark == _OPEN and not self._wal.exists():
            return (
                f"{self.path}: the last run did not end in order, and what it wrote last"
                f" ({self._wal.name}) is gone: newest downloads may be missing"
            )
        return ""

    def _set_mark(self, text: str) -> None:
        """Replace the mark, durably.  Raises `OSError`."""
        temporary = self._mark.with_name(f".{MARK_NAME}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            os.write(descriptor, text.encode("ascii"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(self._mark)
        sync_folder(self._mark.parent)

    def _set_aside(self) -> str:
        """Rename a damaged index, and its log with it; say what it is called now."""
        names = [f"{self.path.name}.bad"]
        names += [f"{names[0]}.{number}" for number in range(2, MOST_BAD + 1)]
        names_here = [path.name for path in self.path.parent.iterdir()]
        taken = {name.removesuffix("-wal") for name in names_here}
        free = [name for name in names if name not in taken]
        ours = self._inode is None or not self.path.exists() or self._inode == self._place()
        for suffix in ("", "-wal", "-shm"):
            path = self.path.with_name(f"{self.path.name}{suffix}")
            with suppress(FileNotFoundError):
                if free and suffix in ("", "-wal" if ours else ""):
                    path.replace(self.path.with_name(f"{free[0]}{suffix}"))
                else:
                    path.unlink()
        if not free:
            return f"{MOST_BAD} damaged ones are kept already, and this one is not"
        return f"what was there is kept as {free[0]}"


_LOCKS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _check(connection: sqlite3.Connection) -> None:
    """Raise `sqlite3.DatabaseError` if the file is damaged."""
    result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if result != "ok":
        raise sqlite3.DatabaseError(f"database disk image is malformed: {result}")


@contextmanager
def judged(path: Path) -> Iterator[None]:
    """Turn what goes wrong inside into an `IndexBusyError` or an `IndexLostError`."""
    try:
        yield
    except sqlite3.Error as error:
        kind = IndexLostError if is_damage(error) else IndexBusyError
        raise kind(f"{path}: the index cannot be used: {error}") from error
    except OSError as error:
        if error.errno == errno.ENOENT and path.parent.is_dir():
            raise IndexLostError(f"{path}: the index is gone") from error
        reason = error.strerror or error
        raise IndexBusyError(f"{path}: the index cannot be used: {reason}") from error


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code, None where the error is not SQLite's own."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    """Whether this says that the file is not the index, rather than that it cannot be used now."""
    if getattr(error, "sqlite_errorcode", None) == _READONLY_MOVED:
        return True
    code = _code(error)
    if code is None or code == sqlite3.SQLITE_ERROR:
        return any(word in str(error) for word in _DAMAGE_WORDS)
    return code not in _WAITED
