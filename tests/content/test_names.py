"""Names: judged in one place, made safe to show in one place."""

import json
import unicodedata

from hypothesis import assume, example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.content import names
from peershare.content.names import (
    MAX_CHUNK_NAME_LENGTH,
    MAX_ESCAPED_STEM_LENGTH,
    MAX_FILE_NAME_BYTES,
    ChunkName,
    check_file_name,
    chunk_name,
    display,
    display_name,
    folded,
    harmless,
    parse_chunk_name,
    safe_file_name,
    split_name,
    stem_problem,
)
from peershare.errors import BadNameError

ANY_CHARACTER = st.characters(codec=None)  # lone surrogates too
ANY_TEXT = st.text(ANY_CHARACTER, max_size=60)
# Texts that come close to being names, which random characters rarely do.
NAME_LIKE = st.lists(
    st.one_of(
        st.sampled_from([*"_ ._015:/\\\t\n", ".png", "_1", " 2", "CON", "é", "é", "ß", "\u202e"]),
        st.text(ANY_CHARACTER, max_size=4),
    ),
    max_size=8,
).map("".join)
HARMLESS = (
    "forest.png",
    "Füße",
    "é é",
    "日本語のファイル名.txt",
    "한국어",
    "العربية",
    "עברית",
    "ไทย",
    "हिन्दी",
    "🌲🌳",
    "👨‍👩‍👧",
    "❤️",
    "1️⃣",
    "👍🏽",
    "🇩🇪",
    "\U0001fae8",  # an emoji that this Python's Unicode does not know yet
    "[red]<b>&amp;",
    "می‌خواهم.txt",  # Persian: parted, though one word
    "کتاب‌های ۱۰‌ساله.pdf",
    "क्‍ष क्‌ष.txt",  # Hindi: a half form, and a virama that shows
    "ශ්‍රී ලංකාව.doc",  # Sinhala: a conjunct
    "অর‍্যন.txt",  # Bengali: before the virama
    "അവന്‍.txt",  # Malayalam: a half form at the end of a word
    "ᠮᠣᠩᠭᠣᠯ᠎ᠠ",  # Mongolian: a vowel apart
)
# What misleads, and what it is stored as.
MISLEADING = {
    "a​b.txt": "a_b.txt",
    "​": "_",
    "a⠀.txt": "a_.txt",
    "a󠁁󠁿b": "a__b",
    "photo‮gpj.exe": "photo_gpj.exe",
    "⁦a⁩": "_a_",
    "a‎b‏c؜d": "a_b_c_d",
    "a­b﻿c⁠dㅤeﾠfᅟg͏h": "a_b_c_d_e_f_g_h",
    "a‌b‍c": "a_b_c",
    "می‌‌خواهم": "می__خواهم",
    "می‌": "می_",
    "क‍": "क_",
    "🌲‍a": "🌲_a",
    "1️a": "1_a",
    "᠎ᠠ": "_ᠠ",
    "a￹b𝅳c󠿿d𝅙": "a_b_c_d_",
    "-rf": "_-rf",
    "--help": "_--help",
    "​-rf": "_-rf",
    "-a​.lnk": "_-a_.lnk.txt",
    "desktop.ini": "desktop.ini.txt",
    "Desktop.INI": "Desktop.INI.txt",
    "AUTORUN.inf": "AUTORUN.inf.txt",
    "holiday.jpg.lnk": "holiday.jpg.lnk.txt",
    "x.URL": "x.URL.txt",
    "x.desktop": "x.desktop.txt",
    "x.scf": "x.scf.txt",
    "󠁁desktop.ini": "_desktop.ini",
    "x" * 196 + ".lnk": "x" * 196 + ".txt",
    "-" + "é" * 99: "_-" + "é" * 99,
}


class DisplayTests(SynchronousTestCase):
    def test_ordinary_names_stay(self) -> None:
        """Letters of every script, accents and emoji are shown as they are."""
        for name in HARMLESS:
            self.assertEqual(display(name), name)

    def test_terminal_escapes(self) -> None:
        """A name cannot move the cursor, colour the terminal or ring its bell."""
        self.assertEqual(display("\x1b[31mred\x07"), "\\x1b[31mred\\x07")
        self.assertEqual(display("\x9b2J"), "\\x9b2J")

    def test_lines_and_columns(self) -> None:
        """A name cannot begin a new line of a log, nor a new column."""
        shown = display("a\nb\rc\td\x0be\x0cf\x85g\u2028h\u2029i")
        self.assertEqual(shown, "a\\x0ab\\x0dc\\x09d\\x0be\\x0cf\\x85g\\u2028h\\u2029i")
        self.assertEqual(len(shown.splitlines()), 1)

    def test_direction(self) -> None:
        """A name cannot turn the direction of the text, so that `gnp.exe` reads `exe.png`."""
        for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)):
            self.assertEqual(display(f"a{chr(code)}b"), f"a\\u{code:04x}b")

    def test_invisible(self) -> None:
        """Characters of no width or no ink show themselves, so that no two names look alike."""
        some = (0xAD, 0x34F, 0x115F, 0x180E, 0x200B, 0x200C, 0x200D, 0x2060, 0x2065, 0x2800, 0x3164)
        for code in (*some, 0xFEFF, 0xFFF0, 0x1D159, 0x1D173, 0xE0000, 0xE0FFF):
            self.assertIn(f"{code:02x}", display(f"a{chr(code)}b"))
        self.assertEqual(display("a\U000e0041"), "a\\U000e0041")
        self.assertEqual(display("a\ufe0fb"), "a\\ufe0fb")

    def test_joiners_outside_emoji(self) -> None:
        """What joins emoji is shown as an escape wherever it does not join two of them."""
        for text in ("\u200d", "🌲\u200d", "🌲\u200da", "a\u200d🌲", "\u200d🌲", "1\u200d2"):
            self.assertIn("\\u200d", display(text))
        for text in ("\ufe0f", "1\ufe0f2", "+\ufe0f", "❤\ufe0f\ufe0f"):
            self.assertIn("\\ufe0f", display(text))

    def test_option(self) -> None:
        """What a shell takes for an option is shown as none; a dash elsewhere is a dash."""
        self.assertEqual(display_name("-rf"), "\\x2drf")
        self.assertEqual(display_name("a-b"), "a-b")
        self.assertEqual(display_name("-" + "x" * 300, 20), "\\x2d" + "x" * 15 + "…")

    def test_not_characters(self) -> None:
        """Lone surrogates, noncharacters and private ones become escapes that can be encoded."""
        self.assertEqual(display("\ud800\ufffe\ufdd0\ue000"), "\\ud800\\ufffe\\ufdd0\\ue000")
        self.assertEqual(display("\U0010ffff"), "\\U0010ffff")

    def test_cut(self) -> None:
        """A long text is cut to the limit, never in the middle of an escape."""
        self.assertEqual(display("x" * 200), "x" * 200)
        self.assertEqual(display("x" * 201), "x" * 199 + "…")
        self.assertEqual(display("abc\x1b", 7), "abc\\x1b")
        self.assertEqual(display("abc\x1bd", 7), "abc…")

    @given(st.one_of(ANY_TEXT, NAME_LIKE), st.integers(1, 40))
    def test_nothing_dangerous_is_left(self, text: str, limit: int) -> None:
        """Of any text, what is shown is one short line without a single active character."""
        shown = display(text, limit)
        self.assertLessEqual(len(shown), limit)
        self.assertLessEqual(len(shown.splitlines()), 1)
        shown.encode()
        for character in shown:
            self.assertNotIn(unicodedata.category(character), {"Cc", "Cs", "Co", "Zl", "Zp"})
            if unicodedata.category(character) == "Cf":
                self.assertIn(character, "\u180e\u200c\u200d")

    @given(st.one_of(ANY_TEXT, NAME_LIKE))
    def test_shown_twice(self, text: str) -> None:
        """To show what was already made safe changes nothing."""
        self.assertEqual(display(display(text, 1_000), 1_000), display(text, 1_000))


class CheckFileNameTests(SynchronousTestCase):
    def assert_bad(self, name: str, what: str) -> None:
        with self.assertRaises(BadNameError) as caught:
            check_file_name(name)
        self.assertIn(what, str(caught.exception))

    def test_good_names(self) -> None:
        """Ordinary names of every script pass as they are."""
        for name in ("forest", "forest.png", "a", "v1.2", "Füße.txt", "日本語", " x", "CONSOLE"):
            self.assertEqual(check_file_name(name), name)
        for name in ("COM", "COM10", "a.CON", "nul l", "🌲👨‍👩‍👧.png", "a..b", "x" * 200):
            self.assertEqual(check_file_name(name), name)

    def test_normalised(self) -> None:
        """What macOS spells in two characters is returned in one."""
        self.assertEqual(check_file_name("e\u0301.png"), "\xe9.png")

    def test_no_name(self) -> None:
        """Nothing, and only spaces, is no name."""
        for name in ("", " ", "   ", "\u3000"):
            self.assert_bad(name, "empty")

    def test_dots(self) -> None:
        """Neither the folders `.` and `..` nor hidden names; and Windows drops dots at the end."""
        for name in (".", "..", "...", ".profile", ".peershare", "../etc/passwd"):
            self.assert_bad(name, "begins with a dot")
        for name in ("forest.", "forest ", "forest. ", "forest\u3000"):
            self.assert_bad(name, "ends with")

    def test_paths(self) -> None:
        """Nothing that is a path on any system."""
        self.assert_bad("a/b", "character /")
        self.assert_bad("/etc/passwd", "character /")
        self.assert_bad("a\\b", "character \\")
        self.assert_bad("C:", "character :")
        self.assert_bad("C:forest", "character :")
        self.assert_bad("forest.png:stream", "character :")

    def test_forbidden_by_windows(self) -> None:
        """None of the characters that Windows cannot hold."""
        for character in '<>"|?*':
            self.assert_bad(f"a{character}b", f"character {character}")

    def test_control_characters(self) -> None:
        """No control character or line separator, named as an escape."""
        self.assert_bad("a\0b", "\\x00")
        self.assert_bad("a\nb", "\\x0a")
        self.assert_bad("a\x7fb", "\\x7f")
        self.assert_bad("a\x85b", "\\x85")
        self.assert_bad("a\u2028b", "\\u2028")

    def test_noncharacters(self) -> None:
        """None of the code points that are never to be characters; their neighbours are fine."""
        for code in (0xFDD0, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF):
            self.assert_bad(f"a{chr(code)}b", f"{code:x}")
        for code in (0xFDCF, 0xFDF0, 0xFFFD, 0x1FFFD):
            self.assertEqual(check_file_name(f"a{chr(code)}b"), f"a{chr(code)}b")

    def test_surrogates(self) -> None:
        """A lone surrogate, which no disk can hold as UTF-8, is refused and not raised about."""
        self.assert_bad("a\udc80", "\\udc80")

    def test_reserved(self) -> None:
        """The device names of Windows, in any case and with any extension."""
        for name in ("CON", "con", "Nul.txt", "COM1", "lpt9.tar.gz", "COM¹", "AUX .png", "conin$"):
            self.assert_bad(name, "device")

    def test_length(self) -> None:
        """At most 200 bytes of UTF-8, however many characters these are."""
        self.assertEqual(check_file_name("é" * 100), "é" * 100)
        self.assert_bad("é" * 100 + "x", "longer")
        self.assert_bad("x" * 201, "longer")

    def test_complaint_is_safe(self) -> None:
        """The complaint about a hostile name cannot itself do harm, and is short."""
        with self.assertRaises(BadNameError) as caught:
            check_file_name("\x1b[2J" + "x\n" * 10_000)
        self.assertTrue(str(caught.exception).isprintable())
        self.assertLess(len(str(caught.exception)), 400)

    @given(st.one_of(ANY_TEXT, NAME_LIKE))
    @example("\u2126" * 80)
    @example("\u1fef")
    def test_what_passes(self, name: str) -> None:
        """Whatever passes is one path component that can be encoded, and passes again."""
        try:
            checked = check_file_name(name)
        except BadNameError:
            return
        self.assertEqual(check_file_name(checked), checked)
        self.assertLessEqual(len(checked.encode()), MAX_FILE_NAME_BYTES)
        self.assertFalse(set(checked) & set('/\\:\0<>"|?*'))
        self.assertNotIn(checked[0], ".")
        self.assertNotIn(checked[-1], ". ")


class SafeFileNameTests(SynchronousTestCase):
    def test_names_of_all_scripts(self) -> None:
        """A name that misleads nobody is the name of the file."""
        for name in (*HARMLESS[:-9], *HARMLESS[-7:]):
            self.assertEqual(safe_file_name(name), unicodedata.normalize("NFC", name))

    def test_misleading(self) -> None:
        """What hides, what a shell takes for an option and what file managers obey is harmless."""
        for name, stored in MISLEADING.items():
            self.assertEqual(safe_file_name(name), stored)

    def test_shown_and_stored_alike(self) -> None:
        """Whatever is shown as an escape for being invisible is stored as `_`, and nothing else."""
        for code in range(0x80, 0x110000):
            name = f"a{chr(code)}b"
            if unicodedata.category(chr(code)) in {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}:
                continue
            shown = unicodedata.category(chr(code)) == "Cf" or display(name) == name
            self.assertTrue(shown or harmless(name) == "a_b", name.encode("unicode_escape"))
            self.assertTrue(display(name) != name or harmless(name) == name, f"{code:x}")

    def test_locale(self) -> None:
        """Where the locale has no bytes for a name, one sentence says so."""
        self.patch(names.os, "fsencode", lambda name: name.encode("iso8859-1"))
        self.assertEqual(safe_file_name("é.txt"), "é.txt")
        with self.assertRaises(BadNameError) as caught:
            safe_file_name("日.txt")
        self.assertIn("iso8859-1", str(caught.exception).replace("latin-1", "iso8859-1"))

    @given(st.one_of(ANY_TEXT, NAME_LIKE, st.sampled_from([*MISLEADING])))
    def test_what_is_stored(self, name: str) -> None:
        """It can be announced in its turn, as it is, and is stored as it is."""
        try:
            stored = safe_file_name(name)
        except BadNameError:
            return
        self.assertEqual(safe_file_name(stored), stored)
        self.assertEqual(check_file_name(stored), stored)


class FoldedTests(SynchronousTestCase):
    def test_collisions(self) -> None:
        """Names that differ in case or in normal form collide."""
        for one, other in (("Forest", "FOREST"), ("e\u0301", "\xc9"), ("Straße", "STRASSE")):
            self.assertEqual(folded(one), folded(other))

    def test_no_collisions(self) -> None:
        """Names that no file system takes for the same do not."""
        for one, other in (("forest", "forest1"), ("x²", "x2"), ("ａ", "a"), ("e", "é")):
            self.assertNotEqual(folded(one), folded(other))

    @given(st.one_of(ANY_TEXT, NAME_LIKE))
    def test_idempotent(self, name: str) -> None:
        """A key is its own key, and the normal forms of a name share it."""
        self.assertEqual(folded(folded(name)), folded(name))
        for form in ("NFC", "NFD"):
            self.assertEqual(folded(unicodedata.normalize(form, name)), folded(name))


class SplitNameTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """The last extension only, and only what looks like one."""
        for name, parts in {
            "forest.png": ("forest", ".png"),
            "forest.PNG": ("forest", ".PNG"),
            "a.tar.gz": ("a.tar", ".gz"),
            "song.mp3": ("song", ".mp3"),
            "x.7z": ("x", ".7z"),
            "v1.2": ("v1.2", ""),
            "my_2.5_1": ("my_2.5_1", ""),
            "Dr. Who": ("Dr. Who", ""),
            "forest": ("forest", ""),
            "forest.": ("forest.", ""),
            ".png": (".png", ""),
            "": ("", ""),
            "x.abcdefghijk": ("x.abcdefghijk", ""),
            "x.abcdefghij": ("x", ".abcdefghij"),
            "x.pñg": ("x.pñg", ""),
            "x.png\n": ("x.png\n", ""),
            "x.１２a": ("x.１２a", ""),
        }.items():
            self.assertEqual(split_name(name), parts)

    @given(st.one_of(ANY_TEXT, NAME_LIKE))
    def test_nothing_is_lost(self, name: str) -> None:
        """The two parts together are the name, and the stem is empty only if the name is."""
        stem, extension = split_name(name)
        self.assertEqual(stem + extension, name)
        self.assertEqual(not stem, not name)


class StemProblemTests(SynchronousTestCase):
    def test_tellable(self) -> None:
        """Ordinary stems can be told."""
        for stem in ("forest", "v1.2", "my file (2)", "日本語", "x" * 196, 'a"b'):
            self.assertIsNone(stem_problem(stem))

    def test_problems(self) -> None:
        """Each stem that cannot be told has its reason."""
        for stem, part in {
            "": "empty",
            "  ": "empty",
            ".hidden": "dot",
            "a:b": "character :",
            "a/b": "character /",
            "a\\b": "character \\",
            "a\nb": "character \\x0a",
            "a\u2028b": "character \\u2028",
            "a\udcffb": "character \\udcff",
            "x" * 197: "196",
            "é" * 33: "196",
        }.items():
            self.assertIn(part, stem_problem(stem) or "")

    @given(st.one_of(st.text(max_size=60), NAME_LIKE), st.integers(1, 5))
    def test_told_and_understood(self, stem: str, number: int) -> None:
        """Whatever can be told fits five times into a datagram, and is read as it was meant."""
        assume(stem_problem(stem) is None)
        names = [chunk_name(stem, n) for n in range(1, 6)]
        self.assertLessEqual(len(json.dumps({"chunks": names})), 1_024)
        told = names[number - 1]
        self.assertEqual(parse_chunk_name(told), ChunkName(stem, number, told))

    def test_longest(self) -> None:
        """The longest stem that can be told fills a datagram but for two bytes."""
        names = [chunk_name("x" * MAX_ESCAPED_STEM_LENGTH, n) for n in range(1, 6)]
        self.assertEqual(len(json.dumps({"chunks": names})), 1_022)


class ParseChunkNameTests(SynchronousTestCase):
    def test_spellings(self) -> None:
        """Every spelling in use is understood."""
        for text, base, number in (
            ("forest_1", "forest", 1),
            ("forest_5", "forest", 5),
            ("forest.png_1", "forest.png", 1),
            ("forest_1.png", "forest.png", 1),
            ("forest 1", "forest", 1),
            ("forest.png 2", "forest.png", 2),
            ("forest 2.png", "forest.png", 2),
            ("forest.png_0", "forest.png", 0),
            ("my_2.5_1", "my_2.5", 1),
            ("a_1_2", "a_1", 2),
            ("a_1_2.mp3", "a_1.mp3", 2),
            ("my file.tar.gz_3", "my file.tar.gz", 3),
            ("日本_4", "日本", 4),
            ("__1", "_", 1),
            ("Dr. Who_1", "Dr. Who", 1),
        ):
            self.assertEqual(parse_chunk_name(text), ChunkName(base, number, text))

    def test_junk(self) -> None:
        """Whatever names no chunk is none."""
        for text in (
            "",
            ".DS_Store",
            "content_dictionary.txt",
            "forest",
            "forest.png",
            "forest_6",
            "forest_10",
            "forest_",
            "forest1",
            "forest-1",
            "_1",
            " _1",
            " 1",
            "forest_1.",
            "forest_1.5",
            "forest_１",
            "forest_1\n",
            ".hidden_1",
            "..",
            "my_2.5",
        ):
            self.assertIsNone(parse_chunk_name(text), text)

    def test_impossible_contents(self) -> None:
        """A chunk of something that can have no name is junk, however well it is numbered."""
        for base in ("a\0", "a\x1b[2J", "a\ud800", "a:b", "../../etc/passwd", "a\\b", "a\u2028"):
            self.assertIsNone(parse_chunk_name(f"{base}_1"))

    def test_length(self) -> None:
        """No name is longer than a file system can hold."""
        longest = "x" * (MAX_CHUNK_NAME_LENGTH - 2) + "_1"
        self.assertIsNotNone(parse_chunk_name(longest))
        self.assertIsNone(parse_chunk_name("x" + longest))

    @given(st.one_of(ANY_TEXT, NAME_LIKE))
    def test_any_text(self, text: str) -> None:
        """Any text is a chunk name in bounds, or none, and nothing is raised."""
        parsed = parse_chunk_name(text)
        if parsed is not None:
            self.assertEqual(parsed.spelled, text)
            self.assertIn(parsed.number, range(6))
            self.assertEqual(len(text) - len(parsed.base), 2)
            self.assertTrue(parsed.base.strip())

    def test_hostile_lengths(self) -> None:
        """A long run of separators is judged at once."""
        for text in ("_1" * 100_000, "_" * 100_000, " 1." * 80):
            parse_chunk_name(text)
