"""Downloads from classic peers: every dialect, from uploaders that die of any carelessness."""

from __future__ import annotations

from functools import partial

from tests.lab.classic_hosts import split
from tests.lab.processes import wait_until
from tests.lab.story import LabTestCase, picture

# Stem -> pattern of the names, first number, flags of the announcer, flags of the uploader.
DIALECTS = {
    "oak": ("oak_{}", 1, (), ()),
    "elm": (
        "elm.png_{}",
        1,
        ("--key", "files", "--before", "username=ann"),
        ("--key", "requested content"),
    ),
    "fir": (
        "fir_{}.png",
        1,
        ("--shape", "object", "--after", "filename=fir"),
        ("--key", "requested-content"),
    ),
    "yew": ("yew {}", 1, (), ("--port", "8000")),
    "ash": ("ash.png_{}", 0, ("--after", "username=ben"), ()),
}


class EveryDialectTests(LabTestCase):
    hosts = 6

    def test_each_is_understood_and_survives(self) -> None:
        """Five classic peers in five dialects: all they share arrives, and all of them live."""
        one = self.peershare(1)
        self.ready()
        contents = {stem: picture(50_000 + 7 * len(stem), ord(stem[0])) for stem in DIALECTS}
        for number, stem in enumerate(DIALECTS, 2):
            self.start_one(number, stem, contents[stem])
        wait_until(lambda: self.all_known(one.dictionary()), lambda: str(one.dictionary()))
        for number, host in enumerate(self.classics):  # not before: `files` kills listeners
            host.listen("--buffer", ("1024", "2048", "4096")[number % 3])
        download = one.get(*DIALECTS)
        self.assertEqual(download.wait(40), 0, download.describe())
        for stem, data in contents.items():
            self.got(one, download, f"{stem}.png", data)
        self.assertEqual(one.downloads(ok=False), [])
        self.assertEqual(len(one.downloads()), 25)
        self.asked_in_their_own_words()
        for host in self.classics:
            wait_until(partial(host.told, "oak_1"), "what arrived to be told on")
        self.all_is_well()

    def start_one(self, number: int, stem: str, data: bytes) -> None:
        """A classic peer with all its parts, and junk in its folder."""
        pattern, first, announcer, uploader = DIALECTS[stem]
        host = self.classic(number, pattern, data, first)
        (host.chunks / ".DS_Store").write_bytes(b"junk")
        (host.chunks / "content_dictionary.txt").write_text("{}")
        host.upload(*uploader)
        host.announce(*announcer)

    def all_known(self, dictionary: dict[str, list[str]]) -> bool:
        """Whether every content has its address, whatever its names are in the dictionary."""
        known = {address for addresses in dictionary.values() for address in addresses}
        return known == {host.address for host in self.classics}

    def asked_in_their_own_words(self) -> None:
        """Each uploader was asked for its five names, once, and for nothing else."""
        for host, (pattern, first, _, _) in zip(self.classics, DIALECTS.values(), strict=True):
            wanted = [pattern.format(first + index) for index in range(5)]
            self.assertEqual(host.asked(), wanted)


class CarefulDownloadTests(LabTestCase):
    hosts = 3

    def test_one_connection_at_a_time_to_one_classic_peer(self) -> None:
        """Two downloads from one classic peer take turns, whoever wants them."""
        one = self.peershare(1)
        self.ready()
        forest, bee = picture(60_000, 1), picture(60_000, 2)
        host = self.classic(2, "forest_{}", forest)
        split(bee, "bee_{}", host.chunks)
        host.upload("--rate", "60000")
        host.announce()
        one.wait_to_know(host.address, "forest", "bee")
        downloads = [one.get("forest"), one.get("bee")]
        self.got(one, downloads[0], "forest.png", forest)
        self.got(one, downloads[1], "bee.png", bee)
        wanted = [f"{stem}_{number}" for stem in ("bee", "forest") for number in range(1, 6)]
        self.assertEqual(sorted(host.asked()), wanted)
        self.all_is_well()

    def test_zero_based_where_it_was_told_so_and_nowhere_else(self) -> None:
        """One peer counts from 0, another from 1: each is asked for its own numbers."""
        forest = picture(200_000)
        one = self.peershare(1)
        self.ready()
        zero = self.classic(2, "forest.png_{}", forest, first=0)
        first = zero.upload("--rate", "40000")
        zero.announce()
        wait_until(one.dictionary, "the first to be heard")
        usual = self.classic(3, "forest.png_{}", forest, first=1)
        usual.upload()
        usual.announce()
        wait_until(lambda: usual.address in str(one.dictionary()), "the second to be heard")
        download = one.get("forest.png")
        self.meanwhile(download, lambda: len(zero.asked()) == 3)
        zero.lose(first)
        self.got(one, download, "forest.png", forest)
        self.assertEqual(zero.asked(), ["forest.png_0", "forest.png_1", "forest.png_2"])
        self.assertEqual(usual.asked(), ["forest.png_3", "forest.png_4", "forest.png_5"])
        self.all_is_well()
