"""The first peer fails in every way there is; the second one gives the file."""

from __future__ import annotations

import socket
import time

from tests.integration.peers import ClassicPeersTestCase, Peer, picture
from tests.integration.scripted import (
    Answer,
    ScriptedPeer,
    SwallowingPeer,
    giving,
    reset,
    stalling,
)

FOREST = picture(1_000_003, 1)
CHUNK = 200_001


class FailoverTestCase(ClassicPeersTestCase):
    """Peer 2 downloads; peer 1 has everything; what it heard of first misbehaves."""

    def scripted(self, number: int, answer: Answer | None) -> ScriptedPeer:
        scripted = ScriptedPeer(number, self.ports, answer)
        self.addCleanup(scripted.close)
        return scripted

    def failing_first(self, scripted: ScriptedPeer, stem: str) -> tuple[Peer, Peer]:
        """The good peer and the downloading one, which heard of the bad one first."""
        self.peer(1).write(f"{stem}.png", FOREST)
        two = self.start(2).ready()
        scripted.announce(stem)
        two.wait_to_know(scripted.address, stem)
        one = self.start(1)
        two.wait_to_know(one.address, stem)
        return one, two

    def assert_fails_over(self, scripted: ScriptedPeer, reason: str) -> list[str]:
        """All five come whole, after a first failure for this reason; the notices of it."""
        one, two = self.failing_first(scripted, "forest")
        two.download("forest").wait(40.0)
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(two.failures()[0], (scripted.address, "forest_1", reason))
        arrived = [line for line in two.history("download") if line.result.startswith("ok")]
        self.assertIn(one.address, {line.address for line in arrived})
        return scripted.requests


class DeadTests(FailoverTestCase):
    def test_refused(self) -> None:
        """Nobody listens: the next one at once, and not asked again for every chunk."""
        scripted = self.scripted(3, None)
        _, two = self.failing_first(scripted, "forest")
        status = two.download("forest").wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(two.failures(), [(scripted.address, "forest_1", "refused")])
        # 50 ms on a machine that has time, see bench/failover.py
        self.assertLess(two.history("download")[0].seconds, 0.25)
        self.assertLess(status.elapsed_seconds, 3.0)

    def test_no_answer(self) -> None:
        """A dead host costs the connect timeout once."""
        scripted = SwallowingPeer(3, self.ports)
        self.addCleanup(scripted.close)
        _, two = self.failing_first(scripted, "forest")
        begun = time.monotonic()
        two.download("forest").wait()
        self.assertTrue(2.9 < time.monotonic() - begun < 6.0, time.monotonic() - begun)
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(two.failures(), [(scripted.address, "forest_1", "connect-timeout")])

    def test_killed_in_mid_transfer(self) -> None:
        """What came of the chunk is fetched again from the other, what was whole is not."""
        self.peer(3).write("forest.png", FOREST)
        one = self.start(1, "--upload-limit", "400k", forest_png=FOREST)
        two = self.start(2)
        two.wait_to_know(one.address, "forest")
        three = self.start(3)
        two.wait_to_know(three.address, "forest")
        running = two.download("forest")
        running.wait_until_moving(300_000)
        one.kill()
        running.wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(one.gave()[0], "forest_1")
        self.assertNotIn("forest_1", three.gave())
        self.assertIn("forest_5", three.gave())


class MisbehavingTests(FailoverTestCase):
    def test_resets(self) -> None:
        """Connections that are cut in the middle."""
        self.assert_fails_over(self.scripted(3, giving(FOREST[:5_000], reset)), "reset")

    def test_closes_without_a_byte(self) -> None:
        """How some classic peers say that they have not got it."""
        self.assert_fails_over(self.scripted(3, giving(b"")), "empty")

    def test_closes_short(self) -> None:
        """An end in order that comes too early, for every chunk but the first."""

        def answer(connection: socket.socket, name: str) -> None:
            number = int(name[-1]) - 1
            whole = FOREST[number * CHUNK : (number + 1) * CHUNK]
            giving(whole if number == 0 else whole[:-1_000])(connection, name)

        scripted = self.scripted(3, answer)
        _, two = self.failing_first(scripted, "forest")
        two.download("forest").wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(two.failures()[0], (scripted.address, "forest_2", "short"))

    def assert_outvoted(self, length: int) -> None:
        """A first reply of this length is let go of when others disagree with it."""

        def answer(connection: socket.socket, name: str) -> None:
            if name.endswith("_1"):
                giving(FOREST[:length])(connection, name)
            else:
                reset(connection)

        _, two = self.failing_first(self.scripted(3, answer), "forest")
        two.download("forest").wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertIn("forest_1 cannot belong to one file", two.log)

    def test_the_first_chunk_is_too_short(self) -> None:
        """Nothing is glued together that does not belong together."""
        self.assert_outvoted(100)

    def test_the_first_chunk_is_too_long(self) -> None:
        """Nor where its end would lie within the next chunk."""
        self.assert_outvoted(CHUNK + 1)

    def test_sends_too_much(self) -> None:
        """Every chunk but the first is far too long: dropped, and fetched from the other."""

        def answer(connection: socket.socket, name: str) -> None:
            first = name.endswith("_1")
            giving(FOREST[:CHUNK] if first else bytes(5 * CHUNK))(connection, name)

        scripted = self.scripted(3, answer)
        _, two = self.failing_first(scripted, "forest")
        two.download("forest").wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(two.failures()[0], (scripted.address, "forest_2", "surplus"))

    def test_stalls(self) -> None:
        """15 s without a byte; it is not asked again while the other gives."""
        scripted = self.scripted(3, stalling(FOREST[:5_000]))
        requests = self.assert_fails_over(scripted, "stalled")
        self.assertEqual(requests, ["forest_1"])

    def test_announces_what_it_lacks(self) -> None:
        """A service that is asked for what it has not says so with a reset."""
        self.peer(1).write("forest.png", FOREST)
        two, three = self.start(2), self.start(3)
        two.ready()
        liar = ScriptedPeer(3, self.ports, None)
        liar.announce("forest")
        two.wait_to_know(three.address, "forest")
        one = self.start(1)
        two.wait_to_know(one.address, "forest")
        two.download("forest").wait()
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertEqual(two.failures()[0], (three.address, "forest_1", "reset"))
        self.assertEqual(three.history("upload")[0].result.split(":")[0], "failed not-here")


class NobodyTests(FailoverTestCase):
    def test_everybody_fails(self) -> None:
        """The classic warning, one line per peer with its reason, and it goes on by itself."""
        self.peer(1).write("forest.png", FOREST)
        two = self.start(2).ready()
        bad = [self.scripted(3, giving(b"")), self.scripted(4, giving(b"x" * 10, reset))]
        for scripted in bad:
            scripted.announce("forest")
            two.wait_to_know(scripted.address, "forest")
        running = two.download("forest")
        status = running.wait_for(lambda status: status.state == "waiting")
        self.assertRegex(
            status.problem, r"^CHUNK forest_\d CANNOT BE DOWNLOADED FROM ONLINE PEERS."
        )
        self.assertIn("CHUNK forest_1 CANNOT BE DOWNLOADED FROM ONLINE PEERS.", two.log)
        self.assertIn(f"{bad[0].address}: closed without a byte", two.log)
        self.assertIn(f"{bad[1].address}: cut the connection after 10 bytes", two.log)
        self.start(1)
        running.wait(40.0)
        self.assert_fetched(two, "forest.png", FOREST)

    def test_two_contents_of_one_name(self) -> None:
        """The first one goes in the middle: the other is fetched whole, never a mixture."""
        other = picture(600_000, 7)
        self.peer(3).write("forest.png", FOREST)
        one = self.start(1, "--upload-limit", "200k", forest_png=other)
        two = self.start(2)
        two.wait_to_know(one.address, "forest")
        three = self.start(3)
        two.wait_to_know(three.address, "forest")
        running = two.download("forest")
        running.wait_until_moving(130_000)
        one.kill()
        running.wait(40.0)
        self.assert_fetched(two, "forest.png", FOREST)
        self.assertIn("two contents of one name", two.log)
