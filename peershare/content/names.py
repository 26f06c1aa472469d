"""Names: the one place that judges them, and the one that makes them safe to show.

A name that came from a peer is only ever a text to compare and to show.  `check_file_name` says
whether it can be announced and asked for; a file is created under its `safe_file_name` alone.
Not for: paths, nor for what a peer may have under a name.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from typing import NamedTuple

from peershare.errors import BadNameError

# A file name in bytes of UTF-8.  File systems hold 255; the rest is for " (2)" and our suffixes.
MAX_FILE_NAME_BYTES = 200
# A chunk name in characters; no file system holds a longer one.
MAX_CHUNK_NAME_LENGTH = 255
# Five names `STEM_1` … `STEM_5` as JSON fill 42 bytes and five stems: 1,024 hold this much.
MAX_ESCAPED_STEM_LENGTH = 196

_EXTENSION = re.compile(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,10}")
_CHUNK_NAME = re.compile(r"(.+)[_ ]([0-5])(\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,10})?")
# Control characters, what breaks a line, path separators, the ":" of dictionary files, and
# halves of surrogate pairs: nothing of this can be in a name that classic peers exchange.
_UNTELLABLE = re.compile("[\x00-\x1f\x7f-\x9f/\\\\:\u2028\u2029\ud800-\udfff]")

# What Windows keeps for its devices, with any extension too.
_RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³]) *(?:\..*)?", re.I)
_FORBIDDEN_CHARACTERS = '/\\:<>"|?*'
# What shows nothing, or does nothing but change how its neighbours are shown: Unicode's
# Default_Ignorable_Code_Point, and the blank or formatting ones beyond it (a Braille pattern of no
# dots, interlinear annotations, a note without a head, how hieroglyphs are stacked).
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U00013430-\U0001343f\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Scripts in which U+200C and U+200D decide how letters join, as code points: Arabic and its kin,
# Mongolian and Phags-pa, Adlam; those of India and of what they were carried to.
_JOINING_SCRIPTS = re.compile(
    "[\u0600-\u077f\u07c0-\u07ff\u0840-\u0dff\u0f00-\u109f\u1700-\u18af\u1900-\u1aff\u1b00-\u1c4f\u1cd0-\u1cff"
    "\ua800-\ua8ff\ua930-\ua9ff\uaa00-\uaaff\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00010a5f\U00010ac0-\U00010aff\U00010b80-\U00010baf\U00010d00-\U00010d3f"
    "\U00010f30-\U00010fdf\U00011000-\U00011fff\U0001e900-\U0001e95f]"
)
_VIRAMAS = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca"
_JOINERS = "\u200c\u200d"
_MONGOLIAN = re.compile("[\u1820-\u18aa]")
_MONGOLIAN_SELECTORS = "\u180b\u180c\u180d\u180e\u180f"
# What file managers obey, or show under another name and icon, as soon as they show the folder.
_OBEYED = re.compile(
    r"(?:desktop\.ini|autorun\.inf|.*\.(?:lnk|url|pif|scf|website|desktop|webloc|inetloc|fileloc"
    r"|library-ms|search-ms|searchconnector-ms))",
    re.DOTALL,
)
_ELLIPSIS = "…"


def display(text: str, limit: int = 200) -> str:
    r"""Make any text safe for a terminal, a log line or the text of a page.

    Control characters (tabs, line ends and escapes included), what breaks lines, bidirectional
    controls, invisible characters, lone surrogates, private and unassigned code points become
    visible escapes such as `\x1b` or `\u202e`.  Letters of every script, accents and emoji stay,
    and so do the joiners between letters of scripts that join.
    The result has at most `limit` characters; what is longer ends in an ellipsis.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    pieces: list[str] = []
    length = 0
    for index, character in enumerate(text):
        piece = character if _is_plain(text, index) else _escape(character)
        pieces.append(piece)
        length += len(piece)
        if length > limit:
            while length > limit - len(_ELLIPSIS) or (pieces and pieces[-1] in _JOINERS):
                length -= len(pieces.pop())
            return "".join(pieces) + _ELLIPSIS
    return "".join(pieces)


def display_name(name: str, limit: int = 200) -> str:
    r"""The same for a name, which no shell is to take for an option: `\x2drf` for `-rf`."""
    return display(name, limit) if name[:1] != "-" else _escape("-") + display(name[1:], limit - 4)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_plain(text: str, index: int) -> bool:
    """Whether the character there shows itself, and does nothing to its neighbours but join."""
    character = text[index]
    if _INVISIBLE.match(character):
        return _is_meant(text, index)
    category = unicodedata.category(character)
    return category not in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"} or _is_new_emoji(character)


def _is_meant(text: str, index: int) -> bool:
    """Whether an invisible character does there what it is for; elsewhere it only hides.

    A joiner joins or parts letters, or joins two emoji; a selector colours an emoji, or chooses the
    form of a Mongolian letter.
    """
    character, before, after = (
        text[index],
        text[max(0, index - 1) : index],
        text[index + 1 : index + 2],
    )
    if character in _JOINERS and _is_joining(before):
        # an Indic half form may end a word: a virama and U+200D, with nothing to join behind them
        half = character == "\u200d" and before in _VIRAMAS
        return _is_joining(after) or (half and not (after and after in _JOINERS))
    if character == "\u200d":
        return _is_pictograph(after) and (before == "\ufe0f" or _is_pictograph(before))
    if character in _MONGOLIAN_SELECTORS:
        return bool(_MONGOLIAN.fullmatch(before))
    keycap = after == "\u20e3" and before in set("#*0123456789")
    return character == "\ufe0f" and (keycap or _is_pictograph(before))


def _is_joining(character: str) -> bool:
    """Whether it is a letter, a mark or a digit of a script that joins."""
    joins = _JOINING_SCRIPTS.fullmatch(character) is not None
    return joins and unicodedata.category(character)[0] in "LMN" and not _INVISIBLE.match(character)


def _is_pictograph(character: str) -> bool:
    if not character:
        return False
    category = unicodedata.category(character)
    mark = character >= "\u2000" and category in {"Sm", "Sk", "Po", "Pd"}
    return mark or category == "So" or _is_new_emoji(character)


def _is_new_emoji(character: str) -> bool:
    """Whether it lies where emoji are added with every edition of Unicode."""
    return "\U0001f300" <= character <= "\U0001faff"


def check_file_name(name: str) -> str:
    """Judge a name that a content may have; return it NFC-normalised.

    It must be one that Linux, macOS and Windows can all hold and that a person can read:
    not empty, no leading dot (hidden; "." and ".."), no trailing dot or space, no path
    separator, no drive letter (no ":" at all), none of <>"|?*, no control character, line
    separator, noncharacter or lone surrogate, no reserved Windows name with or without extension,
    at most 200 bytes of UTF-8.  Leading spaces are allowed, and what only misleads, which
    `safe_file_name` sees to.  Raises `BadNameError` with a sentence that says what is wrong
    (hostile world, 8).
    """
    normal = unicodedata.normalize("NFC", name)
    problem = file_name_problem(normal)
    if problem:
        raise BadNameError(f"{display(name)!r} cannot be a file name: {problem}")
    return normal


def file_name_problem(name: str) -> str | None:
    """Why no file may be created under this NFC name, as a clause; None if one may."""
    if not name or name.isspace():
        return "it is empty"
    if name.startswith("."):
        return "it begins with a dot"
    if name.endswith(".") or name[-1].isspace():
        return "it ends with a dot or a space"
    for character in dict.fromkeys(name):  # each once: names by others are judged by the million
        if character in _FORBIDDEN_CHARACTERS:
            return f"it holds the character {character}"
        if _is_unfit(character):
            what = ", so it is no UTF-8" if "\ud800" <= character <= "\udfff" else ""
            return f"it holds the character {_escape(character)}{what}"
    if _RESERVED.fullmatch(name):
        return "Windows keeps this name for a device"
    if len(name.encode()) > MAX_FILE_NAME_BYTES:
        return f"it is longer than {MAX_FILE_NAME_BYTES} bytes"
    return None


def _is_unfit(character: str) -> bool:
    """Control characters, line separators, lone surrogates, noncharacters."""
    code = ord(character)
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or code & 0xFFFE == 0xFFFE
        or 0xFDD0 <= code <= 0xFDEF
    )


def safe_file_name(name: str) -> str:
    """The name of the file that is created for a name from elsewhere, by whatever way it comes.

    As `check_file_name` has it, and `harmless`.  Raises `BadNameError`, also where the locale of
    this process has no bytes for it.
    """
    normal = check_file_name(name)
    try:
        os.fsencode(normal)
    except UnicodeEncodeError as error:
        raise BadNameError(
            f"{display(name)!r} cannot be a file name: the locale writes names as {error.encoding},"
            f" which has no {_escape(normal[error.start])} (LC_ALL=C.UTF-8 at the start helps)"
        ) from None
    return harmless(normal)


def harmless(name: str) -> str:
    """A name that misleads nobody when it lies on a disk; most are as they were.

    What shows nothing becomes `_`; before a leading `-`, which shells take for an option, there is
    one; behind a name that file managers obey (`desktop.ini`, shortcuts) there is `.txt`.
    """
    if name.isascii() and name[:1] != "-" and not _OBEYED.fullmatch(name.casefold()):
        return name
    shown = (
        "_" if _INVISIBLE.match(character) and not _is_meant(name, index) else character
        for index, character in enumerate(name)
    )
    safe = "".join(shown)
    if safe.startswith("-"):
        safe = f"_{safe}"
    if _OBEYED.fullmatch(safe.casefold().rstrip(". ")):
        safe += ".txt"
    return _shortened(safe) if safe != name else name


def _shortened(name: str) -> str:
    """The same with a stem that leaves it as short as names have to be."""
    stem, extension = split_name(name)
    while len(name.encode(errors="replace")) > MAX_FILE_NAME_BYTES:
        stem = stem[:-1]
        name = stem.rstrip(". ") + extension
    return name


def folded(name: str) -> str:
    """The key under which two names collide on a file system that ignores case or normal form.

    Canonical caseless matching (Unicode, definition D145), then NFC.  Compatibility forms
    (a superscript, a full-width letter) stay apart, as they do on disks.
    """
    if name.isascii():
        return name.lower()
    caseless = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", caseless)


def split_name(name: str) -> tuple[str, str]:
    """Part a name into stem and last extension: ("forest", ".png"); ("v1.2", "").

    An extension is a dot and 1-10 ASCII letters or digits, one letter at least, after a stem
    that is not empty.
    """
    dot = name.rfind(".")
    if dot < 1 or _EXTENSION.fullmatch(name, dot) is None:
        return name, ""
    return name[:dot], name[dot:]


def stem_problem(stem: str) -> str | None:
    """Why classic peers cannot be told this stem, as a clause; None if they can."""
    if not stem.strip():
        return "it is empty"
    if stem.startswith("."):
        return "it begins with a dot"
    found = _UNTELLABLE.search(stem)
    if found:
        shown = found[0] if found[0] in ":/\\" else _escape(found[0])
        return f"it holds the character {shown}, which classic peers cannot take"
    if len(json.dumps(stem)) - 2 > MAX_ESCAPED_STEM_LENGTH:
        return f"it is longer than {MAX_ESCAPED_STEM_LENGTH} characters as classic peers write it"
    return None


class ChunkName(NamedTuple):
    """A chunk as a peer called it: `forest.png_0` is ("forest.png", 0, "forest.png_0").

    `base` has the extension if one was told; `number` is the digit as told, 0 to 5; `spelled`
    is the whole name, which is how that peer wants to be asked.
    """

    base: str
    number: int
    spelled: str


def parse_chunk_name(text: str) -> ChunkName | None:
    """Read a chunk name in any spelling in use; None for whatever is no chunk name.

    Understood are `forest_1`, `forest.png_1`, `forest_1.png` (base `forest.png`) and each of
    them with a space for the underscore.  Names that no content can have (control characters,
    separators, ":", lone surrogates, a leading dot, over 255 characters) are none.
    """
    if len(text) > MAX_CHUNK_NAME_LENGTH or _UNTELLABLE.search(text):
        return None
    match = _CHUNK_NAME.fullmatch(text)
    if match is None or text.startswith(".") or match[1].isspace():
        return None
    return ChunkName(match[1] + (match[3] or ""), int(match[2]), text)


def chunk_name(stem: str, number: int) -> str:
    """The name under which we tell a chunk (requirement 2.1.0-D): `forest_1`."""
    return f"{stem}_{number}"
