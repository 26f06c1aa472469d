"""What may come: a peer that answers what it was asked is never blamed, whatever crosses what."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from peershare.content.blocks import block_range
from peershare.download.swarm.asked import Asked
from peershare.errors import PeerError, Reason
from peershare.wire.messages import Block, Content, Problem

SIZE = 5 * 65_536 + 1
TOTAL = 6
IDS = tuple(f"b3:{number:064x}" for number in range(2))


def block(content: str, index: int) -> Block:
    """The message of a block, as it should be."""
    return Block(content=content, index=index, length=block_range(index, SIZE).length)


class Exchange(RuleBasedStateMachine):
    """An honest peer that answers in order, and a downloader that changes its mind.

    Requests and answers take any time; whatever is said in the end was right.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: Asked[object] = Asked()
        self.requests: deque[tuple[Any, ...]] = deque()  # on their way to the peer
        self.queue: deque[tuple[Any, ...]] = deque()  # what the peer is going to send
        self.answers: deque[Any] = deque()  # on their way to us
        self.wanted: dict[tuple[str, int], object] = {}
        self.joined: dict[str, object] = {}

    content = st.sampled_from(IDS)
    blocks = st.lists(st.integers(0, TOTAL - 1), max_size=4)

    # -- the downloader

    @rule(content=content, manifest=st.booleans())
    def join(self, content: str, manifest: bool) -> None:
        if content not in self.joined:
            self.joined[content] = listener = object()
            self.asked.join(content, listener, manifest=manifest)
            self.requests.append(("join", content, manifest))

    @rule(content=content)
    def leave(self, content: str) -> None:
        was_joined = self.joined.pop(content, None) is not None
        joined, blocks = self.asked.leave(content)
        assert joined == was_joined
        assert set(blocks) == {index for about, index in self.wanted if about == content}
        for index in blocks:
            del self.wanted[content, index]
        if joined:
            self.requests.append(("leave", content))

    @rule(content=content, blocks=blocks)
    def request(self, content: str, blocks: list[int]) -> None:
        for index in self.asked.request(content, blocks):
            assert (content, index) not in self.wanted
            self.wanted[content, index] = self.joined[content]
            self.requests.append(("get", content, index))

    @rule(content=content, blocks=blocks)
    def cancel(self, content: str, blocks: list[int]) -> None:
        for index in self.asked.cancel(content, blocks):
            del self.wanted[content, index]
            self.requests.append(("cancel", content, index))

    # -- the peer

    @precondition(lambda self: self.requests)
    @rule()
    def hear(self) -> None:
        kind, content, *details = self.requests.popleft()
        if kind in ("join", "get"):
            self.queue.append((kind, content, *details))
        elif kind == "cancel":
            self.queue = deque(q for q in self.queue if q != ("get", content, *details))
        else:
            self.queue = deque(q for q in self.queue if q[:2] != ("get", content))

    @precondition(lambda self: self.queue)
    @rule(lacks=st.booleans())
    def answer(self, lacks: bool) -> None:
        kind, content, detail = self.queue.popleft()
        if kind == "join":
            digests = TOTAL * 32 * detail
            told = Content(content=content, size=SIZE, length=digests, digests=digests)
            self.answers.append(told)
        elif lacks:
            blocks = ((detail, 1),)
            problem = Problem(code="not-here", message="", content=content, blocks=blocks)
            self.answers.append(problem)
        else:
            self.answers.append(block(content, detail))

    # -- the downloader again

    @precondition(lambda self: self.answers)
    @rule()
    def receive(self) -> None:
        told = self.answers.popleft()
        if isinstance(told, Content):
            _, listener = self.asked.content_came(told)
            assert listener in (None, self.joined.get(told.content))
        elif isinstance(told, Block):
            listener = self.asked.block_came(told)
            assert listener is self.wanted.pop((told.content, told.index), None)
        else:
            ((index, _),) = told.blocks
            listener = self.asked.problem_came(told)
            assert listener is self.wanted.pop((told.content, index), None)

    def teardown(self) -> None:
        """Everything that was asked is answered in the end."""
        while self.requests or self.queue or self.answers:
            while self.requests:
                self.hear()
            while self.queue:
                self.answer(lacks=False)
            while self.answers:
                self.receive()
        assert not self.wanted
        assert not self.asked.due


class AskedTests(SynchronousTestCase):
    def test_an_honest_peer(self) -> None:
        """Whatever crosses what, an honest peer is not blamed, and all that is wanted comes."""
        run_state_machine_as_test(Exchange)

    def setUp(self) -> None:
        self.asked: Asked[str] = Asked()

    def test_a_size_that_was_told_otherwise(self) -> None:
        """Two answers of one peer that do not agree."""
        self.asked.join(IDS[0], "one", manifest=False)
        self.asked.content_came(Content(content=IDS[0], size=SIZE, length=0))
        self.asked.leave(IDS[0])
        self.asked.join(IDS[0], "two", manifest=False)
        told = Content(content=IDS[0], size=SIZE + 1, length=0)
        failed = self.assertRaises(PeerError, self.asked.content_came, told)
        self.assertEqual(failed.reason, Reason.WRONG_MANIFEST)

    def test_who_is_told_at_the_end(self) -> None:
        """In the order in which they came, and nobody twice."""
        for number, content in enumerate(IDS):
            self.asked.attach(content, SIZE, f"listener {number}")
        self.assertEqual(self.asked.end(), ["listener 0", "listener 1"])
        self.assertEqual(self.asked.end(), [])
        self.assertTrue(self.asked.idle)

    @given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), max_size=5))
    def test_runs(self, runs: list[tuple[int, int]]) -> None:
        """News name blocks that there are, or are refused."""
        asked: Asked[str] = Asked()
        asked.join(IDS[0], "one", manifest=False)
        asked.content_came(Content(content=IDS[0], size=SIZE, length=0))
        try:
            listener, named = asked.news_came(IDS[0], tuple(runs))
        except PeerError:
            self.assertTrue(any(a + n > TOTAL for a, n in runs) or sum(n for _, n in runs) > TOTAL)
        else:
            self.assertEqual(listener, "one")
            self.assertEqual(named, [i for a, n in runs for i in range(a, a + n)])
