"""Databases that ask before they do anything: connections and cursors of `sqlite3`.

Not for: which call fails (`steps`), or files (`disk`).
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any, Protocol
from urllib.parse import unquote

_READING = ("SELECT", "PRAGMA")


class Asked(Protocol):
    """The disk."""

    def ask(self, name: str, where: str, *, writes: bool) -> bool:
        """Show a call to whoever watches; raises what it is to fail with."""


def database_path(database: Any) -> str:
    """The path of what `sqlite3.connect` is given, which may be an URI."""
    path = os.fsdecode(database)
    if path.startswith("file:"):
        path = unquote(path.removeprefix("file:").split("?")[0])
        path = path.removeprefix("//")
    return path


def connection_class(disk: Asked, path: str) -> type[sqlite3.Connection]:
    """A connection to the database there, whose every statement and commit is shown."""

    class HookedCursor(sqlite3.Cursor):
        def execute(self, sql: str, *values: Any) -> Any:
            disk.ask("execute", path, writes=not sql.lstrip().upper().startswith(_READING))
            return super().execute(sql, *values)

        def executemany(self, sql: str, *values: Any) -> Any:
            disk.ask("executemany", path, writes=True)
            return super().executemany(sql, *values)

        def executescript(self, sql: str) -> Any:
            disk.ask("executescript", path, writes=True)
            return super().executescript(sql)

        def fetchone(self) -> Any:
            disk.ask("fetchone", path, writes=False)
            return super().fetchone()

        def fetchall(self) -> Any:
            disk.ask("fetchall", path, writes=False)
            return super().fetchall()

    class HookedConnection(sqlite3.Connection):
        def cursor(self, factory: Any = HookedCursor) -> Any:
            return super().cursor(factory)

        # their own ones do not go by the method above
        def execute(self, *arguments: Any) -> Any:
            return self.cursor().execute(*arguments)

        def executemany(self, *arguments: Any) -> Any:
            return self.cursor().executemany(*arguments)

        def executescript(self, *arguments: Any) -> Any:
            return self.cursor().executescript(*arguments)

        def commit(self) -> None:
            if self.in_transaction:
                disk.ask("commit", path, writes=True)
            super().commit()

        def __exit__(self, kind: Any, value: Any, trace: Any) -> Any:
            if kind is None and self.in_transaction:
                try:
                    disk.ask("commit", path, writes=True)
                except BaseException:
                    self.rollback()  # as SQLite's own context manager does
                    raise
            return super().__exit__(kind, value, trace)

    return HookedConnection
