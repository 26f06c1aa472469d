"""The guest site: the list, refusals that tell nothing, and what stands in every head."""

from __future__ import annotations

from msgspec import structs

from peershare.guest import offers, pages
from tests.guest.world import BLOCK, TOKEN, Answer, GuestTestCase

PAGE = f"/{TOKEN}/"


class PrivateTests(GuestTestCase):
    def test_one_404(self) -> None:
        """Whatever is not there, or is asked without the token, gets the very same answer."""
        self.content("a.bin", b"a" * 10)
        link = self.link("a.bin")
        expected = self.get("/")
        self.assertEqual(expected.status, 404)
        for path in (
            *("/x", "//", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"//{TOKEN}/", "/favicon.ico"),
            *(f"{PAGE}x", f"{PAGE}x/y", f"{PAGE}../x", f"{PAGE}%2e%2e/", f"{link}x", f"{link}/"),
            *(link.replace(TOKEN, "x"), f"{PAGE}{'0' * 64}/a.bin", f"{PAGE}..%2f..%2fetc/passwd"),
            *(f"{PAGE}guest.html", f"{PAGE}page/guest.css", "/%00", "/%ff%fe/"),
        ):
            self.assertEqual(self.get(path), expected, path)
            self.assertEqual(self.get(path, "HEAD").headers, expected.headers, path)
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
            self.assertEqual(self.get("/x/upload", method), expected, method)

    def test_methods(self) -> None:
        """With the token, a wrong method is called that."""
        for path, method, allowed in (
            (PAGE, "DELETE", "GET, HEAD"),
            (f"{PAGE}upload", "GET", "POST"),
            (f"{PAGE}guest.js", "POST", "GET, HEAD"),
        ):
            answer = self.get(path, method)
            self.assertEqual((answer.status, answer.headers["allow"]), (405, allowed))

    def test_without_the_slash(self) -> None:
        """The token alone leads to the page."""
        answer = self.get(f"/{TOKEN}")
        self.assertEqual((answer.status, answer.headers["location"]), (308, PAGE))

    def test_nonsense(self) -> None:
        """What is no HTTP is told so, and the connection ended."""
        guest = self.open().send(b"\x16\x03\x01\x02\x00\r\n\r\n")
        self.assertEqual(guest.answer.status, 400)
        self.assertTrue(guest.ended)


class HeadTests(GuestTestCase):
    def check_every(self, answer: Answer) -> None:
        headers = answer.headers
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["x-frame-options"], "DENY")
        self.assertEqual(headers["referrer-policy"], "no-referrer")
        self.assertEqual(headers["connection"], "close")
        self.assertIn("default-src 'none'", headers["content-security-policy"])
        self.assertIn("frame-ancestors 'none'", headers["content-security-policy"])
        self.assertEqual(headers["date"], "Mon, 21 Sep 2026 14:13:20 GMT")

    def test_pages(self) -> None:
        """Pages run our own script alone, and nothing keeps them."""
        for path, kind in (
            (PAGE, "text/html"),
            ("/", "text/html"),
            (f"{PAGE}guest.css", "text/css"),
            (f"{PAGE}guest.js", "text/javascript"),
        ):
            answer = self.get(path)
            self.check_every(answer)
            self.assertEqual(answer.headers["content-type"], f"{kind}; charset=utf-8")
            self.assertEqual(answer.headers["cache-control"], "no-store")
            self.assertNotIn("unsafe", answer.headers["content-security-policy"])
            self.assertEqual(int(answer.headers["content-length"]), len(answer.body))
            head = self.get(path, "HEAD")
            self.assertEqual((head.headers, head.body), (answer.headers, b""))

    def test_files(self) -> None:
        """A file is saved, never shown, whatever it claims to be."""
        self.content("page.html", b"<script>alert(1)</script>")
        answer = self.get(self.link("page.html"))
        self.check_every(answer)
        self.assertEqual(answer.headers["content-type"], "application/octet-stream")
        self.assertIn("attachment", answer.headers["content-disposition"])
        self.assertTrue(answer.headers["content-security-policy"].startswith("sandbox;"))
        self.assertEqual(answer.headers["accept-ranges"], "bytes")


class ListTests(GuestTestCase):
    def page(self, query: str = "") -> str:
        answer = self.get(f"{PAGE}{query}")
        self.assertEqual(answer.status, 200)
        return answer.body.decode()

    def test_says_what_it_is(self) -> None:
        """It is plain HTTP, and that is said."""
        self.assertIn("plain HTTP", self.page())
        self.assertIn("could read along", self.page())
        self.assertIn("Nothing yet", self.page())

    def test_names(self) -> None:
        """Names are text, whatever they are made of; the link leads to the very file."""
        name = '<img src=x onerror=alert(1)>"\u202egnp.\r\n.exe'
        self.plain(name, b"some bytes")
        page = self.page()
        self.assertNotIn("<img", page)
        self.assertNotIn("\u202e", page)
        self.assertIn("&lt;img", page)
        link = page.split('href="')[2].split('"')[0]
        answer = self.get(f"{PAGE}{link}")
        self.assertEqual(answer.body, b"some bytes")
        self.assertNotIn("onerror", "".join(answer.headers))
        self.assertIn("_gnp._x0d_x0a.exe", answer.headers["content-disposition"])

    def test_sorted_and_sized(self) -> None:
        """By name, with sizes; what is arriving says how far it is."""
        self.content("b.bin", b"x" * 1_500)
        self.content("A.bin", bytes(4 * BLOCK), [0, 1])
        self.plain("c.bin", b"")
        page = self.page()
        self.assertLess(page.index("A.bin"), page.index("b.bin"))
        self.assertLess(page.index("b.bin"), page.index("c.bin"))
        self.assertIn("1.5 kB", page)
        self.assertIn("0 bytes", page)
        self.assertIn("still arriving here (50 %)", page)

    def test_search_and_pages(self) -> None:
        """A long list comes in pages, and can be searched."""
        file = self.plain("one.bin", b"x")
        for number in range(450):
            name = f"name {number}.bin"
            self.library.plain[name] = structs.replace(file, key=name, name=name)
        del self.library.plain["one.bin"]
        self.library.changed()
        self.reactor.advance(1)
        first, last = self.page(), self.page("?page=3")
        self.assertEqual((first.count("<li>"), last.count("<li>")), (200, 50))
        self.assertIn("Page 1 of 3, 450 files", first)
        self.assertIn("?page=2", first)
        self.assertNotIn("?page=4", last)
        self.assertEqual(self.page("?find=NAME+44").count("<li>"), 11)
        self.assertIn("nothing of this name", self.page('?find=<b>"'))
        self.assertIn("&lt;b&gt;&quot;", self.page('?find=<b>"'))
        for odd in ("?page=0", "?page=-1", "?page=999999", "?page=9999999", "?page=x", "?&&&=&;"):
            self.assertIn("450 files", self.page(odd), odd)
        self.assertIn("450 files", self.page("?" + "a=b&" * 200))

    def test_very_many(self) -> None:
        """The list has an end, which is told; a link beyond it is good all the same."""
        self.patch(offers, "MOST_LISTED", 3)
        self.patch(pages, "MOST_LISTED", 3)
        for number in range(5):
            self.content(f"{number}.bin", bytes([number]))
        page = self.page()
        self.assertEqual(page.count("<li>"), 3)
        self.assertIn("No more than 3 files are listed", page)
        last = self.library.catalogue()[4]
        self.assertNotIn(last.name, page)
        answer = self.get(f"{PAGE}{last.id[3:]}/{last.name}")
        self.assertEqual((answer.status, answer.body), (200, bytes([4])))
        self.assertEqual(self.get(f"{PAGE}{last.id[3:]}/other.bin").status, 404)

    def test_list_is_kept_for_a_moment(self) -> None:
        """However often it is asked for, it is made once a second at most."""
        made: list[int] = []
        self.patch(self.library, "catalogue", lambda: made.append(1) or ())
        self.library.changed()
        for _ in range(5):
            self.page()
            self.library.changed()
        self.assertEqual(len(made), 1)
        self.reactor.advance(1)
        self.page()
        self.assertEqual(len(made), 2)


class ClosedTests(GuestTestCase):
    uploads = False

    def test_no_uploads(self) -> None:
        """Where nothing is taken there is no form, no script, and no path for it."""
        answer = self.get(PAGE)
        self.assertNotIn(b"upload", answer.body)
        self.assertNotIn(b"<script", answer.body)
        self.assertEqual(self.get(f"{PAGE}upload", "POST").status, 404)
