"""The page's files: what is served, under which type, and nothing else."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from peershare.control.pagefiles import (
    BAD_CODE_PAGE,
    CLOSED_PAGE,
    OPENED_PAGE,
    load_page_files,
)


class PageFilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_types(self) -> None:
        """Each kind of file has the type by which a browser takes it."""
        for name in ("index.html", "a.js", "b.css", "c.svg"):
            (self.folder / name).write_text(name)
        files = load_page_files(self.folder)
        self.assertEqual(files["a.js"].kind, b"text/javascript; charset=utf-8")
        self.assertEqual(files["b.css"].kind, b"text/css; charset=utf-8")
        self.assertEqual(files["c.svg"].kind, b"image/svg+xml")
        self.assertEqual(files["index.html"].data, b"index.html")

    def test_nothing_else(self) -> None:
        """What has no such kind is not served: sources, folders, hidden files, backups."""
        for name in ("a.py", "a.js~", ".html", "notes", "a.js.map"):
            (self.folder / name).write_text("x")
        (self.folder / "sub.js").mkdir()
        self.assertEqual(load_page_files(self.folder), {})

    def test_no_folder(self) -> None:
        """Without a folder there is no page, and no error."""
        self.assertEqual(load_page_files(self.folder / "nowhere"), {})

    def test_etag(self) -> None:
        """It follows the bytes."""
        path = self.folder / "a.js"
        path.write_text("1")
        first = load_page_files(self.folder)["a.js"].etag
        self.assertEqual(load_page_files(self.folder)["a.js"].etag, first)
        path.write_text("2")
        self.assertNotEqual(load_page_files(self.folder)["a.js"].etag, first)
        self.assertRegex(first.decode(), '^"[0-9a-f]{32}"$')

    def test_small_pages(self) -> None:
        """They need nothing that the strict policy forbids, and show nothing of the node."""
        for page in (CLOSED_PAGE, BAD_CODE_PAGE, OPENED_PAGE):
            for forbidden in (b"<script", b"<style", b"style=", b"<img", b"http:", b"https:"):
                self.assertNotIn(forbidden, page)
        self.assertIn(b"peershare open", CLOSED_PAGE)
        self.assertIn(b"peershare open", BAD_CODE_PAGE)
