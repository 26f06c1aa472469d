"""Names on their way to a browser."""

from __future__ import annotations

from email.message import EmailMessage
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.guest.naming import disposition, in_link, shown_name


class NamingTests(SynchronousTestCase):
    def test_disposition(self) -> None:
        """Both forms, for browsers of today and for whatever is older."""
        self.assertEqual(
            disposition("a b.png"), "attachment; filename=\"a b.png\"; filename*=UTF-8''a%20b.png"
        )
        self.assertEqual(
            disposition('für "x" 50%.txt'),
            'attachment; filename="f_r _x_ 50_.txt";'
            " filename*=UTF-8''f%C3%BCr%20%22x%22%2050%25.txt",
        )

    def test_no_header_is_made(self) -> None:
        """A line end in a name ends nothing."""
        value = disposition("a\r\nSet-Cookie: x=y\r\n\r\n<script>.txt")
        self.assertNotIn("\r", value)
        self.assertNotIn("\n", value)
        self.assertIn("a_x0d_x0aSet-Cookie", value)

    def test_made_to_mislead(self) -> None:
        """What hides or turns letters around is visible in the name that is saved."""
        self.assertEqual(shown_name("photo\u202egpj.exe"), "photo_gpj.exe")
        self.assertEqual(shown_name("-a\u200b.lnk"), "_-a_.lnk.txt")
        self.assertEqual(shown_name("..\\..\\x/y\x1b[31m"), ".._.._x_y_x1b[31m")
        self.assertEqual(shown_name("für 🌲.png"), "für 🌲.png")

    @given(st.text(max_size=300))
    def test_always_one_name(self, name: str) -> None:
        """Any name makes a header that is ASCII, and says the shown name to who can read it."""
        value = disposition(name)
        self.assertTrue(value.isascii() and value.isprintable())
        message = EmailMessage()
        message["Content-Disposition"] = value.partition("; filename*")[0]
        self.assertEqual(message.get_content_disposition(), "attachment")
        self.assertEqual(unquote(value.rpartition("''")[2]), shown_name(name))
        self.assertEqual(unquote(in_link(name)), shown_name(name))
        self.assertNotIn("/", in_link(name))
