"""Classic clients download from peershare: each kind of them, to the last byte."""

from __future__ import annotations

from functools import partial

from tests.lab.processes import wait_until
from tests.lab.story import LabTestCase, picture

# A chunk of the small one fits into one segment: more may come in two, whatever the sender does.
SMALL, LARGE = picture(7_003, 1), picture(3_000_001, 2)


class EveryClientTests(LabTestCase):
    def test_each_kind_gets_every_byte(self) -> None:
        """One recv or to the end, five keys, split requests: all are served, at once too."""
        one = self.peershare(1, forest_png=SMALL, bee_png=LARGE)
        self.ready()
        hasty, patient, strange, wordy = (self.classic(number) for number in range(2, 6))
        self.listen_until_told(one.address)
        self.fetched(hasty, hasty.fetch("forest_{}", "--read", "once"), "forest_{}", SMALL)
        spaced = ("--form", "lines", "--key", "requested content", "--parts", "3")
        dashed = ("--key", "requested-content", "--half-close", "--tail", "\n")
        named = ("--key", "filename", "--ask", "bee.png_{}", "--parts", "40")
        running = [
            (patient, patient.fetch("bee_{}", *spaced)),
            (strange, strange.fetch("bee_{}", *dashed)),
            (wordy, wordy.fetch("bee_{}", *named)),
        ]
        for host, process in running:
            self.fetched(host, process, "bee_{}", LARGE)
        chunked = hasty.fetch("forest_{}", "--key", "chunk", "--ask", "forest_{}.png")
        self.fetched(hasty, chunked, "forest_{}", SMALL)
        wait_until(lambda: len(one.uploads()) == 25, lambda: str(one.uploads()))
        self.assertEqual(one.uploads(ok=False), [])
        self.all_is_well()

    def listen_until_told(self, address: str) -> None:
        """Start the four kinds of listeners, and make the service tell again what it has."""
        hasty, patient, strange, wordy = self.classics
        hasty.listen("--buffer", "1024")
        patient.listen("--buffer", "2048", "--form", "lines")
        strange.listen("--buffer", "4096", "--keep", "replace")
        wordy.listen("--buffer", "1024", "--keep", "duplicates")
        self.peers[0].share.joinpath("ten.png").write_bytes(picture(10))
        for host in self.classics:
            wait_until(partial(host.told, "ten_5"), f"{address} to be heard")


class UnluckyClientTests(LabTestCase):
    hosts = 3

    def test_a_reset_sends_it_to_the_next_address(self) -> None:
        """A chunk that is gone is answered with a reset: the second source gives it."""
        one = self.peershare(1, forest_png=SMALL)
        self.ready()
        host = self.classic(3)
        host.listen()
        (one.share / "ten.png").write_bytes(picture(10))
        wait_until(lambda: host.told("forest_5"), "the first source to be heard")
        two = self.peershare(2, forest_png=SMALL)
        wait_until(lambda: two.address in host.known("forest_5"), "the second source")
        (one.share / "forest.png").unlink()
        fetch = host.fetch("forest_{}")
        self.fetched(host, fetch, "forest_{}", SMALL)
        self.assertEqual(fetch.output.count("Connection reset"), 5, fetch.output)
        self.assertEqual(fetch.output.count(f"downloaded from {two.address}"), 5)
        self.all_is_well()

    def test_one_that_leaves_early_does_no_harm(self) -> None:
        """It takes what one recv gave and goes: an upload cut short, and the next is served."""
        one = self.peershare(1, bee_png=LARGE)
        self.ready()
        host = self.classic(2)
        host.listen()
        (one.share / "ten.png").write_bytes(picture(10))
        wait_until(lambda: host.told("ten_5"), "the source to be heard")
        self.assertEqual(host.fetch("bee_{}", "--read", "once").wait(), 0)
        wait_until(lambda: len(one.uploads(ok=False)) == 5, lambda: str(one.uploads()))
        self.fetched(host, host.fetch("bee_{}"), "bee_{}", LARGE)
        self.all_is_well()
