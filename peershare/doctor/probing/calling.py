"""Calls a native peer over TCP: `hello` goes, `hello` comes, and that is all.

Only for who has proven to be a native peer at that port.  Not for: classic peers, ever.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from peershare.content.names import display
from peershare.doctor.evidence import Dial, Dialled
from peershare.doctor.probing.sockets import reason_of
from peershare.errors import PeerError
from peershare.timers import Alarm
from peershare.wire.framing import FrameDecoder
from peershare.wire.messages import VERSIONS, Hello, Problem, decode_answer, encode

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 3.0
_AGENT = "peershare doctor"


class _Caller(Protocol):
    """Says hello; `answered` fires with how it ended, once the connection is gone."""

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self.answered: Deferred[tuple[Dialled, str]] = Deferred()
        self._end = (Dialled.SILENT, "")
        self._alarm = Alarm(reactor)
        self._decoder = FrameDecoder(self._line, lambda _: None)

    def connectionMade(self) -> None:
        """Twisted: it is taken."""
        self._alarm.set(ANSWER_SECONDS, self._hang_up, "nothing came in time")
        self.transport.write(encode(Hello(versions=VERSIONS, agent=_AGENT)))

    def dataReceived(self, data: bytes) -> None:
        """Twisted: a piece of the answer."""
        try:
            self._decoder.feed(data)
        except PeerError as broken:
            self._hang_up(str(broken))

    def _line(self, line: bytes) -> None:
        answer = decode_answer(line)
        self._decoder.stop()
        if isinstance(answer, Hello):
            self._end = (Dialled.ANSWERED, display(answer.agent))
            self._alarm.set(ANSWER_SECONDS, self.transport.abortConnection)
            self.transport.loseConnection()
        else:
            told = answer.message if isinstance(answer, Problem) else "something else came"
            self._hang_up(told)

    def _hang_up(self, detail: str) -> None:
        self._end = (Dialled.SILENT, display(detail))
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: it is over."""
        self._alarm.clear()
        end, detail = self._end
        if end is Dialled.SILENT and not detail:
            detail = "it was closed at once"
        self.answered.callback((end, detail))


async def call(reactor: Any, own: str, address: str, port: int) -> Dial:
    """Call a native peer from an own address."""
    began = reactor.seconds()
    endpoint = TCP4ClientEndpoint(
        reactor, address, port, timeout=CONNECT_SECONDS, bindAddress=(own, 0)
    )
    caller = _Caller(reactor)
    try:
        await connectProtocol(endpoint, caller)
    except Exception as problem:  # whatever it is, it is what is to be told
        detail = "" if _is_rejected(problem) else display(reason_of(problem))
        return Dial(_end_of(problem), reactor.seconds() - began, detail)
    taken = reactor.seconds() - began
    end, detail = await caller.answered
    return Dial(end, taken, detail)


def _end_of(problem: Exception) -> Dialled:
    if isinstance(problem, error.ConnectionRefusedError):
        return Dialled.REFUSED
    if isinstance(problem, error.TimeoutError):
        return Dialled.TIMED_OUT
    if isinstance(problem, error.NoRouteError) or _is_rejected(problem):
        return Dialled.UNREACHABLE
    return Dialled.UNREACHABLE if "unreachable" in reason_of(problem).lower() else Dialled.FAILED


def _is_rejected(problem: Exception) -> bool:
    """Whether a router or a firewall said no by ICMP: Twisted gives no cause then."""
    return type(problem) is error.ConnectError and problem.osError is None
