"""One name, seen through: from the wish to the outcome, with a service that may go away."""

from __future__ import annotations

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from peershare.client import following
from peershare.client.following import Follower
from peershare.client.outcome import ExitStatus, Outcome
from peershare.errors import (
    AmbiguousContentError,
    AmbiguousNameError,
    BadNameError,
    UnknownContentError,
)
from peershare.status import ChunkState, ChunkStatus, DownloadState, Notice, NoticeKind
from tests.client.doubles import ClientTestCase, until
from tests.control.fake_node import NOTHING_YET, FakeNode, a_choice, a_classic_choice

DONE = DownloadState.DONE
DOWNLOADING = DownloadState.DOWNLOADING


def a_notice(identifier: str, text: str, kind: NoticeKind = NoticeKind.FAILOVER) -> Notice:
    return Notice(kind=kind, download=identifier, chunk="forest_1", peer="198.18.0.2", text=text)


class FollowerTests(ClientTestCase):
    async def begin(self, name: str = "forest", node: FakeNode | None = None) -> Deferred[Outcome]:
        """Wish for a name; returns when the node was asked for it."""
        node = node or self.node
        before = len(node.asked)
        await self.session.open()
        outcome = Deferred.fromCoroutine(self.follower.get(name, None))
        await until(lambda: len(node.asked) > before or outcome.called)
        return outcome

    async def test_done(self) -> None:
        """A download is followed to its file; its events are told, and nobody else's."""
        got = await self.begin()
        await until(lambda: self.report.told)
        self.node.change("1", state=DOWNLOADING, idle_seconds=0.1)
        self.node.emit(a_notice("1", "198.18.0.2 refused, trying 198.18.0.3"))
        self.node.emit(a_notice("99", "somebody else's"))
        self.node.change("1", state=DONE, path="/share/forest.png", size=5, given={"a": 5})
        outcome = await got
        self.assertEqual(
            (outcome.status, outcome.path, outcome.verified),
            (ExitStatus.DONE, "/share/forest.png", False),
        )
        self.assertEqual(
            self.report.told,
            ["searching", "downloading", "198.18.0.2 refused, trying 198.18.0.3", "done"],
        )
        self.assertEqual(self.report.outcomes, [outcome])

    async def test_done_before_the_answer_is_read(self) -> None:
        """What happens between the request and its answer is not lost."""
        begin = self.node.start_download

        def start_and_finish(name: str, folder: object, **_: object) -> object:
            status = begin(name, None)
            self.node.emit(a_notice(status.id, "quick"))
            self.node.change(status.id, state=DONE, path="/share/forest")
            return status

        self.node.start_download = start_and_finish
        outcome = await (await self.begin())
        self.assertEqual(outcome.status, ExitStatus.DONE)
        self.assertIn("quick", self.report.told)

    async def test_paused_by_somebody(self) -> None:
        """A download that somebody holds is waited for; Ctrl-C leaves it as it is."""
        self.limits.give_up = 0.1
        got = await self.begin()
        self.node.change("1", state=DOWNLOADING, received=5)
        self.node.change("1", state=DownloadState.PAUSED, idle_seconds=900.0)
        await until(lambda: "paused" in self.report.told)
        await deferLater(reactor, 0.3)
        self.assertFalse(got.called, "nobody is to blame for the standstill")
        got.cancel()
        await self.assertFailure(got, CancelledError)
        self.assertIs(self.node.started["1"].state, DownloadState.PAUSED)
        self.assertIn("it stays paused in the service", self.report.outcomes[0].message)

    async def test_asked_for_again(self) -> None:
        """Who asks for what was paused wants it to go on."""
        self.node.start_download("forest", None)
        self.node.change("1", state=DownloadState.PAUSED)
        got = await self.begin()
        await until(lambda: self.node.started["1"].state is not DownloadState.PAUSED)
        self.node.change("1", state=DOWNLOADING)
        await until(lambda: "downloading" in self.report.told)
        self.node.change("1", state=DONE, path="/share/forest.png")
        self.assertEqual((await got).status, ExitStatus.DONE)

    async def test_done_at_once(self) -> None:
        """What a former run completed is done in the answer."""
        begin = self.node.start_download
        self.node.start_download = lambda name, folder, **_: self.node.change(
            begin(name, folder).id, state=DONE, path="/share/forest"
        )
        outcome = await (await self.begin())
        self.assertEqual((outcome.status, outcome.path), (ExitStatus.DONE, "/share/forest"))
        self.assertIn("complete already", outcome.message)

    async def test_an_old_end_is_not_the_end(self) -> None:
        """That the same download was stopped before does not end it now."""
        self.node.start_download("forest", None)
        self.node.change("1", state=DownloadState.STOPPED)

        def again(name: str, folder: object, **_: object) -> object:
            self.node.asked.append(("start", name, folder))
            return self.node.change("1", state=DownloadState.SEARCHING)

        self.node.start_download = again
        got = await self.begin()
        await until(lambda: self.report.told)
        self.assertFalse(got.called)
        self.node.change("1", state=DONE, path="/share/forest")
        self.assertEqual((await got).status, ExitStatus.DONE)

    async def test_failed(self) -> None:
        """A failure has the node's reason."""
        got = await self.begin()
        await until(lambda: self.report.told)
        self.node.change("1", state=DownloadState.FAILED, problem="the folder is gone")
        outcome = await got
        self.assertEqual(outcome.status, ExitStatus.FAILED)
        self.assertIn("the folder is gone", outcome.message)

    async def test_refused(self) -> None:
        """A name that cannot be one is wrong usage; one for several gives the exact names."""
        self.node.refusals["../x"] = BadNameError("'../x' cannot be a file name")
        self.node.refusals["forest"] = AmbiguousNameError("which?", ("forest.jpg", "forest.png"))
        outcome = await (await self.begin("../x"))
        self.assertEqual(outcome.status, ExitStatus.USAGE)
        outcome = await self.follower.get("forest", None)
        self.assertEqual(outcome.status, ExitStatus.AMBIGUOUS)
        self.assertEqual(outcome.choices, ("forest.jpg", "forest.png"))

    async def test_several_contents(self) -> None:
        """Where a name fits several contents and nobody can be asked, they are the outcome."""
        both = (a_choice(1), a_choice(2))
        self.node.refusals["forest"] = AmbiguousContentError("forest fits 2 contents", both)
        outcome = await (await self.begin())
        self.assertEqual(outcome.status, ExitStatus.AMBIGUOUS)
        self.assertEqual(outcome.candidates, both)
        self.assertIn("fits 2 contents", outcome.message)

    async def test_one_of_several(self) -> None:
        """Who is asked chooses by its id; it is still called what it was called."""
        both = (a_choice(1), a_choice(2))
        self.node.refusals["forest"] = AmbiguousContentError("forest fits 2 contents", both)
        asked: list[object] = []

        async def choose(name: str, candidates: object) -> object:
            asked.append((name, candidates))
            return both[1]

        self.follower = self.another_follower(choose)
        got = await self.begin()
        await until(lambda: self.report.told)
        self.assertEqual(asked, [("forest", both)])
        self.assertEqual(self.node.asked, [("start", both[1].id, None)])
        self.node.change("1", state=DONE, path="/share/forest.png", verified=True)
        outcome = await got
        self.assertEqual((outcome.name, outcome.verified), ("forest", True))

    async def test_the_classic_one_of_several(self) -> None:
        """It has no id: it is asked for by its very name, as the classic one."""
        both = (a_choice(1), a_classic_choice("forest", "198.18.0.2"))
        self.node.refusals["FOREST"] = AmbiguousContentError("FOREST fits 2 contents", both)

        async def choose(name: str, candidates: object) -> object:
            return both[1]

        self.follower = self.another_follower(choose)
        got = await self.begin("FOREST")
        await until(lambda: self.report.told)
        self.assertEqual(self.node.asked, [("start", "forest", None, "classic")])
        self.node.change("1", state=DONE, path="/share/forest")
        self.assertFalse((await got).verified)

    async def test_commands(self) -> None:
        """Where nobody can be asked, there is a command for each."""
        both = (a_choice(1), a_classic_choice("forest", "198.18.0.2"))
        self.node.refusals["forest"] = AmbiguousContentError("forest fits 2 contents", both)
        outcome = await (await self.begin())
        self.assertEqual(
            outcome.commands,
            (f"peershare get {both[0].id}", "peershare get forest --classic"),
        )

    async def test_a_download_that_waits_for_another(self) -> None:
        """It is not given up while that one goes on, of which nothing else is told."""
        self.limits.give_up = 0.3
        got = await self.begin()
        waiting = {"state": DownloadState.WAITING, "content": a_choice(1).id, "idle_seconds": 1.0}
        asked: list[str] = []
        shown = self.node.download

        def download(identifier: str) -> object:
            asked.append(identifier)
            idle = 0.0 if len(asked) < 3 else 1.0
            return msgspec.structs.replace(shown(identifier), idle_seconds=idle)

        self.patch(self.node, "download", download)
        self.node.change("1", **waiting)
        outcome = await got
        self.assertIn("given up", outcome.message)
        self.assertGreaterEqual(len(asked), 3)

    async def test_none_of_several(self) -> None:
        """Who wants none of them gets none."""
        both = (a_choice(1), a_choice(2))
        self.node.refusals["forest"] = AmbiguousContentError("forest fits 2 contents", both)

        async def choose(name: str, candidates: object) -> None:
            return None

        self.follower = self.another_follower(choose)
        outcome = await (await self.begin())
        self.assertEqual((outcome.status, outcome.candidates), (ExitStatus.AMBIGUOUS, ()))
        self.assertEqual(self.node.asked, [])

    def another_follower(self, choose: object) -> Follower:
        chooser = type("Asked", (), {"choose": staticmethod(choose)})()
        return Follower(self.session, reactor, self.limits, self.report, chooser=chooser)

    async def test_several_contents_later(self) -> None:
        """A name that is told twice while it is waited for is not taken from either."""
        got = await self.begin()
        await until(lambda: self.report.told)
        both = (a_choice(1), a_choice(2))
        self.node.refusals["forest"] = AmbiguousContentError("forest fits 2 contents", both)
        outcome = await got
        self.assertEqual((outcome.status, outcome.candidates), (ExitStatus.AMBIGUOUS, both))
        self.assertIn(("stop", "1"), self.node.asked)

    async def test_unknown_id(self) -> None:
        """An id that nobody has told is waited for as a name is."""
        self.limits.wait = 0.3
        identifier = a_choice(1).id
        self.node.refusals[identifier] = UnknownContentError("nobody has told it yet")
        outcome = await (await self.begin(identifier))
        self.assertEqual(outcome.status, ExitStatus.NOT_FOUND)
        self.assertIn("nobody has told it yet", outcome.message)
        self.assertIn("waiting up to 0.3 s", self.told())

    async def test_id_that_comes(self) -> None:
        """It is fetched as soon as somebody tells it."""
        identifier = a_choice(1).id
        self.node.refusals[identifier] = UnknownContentError("nobody has told it yet")
        self.patch(following, "_POLL_SECONDS", 0.05)
        await self.session.open()
        got = Deferred.fromCoroutine(self.follower.get(identifier, None))
        await until(lambda: self.report.told)
        del self.node.refusals[identifier]
        await until(lambda: self.node.asked)
        self.node.change("1", state=DONE, path="/share/forest.png")
        self.assertEqual((await got).status, ExitStatus.DONE)

    async def test_own_node_settles(self) -> None:
        """A node that has just begun is given the time to hear who is there, once."""
        self.hosting.is_own = True
        self.patch(following, "_SETTLE_SECONDS", 0.2)
        both = (a_choice(1), a_choice(2))
        refusal = AmbiguousContentError("forest fits 2 contents", both)
        reactor.callLater(0.1, self.node.refusals.__setitem__, "forest", refusal)
        outcome = await (await self.begin())
        self.assertEqual(outcome.candidates, both)

    async def test_not_found(self) -> None:
        """A name that nobody tells within --wait is not found, and the wish is withdrawn."""
        self.limits.wait = 0.9
        outcome = await (await self.begin())
        self.assertEqual(outcome.status, ExitStatus.NOT_FOUND)
        self.assertIn(("stop", "1"), self.node.asked)
        self.assertIn("forest: nobody has announced it yet; waiting up to 0.9 s", self.told())

    def told(self) -> str:
        return "\n".join(self.report.told)

    async def test_not_found_but_own(self) -> None:
        """Who looks for a file of his own is told so."""
        from tests.control.fake_node import a_content

        self.node.known = (a_content("Forest.png", shared=True),)
        self.limits.wait = 0.0
        outcome = await (await self.begin())
        self.assertEqual(outcome.status, ExitStatus.NOT_FOUND)
        self.assertIn("Forest.png is your own file", outcome.message)

    async def test_known_name_starts_without_a_word(self) -> None:
        """Nothing is said about waiting when a name is known."""
        got = await self.begin()
        await until(lambda: self.report.told)
        self.node.change("1", state=DOWNLOADING)
        self.node.change("1", state=DONE, path="/share/forest")
        await got
        self.assertNotIn("waiting", self.told())

    async def test_given_up(self) -> None:
        """Without progress for --give-up seconds a name has failed; its part stays."""
        self.limits.give_up = 0.3
        got = await self.begin()
        await until(lambda: self.report.told)
        held = ChunkStatus(number=1, state=ChunkState.HELD, received=5)
        self.node.change(
            "1",
            state=DownloadState.WAITING,
            received=5,
            chunks=(held, *NOTHING_YET[1:]),
            problem="CHUNK forest_2 CANNOT BE DOWNLOADED FROM ONLINE PEERS.",
        )
        outcome = await got
        self.assertEqual(outcome.status, ExitStatus.FAILED)
        for part in ("given up after 0.3 s", "CHUNK forest_2", "1 of 5 chunks stays"):
            self.assertIn(part, outcome.message)
        self.assertIn(("stop", "1"), self.node.asked)

    async def test_done_while_giving_up(self) -> None:
        """If it turns out to be done just then, it is done."""
        self.limits.wait = 0.0
        self.node.stop_download = lambda identifier: self.node.change(
            identifier, state=DONE, path="/share/forest"
        )
        self.assertEqual((await (await self.begin())).status, ExitStatus.DONE)

    async def test_ambiguous_later(self) -> None:
        """A name that becomes ambiguous while it is waited for fails with the node's words."""
        got = await self.begin()
        await until(lambda: self.report.told)
        self.node.change("1", problem="forest fits several contents: forest.jpg, forest.png")
        outcome = await got
        self.assertEqual(outcome.status, ExitStatus.FAILED)
        self.assertIn("forest.jpg, forest.png", outcome.message)

    async def test_a_change_that_is_not_told(self) -> None:
        """While it waits for a name it asks by itself, too."""
        from msgspec import structs

        got = await self.begin()
        await until(lambda: self.report.told)
        self.node.started["1"] = structs.replace(self.node.started["1"], problem="two of them")
        self.assertIn("two of them", (await got).message)

    async def test_interrupted(self) -> None:
        """An interruption stops the download, and says what stays."""
        got = await self.begin()
        await until(lambda: self.report.told)
        self.node.change("1", state=DOWNLOADING, received=10)
        await until(lambda: "downloading" in self.report.told)
        got.cancel()
        await self.assertFailure(got, CancelledError)
        self.assertEqual(self.node.asked[-1], ("stop", "1"))
        (outcome,) = self.report.outcomes
        self.assertEqual(outcome.status, ExitStatus.INTERRUPTED)
        self.assertIn("stays in /share/.peershare for next time", outcome.message)

    async def test_interrupted_but_not_ours(self) -> None:
        """What somebody else had begun goes on when we leave."""
        self.node.start_download("forest", None)
        begin = self.node.asked.append
        self.node.start_download = lambda name, folder, **_: (
            begin(("start", name, folder)),
            self.node.started["1"],
        )[1]
        got = await self.begin()
        await until(lambda: self.report.told)
        got.cancel()
        await self.assertFailure(got, CancelledError)
        self.assertNotIn(("stop", "1"), self.node.asked)
        self.assertIn("goes on in the service", self.report.outcomes[0].message)

    async def test_stopped_by_somebody_else(self) -> None:
        """If another client stops it, that is said."""
        got = await self.begin()
        await until(lambda: self.report.told)
        self.node.stop_download("1")
        outcome = await got
        self.assertEqual(outcome.status, ExitStatus.FAILED)
        self.assertIn("stopped by somebody else", outcome.message)


class LossTests(ClientTestCase):
    async def test_service_goes_away(self) -> None:
        """The wish is repeated to the next service, and its download followed there."""
        second = self.second_service()
        await self.session.open()
        got = Deferred.fromCoroutine(self.follower.get("forest", "/tmp/x"))
        await until(lambda: self.report.told)
        await self.service.stopService()
        await until(lambda: second.started)
        self.assertEqual(second.asked, self.node.asked)
        await until(lambda: self.report.told.count("searching") == 2)
        second.change("1", state=DONE, path="/tmp/x/forest")
        self.assertEqual((await got).status, ExitStatus.DONE)
        self.assertIn("went away", self.said[0])

    async def test_nobody_is_left(self) -> None:
        """When no other service can be had, the name has failed, and the next one fails at once."""
        await self.session.open()
        got = Deferred.fromCoroutine(self.follower.get("forest", None))
        await until(lambda: self.report.told)
        await self.service.stopService()
        outcome = await got
        self.assertEqual(outcome.status, ExitStatus.FAILED)
        self.assertIn("no service any more", outcome.message)
        outcome = await self.follower.get("bee", None)
        self.assertEqual(outcome.status, ExitStatus.FAILED)

    async def test_interrupted_while_nobody_is_there(self) -> None:
        """An interruption ends the search for another service too."""
        waiting: Deferred[object] = Deferred()

        async def connect() -> object:
            return await waiting

        await self.session.open()
        self.hosting.connect = connect
        got = Deferred.fromCoroutine(self.follower.get("forest", None))
        await until(lambda: self.report.told)
        await self.service.stopService()
        await until(lambda: self.said)
        got.cancel()
        await self.assertFailure(got, CancelledError)

    async def test_close(self) -> None:
        """The end of the session ends the own node, and nothing is left of it."""
        await self.session.open()
        await self.session.close()
        self.assertEqual(self.hosting.closed, 1)
        await until(lambda: not self.node.observers)
