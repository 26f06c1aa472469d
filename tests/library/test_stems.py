"""Stems: unique, persistent, and given to the one announced first."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare.dictionary import LIFETIME_SECONDS
from peershare.errors import StorageError
from peershare.library.index import Index
from peershare.library.stems import Stems

NOW = 1_000.0


class StemsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.index = Index(folder)
        self.addCleanup(self.index.close)
        self.stems = Stems(self.index)

    def assign(self, *names: str, now: float = NOW) -> dict[str, str]:
        return self.stems.assign([(name, name) for name in names], now)

    def get(self, *keys: str) -> list[str | None]:
        return [self.stems.get(key) for key in keys]


class AssigningTests(StemsTestCase):
    def test_the_name_without_extension(self) -> None:
        """`forest.png` is told as forest_1 … forest_5."""
        self.assertEqual(self.assign("forest.png", "v1.2"), {})
        self.assertEqual(self.get("forest.png", "v1.2"), ["forest", "v1.2"])

    def test_the_second_of_a_stem_keeps_its_extension(self) -> None:
        """The one announced first keeps STEM_n, the other is told as STEM.EXT_n."""
        self.assign("forest.png", "forest.jpg")
        self.assertEqual(self.get("forest.png", "forest.jpg"), ["forest", "forest.jpg"])

    def test_first_announced_is_first_assigned(self) -> None:
        """Not the alphabet decides, but who came first."""
        self.assign("forest.png")
        self.assign("forest.jpg")
        self.assertEqual(self.get("forest.png", "forest.jpg"), ["forest", "forest.jpg"])

    def test_even_the_full_name_may_be_taken(self) -> None:
        """Then a number makes it unique."""
        self.stems.assign([("1", "forest.png"), ("2", "forest.png"), ("3", "forest.png")], NOW)
        stems = self.get("1", "2", "3")
        self.assertEqual(stems[:2], ["forest", "forest.png"])
        self.assertEqual(len(set(stems)), 3)

    def test_assigning_again_changes_nothing(self) -> None:
        """A key keeps its stem."""
        self.assign("forest.png")
        self.assign("forest.jpg", "forest.png")
        self.assertEqual(self.get("forest.png"), ["forest"])

    def test_what_classic_peers_cannot_take(self) -> None:
        """A stem that is too long, or breaks a dictionary file, is refused with the reason."""
        refused = self.assign("a:b.png", "x" * 197 + ".png", "x" * 196 + ".jpg")
        self.assertEqual(set(refused), {"a:b.png", "x" * 197 + ".png"})
        self.assertIn(":", refused["a:b.png"])
        self.assertEqual(self.get("a:b.png"), [None])

    def test_order_of_announcement(self) -> None:
        """The oldest announced come first, over restarts too."""
        self.assign("z.png")
        self.assign("a.png", "m.png")
        order = [key for key, _ in Stems(self.index).items()]
        self.assertEqual(order, ["z.png", "a.png", "m.png"])

    def test_a_failing_disk_assigns_nothing(self) -> None:
        """What cannot be remembered is not told."""
        self.index.close()
        self.assertRaises(StorageError, self.assign, "forest.png")
        self.assertEqual(self.get("forest.png"), [None])


class PersistenceTests(StemsTestCase):
    def restarted(self) -> Stems:
        self.stems = Stems(self.index)
        return self.stems

    def test_over_a_restart(self) -> None:
        """The file that was told as forest is told as forest again, whatever came meanwhile."""
        self.assign("forest.png")
        self.restarted()
        self.assign("forest.jpg", "forest.png")
        self.assertEqual(self.get("forest.png", "forest.jpg"), ["forest", "forest.jpg"])

    def test_a_file_that_went_while_we_were_down(self) -> None:
        """Its stem is free at once: no dictionary remembers it."""
        self.assign("forest.png")
        self.restarted()
        self.assign("forest.jpg")
        self.assertEqual(self.get("forest.png", "forest.jpg"), [None, "forest"])


class GoneTests(StemsTestCase):
    def test_a_file_that_comes_back(self) -> None:
        """It has its stem again."""
        self.assign("forest.png")
        self.stems.gone("forest.png", NOW)
        self.assign("forest.png", now=NOW + 1_000)
        self.assign("forest.jpg", now=NOW + 2_000)
        self.assertEqual(self.get("forest.png", "forest.jpg"), ["forest", "forest.jpg"])

    def test_not_given_away_while_dictionaries_remember(self) -> None:
        """For 180 s somebody may ask for the chunks of the file that went."""
        self.assign("forest.png")
        self.stems.gone("forest.png", NOW)
        self.assign("forest.jpg", now=NOW + LIFETIME_SECONDS - 1)
        self.assertEqual(self.get("forest.jpg"), ["forest.jpg"])

    def test_given_away_afterwards(self) -> None:
        """Then the stem belongs to whoever comes."""
        self.assign("forest.png")
        self.stems.gone("forest.png", NOW)
        self.assign("forest.jpg", "forest.gif", now=NOW + LIFETIME_SECONDS)
        self.assertEqual(self.get("forest.jpg", "forest.gif"), ["forest", "forest.gif"])
        self.assertEqual(self.index.stems(), {"forest.jpg": "forest", "forest.gif": "forest.gif"})

    def test_going_without_a_stem(self) -> None:
        """What was never told can go without a trace."""
        self.stems.gone("tiny.txt", NOW)
        self.assertEqual(list(self.stems.items()), [])


class RenamingTests(StemsTestCase):
    def test_a_part_becomes_a_file(self) -> None:
        """It stays known by the stem it was told under."""
        self.stems.assign([("part:1", "wood")], NOW)
        self.stems.rename("part:1", "wood.png")
        self.assertEqual(self.get("part:1", "wood.png"), [None, "wood"])
        self.assertEqual(Stems(self.index).get("wood.png"), "wood")

    def test_over_a_key_that_has_a_stem(self) -> None:
        """The file's former stem is free."""
        self.stems.assign([("part:1", "forest"), ("forest.png", "forest.png")], NOW)
        self.assertEqual(self.get("forest.png"), ["forest.png"])
        self.stems.rename("part:1", "forest.png")
        self.assertEqual(self.get("forest.png"), ["forest"])
        self.assign("forest.png.txt")
        self.assertEqual(self.get("forest.png.txt"), ["forest.png"])

    def test_a_part_that_was_never_told(self) -> None:
        """There is nothing to keep."""
        self.stems.rename("part:1", "forest.png")
        self.assertEqual(self.get("forest.png"), [None])
