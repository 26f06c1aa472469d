"""Chunk_Discovery: hears announcements and keeps the content dictionary (requirements 2.2).

`ChunkDiscovery` has the sockets that hear broadcasts, and is the one gate through which every
datagram goes: local source, not ourselves, not too many, strictly decoded.  Datagrams
are hints from anyone: bounded, expiring, never trusted.  Not for: asking anybody anything.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel

from peershare.content.names import ChunkName, parse_chunk_name
from peershare.dictionary import (
    LIFETIME_SECONDS,
    ContentDictionary,
    Told,
    as_text,
    parse_dictionary,
)
from peershare.errors import PeerError, StorageError
from peershare.library.entries import Workers, at_once
from peershare.links import Link
from peershare.refusals import Refusals
from peershare.state import replace_file
from peershare.throttle import RateLimiter
from peershare.timers import Alarm, Periodic
from peershare.udp import BroadcastSockets
from peershare.wire.announcement import decode

DICTIONARY_NAME = "content_dictionary.txt"
EXPIRE_EVERY_SECONDS = 5.0
DICTIONARY_GAP_SECONDS = 1.0
# A text that took so long is not made again before as many times that have passed.
GAPS_OF_COST = 50.0
# So many names are written down in one turn of the reactor.
LINES_OF_BASES = 500
# Far more than a full dictionary takes: what others write there grows without end.
_MOST_READ_BYTES = 16 << 20
# An honest peer with a large folder tells 64 datagrams a cycle, three cycles at its start.
SOURCE_RATE, SOURCE_BURST = 32.0, 256.0
GLOBAL_RATE, GLOBAL_BURST = 1_000.0, 2_000.0
# And how much: all that an honest peer may tell, a thousand names with five chunks each, is some
# 100 KB a cycle.  A byte costs up to half a microsecond of our time.
SOURCE_BYTES, SOURCE_BURST_BYTES = 8_192.0, 1_048_576.0
GLOBAL_BYTES, GLOBAL_BURST_BYTES = 65_536.0, 1_048_576.0
# As many names are taken in at once; of a longer announcement the others follow in later turns.
NAMES_AT_ONCE = 500
# After so many refused datagrams the socket they came by is left alone for a moment.
FLOOD_REFUSALS = 200


class ChunkDiscovery:
    """Feeds the dictionary with what is heard; tells `on_told` of whatever was new."""

    def __init__(
        self,
        reactor: Any,
        port: int,
        dictionary: ContentDictionary,
        *,
        is_own: Callable[[IPv4Address], bool],
        is_local: Callable[[IPv4Address], bool],
        on_told: Callable[[str, Told], None],
        on_expired: Callable[[], None],
    ) -> None:
        """`is_own`: one of our addresses; `is_local`: on the network of one of our links."""
        self._reactor = reactor
        self._sockets = BroadcastSockets(reactor, port, self._hear_broadcast)
        self._dictionary = dictionary
        self._is_own = is_own
        self._is_local = is_local
        self._on_told = on_told
        self._on_expired = on_expired
        self._limiter = RateLimiter(
            rate=SOURCE_RATE,
            burst=SOURCE_BURST,
            global_rate=GLOBAL_RATE,
            global_burst=GLOBAL_BURST,
        )
        self._bytes = RateLimiter(
            rate=SOURCE_BYTES,
            burst=SOURCE_BURST_BYTES,
            global_rate=GLOBAL_BYTES,
            global_burst=GLOBAL_BURST_BYTES,
            reserve=True,
        )
        self._rest: deque[tuple[str, tuple[ChunkName, ...]]] = deque()
        self._telling = Alarm(reactor)
        self._lately = 0
        self._expiry = Periodic(reactor, EXPIRE_EVERY_SECONDS, self._expire)
        self.refusals = Refusals(reactor.seconds, LogLevel.debug)

    def open(self) -> None:
        """Start to listen and to forget."""
        self._sockets.open()
        self._expiry.start()

    def close(self) -> Deferred[Any]:
        """Stop both."""
        self._expiry.stop()
        return self._sockets.close()

    def use(self, link: Link) -> None:
        """Hear what is broadcast on one more link."""
        self._sockets.use(link)

    def drop(self, link: Link) -> Deferred[Any]:
        """Hear that no more."""
        return self._sockets.drop(link)

    def forget(self, address: str) -> None:
        """Whoever announced from this address is not there any more."""
        self._dictionary.forget(address)
        self._on_expired()

    def _hear_broadcast(self, datagram: bytes, source: str, port: int) -> bool:
        return self.hear(datagram, source)

    def hear(self, datagram: bytes, source: str) -> bool:
        """Take one datagram, from whichever socket; True if that socket should rest a moment."""
        now = self._reactor.seconds()
        address = IPv4Address(source)
        if self._is_own(address):
            return False
        if not self._is_local(address):
            return self._refuse(source, "datagram from elsewhere")
        if not self._limiter.allow(source, now):
            return self._refuse(source, "datagram over the rate limit")
        if not self._bytes.allow(source, now, len(datagram)):
            return self._refuse(source, "announcement over the limit of bytes")
        try:
            heard = decode(datagram)
        except PeerError as error:
            return self._refuse(source, "datagram not understood", str(error))
        if heard.junk:
            self.refusals.counts["name not understood"] += heard.junk
        self._tell(source, heard.names[:NAMES_AT_ONCE])
        for start in range(NAMES_AT_ONCE, len(heard.names), NAMES_AT_ONCE):
            self._rest.append((source, heard.names[start : start + NAMES_AT_ONCE]))
            if self._telling.due is None:
                self._telling.set(0, self._tell_on)
        return False

    def _tell(self, source: str, names: tuple[ChunkName, ...]) -> None:
        told = self._dictionary.tell(source, names, self._reactor.seconds())
        if told.dropped:
            self.refusals.counts["name over the limits"] += told.dropped
        self._on_told(source, told)

    def _tell_on(self) -> None:
        """The next names of a long announcement."""
        source, names = self._rest.popleft()
        if self._rest:
            self._telling.set(0, self._tell_on)
        if self._dictionary.knows(source):  # else it was forgotten meanwhile
            self._tell(source, names)

    def _refuse(self, source: str, reason: str, details: str = "") -> bool:
        """Count a refusal; True if there were so many that it looks like a flood."""
        self.refusals.note(source, reason, details)
        self._lately += 1
        if self._lately < FLOOD_REFUSALS:
            return False
        self._lately = 0
        return True

    def _expire(self) -> None:
        self._lately = 0
        if self._dictionary.expire(self._reactor.seconds()):
            self._on_expired()


class DictionaryFile:
    """Keeps `content_dictionary.txt` like the dictionary.

    At most one write a second, and so seldom that making the text takes little of our time.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        dictionary: ContentDictionary,
        folder: Path,
        workers: Workers = at_once,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        """`workers` read and write the file; `cpu` gives the processor's seconds spent on us."""
        self._reactor = reactor
        self._dictionary = dictionary
        self._workers = workers
        self.path = folder / DICTIONARY_NAME
        self._written: int | None = None
        self._tried: int | None = None  # the version that was written, or could not be
        self._written_at = float("-inf")
        self._alarm = Alarm(reactor)
        self._cpu = cpu
        self._cost = 0.0  # seconds of the processor, of the last text
        self._using: Deferred[None] | None = None  # while a worker has the file
        self._closed = False

    def recall(self, wall_now: float, is_another: Callable[[IPv4Address], bool]) -> Deferred[None]:
        """Begin with what a former run, or a classic discovery, wrote, if that is not too old.

        Both forms of the file are read; fires when that is done, and nothing is written before.
        `wall_now` is Unix time; `is_another`: whether an address can be another peer's.
        """
        return self._use(self._recall(wall_now, is_another))

    async def _recall(self, wall_now: float, is_another: Callable[[IPv4Address], bool]) -> None:
        found: tuple[float, dict[str, tuple[str, ...]]] = await self._workers(_read, self.path)
        age = wall_now - found[0]
        if not 0 <= age < LIFETIME_SECONDS:
            return
        told_at = self._reactor.seconds() - age
        pairs = ((chunk, address) for chunk, told in found[1].items() for address in told)
        for number, (chunk, address) in enumerate(pairs, 1):
            name = parse_chunk_name(chunk)
            if name is not None and is_another(IPv4Address(address)):
                self._dictionary.tell(address, [name], told_at)
            if number % LINES_OF_BASES == 0:
                await deferLater(self._reactor, 0)
                if self._closed:
                    return

    def touch(self) -> None:
        """The dictionary may have changed: write it now, or as soon as a second has gone by."""
        if self._dictionary.version == self._written or self._closed:
            return
        if self._alarm.due is None:
            gap = max(DICTIONARY_GAP_SECONDS, self._cost * GAPS_OF_COST)
            due = self._written_at + gap - self._reactor.seconds()
            self._alarm.set(max(0.0, due), self.write)

    def write(self) -> None:
        """Write it now if it changed; a disk that fails is logged, the next change tries again."""
        if self._using is None and self._dictionary.version != self._written:
            self._use(self._write())

    async def _write(self) -> None:
        self._written_at = self._reactor.seconds()
        version = self._tried = self._dictionary.version
        text = await self._text()
        try:
            await self._workers(replace_file, self.path, text)
        except StorageError as error:
            self._log.warn("{error}", error=error)
        else:
            self._written = version

    async def _text(self) -> bytes:
        """The text, made in slices, between which the reactor goes on turning."""
        self._cost = 0.0
        lines: list[str] = []
        began = self._cpu()
        for number, some in enumerate(self._dictionary.lines(self._written_at), 1):
            lines += some
            if number % LINES_OF_BASES == 0 and not self._closed:
                self._cost += self._cpu() - began
                await deferLater(self._reactor, 0)
                began = self._cpu()
        text = as_text(lines)
        self._cost += self._cpu() - began
        return text

    def close(self) -> Deferred[None]:
        """Write what is still to be written, and no more after that; fires when it is."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        self._closed = True
        self._alarm.clear()
        if self._using is not None:
            await self._using
        if self._dictionary.version != self._written:
            await self._write()

    def _use(self, work: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Do this; what is to be written meanwhile is written afterwards."""
        using: Deferred[None] = Deferred()
        self._using = using
        done = Deferred.fromCoroutine(work)
        done.addErrback(lambda f: self._log.failure("{path} failed", path=self.path, failure=f))
        done.addCallback(lambda _: self._used(using))
        return done

    def _used(self, using: Deferred[None]) -> None:
        self._using = None
        if self._dictionary.version != self._tried:
            self.touch()
        using.callback(None)


def _read(path: Path) -> tuple[float, dict[str, tuple[str, ...]]]:
    """Worker: when the file was written (Unix time), and what it tells; nothing if it cannot be."""
    nothing: tuple[float, dict[str, tuple[str, ...]]] = (0.0, {})
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return nothing
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return nothing
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            text = file.read(_MOST_READ_BYTES).decode("utf-8-sig", "replace")
    except OSError:
        return nothing
    finally:
        os.close(descriptor)
    return status.st_mtime, parse_dictionary(text)
