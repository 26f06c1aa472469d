"""What peershare tells fragile listeners: large folders, one stem twice, odd names."""

from __future__ import annotations

from tests.lab.processes import wait_until
from tests.lab.rules import names_in
from tests.lab.story import LabTestCase, picture, wait_for_names

FILES = 300
ODD_AND_TOLD = ("B\u00e4ume.png", "two words.png", "\u732b.png", "dots.in.name.png", "a'b\"c.png")
ODD_AND_LEFT_OUT = ("a:b.png", "tab\tname.png", "bell\x07.png", "x" * 200 + ".png")
TOO_SMALL = (0, 1, 2, 3, 4, 6, 7, 8, 11, 12, 16)


class AnnouncingTests(LabTestCase):
    hosts = 4

    def test_a_large_folder_harms_nobody(self) -> None:
        """300 files: every listener lives and hears all of it, in datagrams that are filled."""
        once, replacing, lines = (self.classic(number) for number in (2, 3, 4))
        once.listen("--buffer", "1024")
        replacing.listen("--buffer", "2048", "--keep", "replace")
        lines.listen("--buffer", "4096", "--form", "lines", "--keep", "duplicates")
        self.peershare(
            1, **{f"picture-{number}_png": picture(1_000, number) for number in range(FILES)}
        )
        self.ready()
        wait_for_names(once, 5 * FILES)
        wait_for_names(replacing, 5 * FILES)
        wait_until(lambda: lines.told("picture-299_5"), "the one with lines")
        sizes = {}
        for datagram in self.announcements():
            payload = bytes.fromhex(datagram.payload)
            sizes[tuple(names_in(payload))] = len(payload)
        whole = sorted(sizes.values())[-10:]
        self.assertGreater(min(whole), 900, "datagrams that could hold more")
        self.all_is_well()

    def test_two_files_with_one_stem(self) -> None:
        """The one that was there first keeps the short names; the other has longer ones."""
        forest, other = picture(20_000, 1), b"\xff\xd8\xff\xe0" + picture(30_000, 2)
        one = self.peershare(1, forest_png=forest)
        two = self.peershare(2)
        host = self.classic(3)
        host.listen("--buffer", "1024")
        self.ready()
        two.wait_to_know(one.address, "forest")
        (one.share / "forest.jpg").write_bytes(other)
        wait_until(lambda: host.told("forest.jpg_5"), "the second file")
        self.fetched(host, host.fetch("forest_{}"), "forest_{}", forest)
        self.fetched(host, host.fetch("forest.jpg_{}"), "forest.jpg_{}", other)
        two.wait_to_know(one.address, "forest.jpg")
        self.got(two, two.get("forest.jpg"), "forest.jpg", other)
        self.got(two, two.get("forest.png"), "forest.png", forest)
        self.all_is_well()

    def test_odd_names(self) -> None:
        """What the classic world can hold is told; the rest is left out, and the log says so."""
        host = self.classic(2)
        host.listen("--buffer", "1024", "--form", "lines")
        one = self.peershare(1)
        two = self.peershare(3)
        for number, name in enumerate((*ODD_AND_TOLD, *ODD_AND_LEFT_OUT)):
            (one.share / name).write_bytes(picture(5_000, number))
        for size in TOO_SMALL:
            (one.share / f"small{size}.bin").write_bytes(picture(size))
        (one.share / ".hidden.png").write_bytes(picture(5_000))
        self.ready()
        stems = [name.rpartition(".")[0] for name in ODD_AND_TOLD]
        two.wait_to_know(one.address, *stems)
        told = {name.rpartition("_")[0] for name in two.dictionary()}
        self.assertEqual(told, set(stems))
        download = two.get("B\u00e4ume", "\u732b.png")
        self.got(two, download, "B\u00e4ume.png", picture(5_000, 0))
        self.got(two, download, "\u732b.png", picture(5_000, 2))
        said = one.running.output + one.running.errors
        for word in ("a:b", "x" * 50, "small16.bin"):
            self.assertIn(word, said)
        self.assertNotIn("\x07", said)
        self.all_is_well()
