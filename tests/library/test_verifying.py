"""Verifying: hashing shared files anew shows what changed, and then that is offered."""

from __future__ import annotations

import os
from pathlib import Path

from peershare.content.blocks import MIN_BLOCK_BYTES
from peershare.content.manifest import manifest_of
from peershare.library import filehash, verifying
from peershare.status import VerifyResult
from tests.library.test_contents import DATA, ContentsTestCase, entry


class VerifyTests(ContentsTestCase):
    def verify(self, name: str | None = None) -> dict[str, VerifyResult]:
        """What it shows, by name."""
        verifying = self.library.verify(name)
        self.settle()
        results = self.successResultOf(verifying)
        self.assertEqual(len({result.path for result in results}), len(results))
        return {result.name: result for result in results}

    def states(self, name: str | None = None) -> dict[str, str]:
        return {name: result.state for name, result in self.verify(name).items()}

    def change_unseen(self, path: Path, data: bytes) -> None:
        """Other bytes under the same size and time, as a failing disk leaves them."""
        status = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def test_unchanged(self) -> None:
        """Nothing is told to anybody."""
        path = self.file("forest.png")
        self.start()
        changes = self.changes
        wanted = VerifyResult(
            name="forest.png",
            path=str(path),
            id=manifest_of(DATA).content_id,
            state="unchanged",
            size=len(DATA),
            detail="",
        )
        self.assertEqual(self.verify(), {"forest.png": wanted})
        self.assertEqual(self.changes, changes)

    def test_by_name(self) -> None:
        """A file name, or the stem that it is told under; what there is none of is no error."""
        for name in ("forest.png", "forest.jpg", "bee.png"):
            self.file(name, name.encode())
        self.start()
        self.assertEqual(set(self.states("forest.png")), {"forest.png"})
        self.assertEqual(set(self.states("forest")), {"forest.jpg"})
        self.assertEqual(self.states("nothing"), {})
        self.assertEqual(len(self.states()), 3)

    def test_bytes_that_changed_unseen(self) -> None:
        """It is said, and from then on it is offered as what it is: wrong bytes never are."""
        path = self.file("forest.png")
        self.start()
        self.change_unseen(path, b"0123x56789")
        result = self.verify()["forest.png"]
        self.assertEqual(result.state, "changed")
        self.assertIn("disk", result.detail)
        self.assertEqual(result.id, manifest_of(b"0123x56789").content_id)
        self.assertEqual(self.catalogue(), [entry("forest.png", b"0123x56789")])
        self.assertIsNone(self.library.find_content(manifest_of(DATA).content_id))
        self.restart()
        self.assertEqual(self.catalogue(), [entry("forest.png", b"0123x56789")])
        self.assertEqual(self.hashers.waiting, [])
        self.assertEqual(self.states(), {"forest.png": "unchanged"})

    def test_changed_a_moment_ago(self) -> None:
        """The next scan finds it, and it comes at once."""
        path = self.file("forest.png")
        self.start()
        path.write_bytes(b"something else")
        result = self.verify()["forest.png"]
        self.assertEqual((result.state, result.size), ("changed", 14))
        self.assertEqual(self.catalogue(), [entry("forest.png", b"something else")])

    def test_not_hashed_before(self) -> None:
        """It is new; what this gave is kept, and the file is not hashed once more."""
        self.file("forest.png")
        self.library.startService()
        self.workers.do_all()
        verifying = self.library.verify()
        self.assertEqual(self.hashers.waiting, ["hash_files"] * 2)
        self.settle()
        self.assertEqual([r.state for r in self.successResultOf(verifying)], ["new"])
        self.assertEqual(self.catalogue(), [entry("forest.png")])

    def test_gone_or_unreadable(self) -> None:
        """It is said what is the matter."""
        gone, unreadable = self.file("gone.png"), self.file("pipe.png")
        self.start()
        gone.unlink()
        unreadable.unlink()
        os.mkfifo(unreadable)
        results = self.verify()
        self.assertEqual({r.state for r in results.values()}, {"unreadable"})
        self.assertIn("no regular file", results["pipe.png"].detail)
        self.assertIn("went", results["gone.png"].detail)
        self.assertEqual([result.id for result in results.values()], ["", ""])
        self.assertEqual(self.catalogue(), [])

    def test_large_and_small_in_order(self) -> None:
        """Whatever way they are hashed, they are told in the order of the library."""
        self.patch(filehash, "SLICE_BYTES", 2 * MIN_BLOCK_BYTES)
        self.patch(verifying, "SLICE_BYTES", 2 * MIN_BLOCK_BYTES)
        self.patch(verifying, "_BATCH_FILES", 3)
        sizes = (1, 2, 500_000, 3, 4, 5, 6, 300_000, 200_000, 7, 0)
        for number, size in enumerate(sizes):
            self.file(f"{number:02}", bytes([number]) * size)
        self.start()
        states = self.states()
        self.assertEqual(list(states), [f"{number:02}" for number in range(len(sizes))])
        self.assertEqual(set(states.values()), {"unchanged"})

    def test_gone_while_it_was_hashed(self) -> None:
        """What a scan said meanwhile holds."""
        path = self.file("forest.png")
        self.library.startService()
        self.workers.do_all()
        verifying = self.library.verify()
        while "hash_files" in self.hashers.waiting[:1]:
            self.hashers.do_one()
        path.unlink()
        self.settle()
        self.rescan()
        self.successResultOf(verifying)
        self.assertEqual(self.catalogue(), [])

    def test_stopped_in_the_middle(self) -> None:
        """It fires, and changes nothing."""
        self.file("forest.png")
        self.start()
        verifying = self.library.verify()
        self.library.stopService()
        self.settle()
        self.assertEqual(len(self.successResultOf(verifying)), 1)
