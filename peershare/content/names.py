"""Names: the one place that judges them, and the one that makes them safe to show.

A name that came from a peer is only ever a text to compare and to show; a file is created
under `check_file_name` alone.  Not for: paths, nor for what a peer may have under a name.
"""

from __future__ import annotations

import json
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
_BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
# Zero-width or blank although Unicode counts them as letters, marks or symbols.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_ELLIPSIS = "…"


def display(text: str, limit: int = 200) -> str:
    r"""Make any text safe for a terminal, a log line or the text of a page.

    Control characters (tabs, line ends and escapes included), what breaks lines, bidirectional
    controls, zero-width characters, lone surrogates, private and unassigned code points become
    visible escapes such as `\x1b` or `\u202e`.  Letters of every script, accents and emoji stay.
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
            while length > limit - len(_ELLIPSIS):
                length -= len(pieces.pop())
            return "".join(pieces) + _ELLIPSIS
    return "".join(pieces)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_plain(text: str, index: int) -> bool:
    """Whether the character there shows itself, and does nothing to its neighbours."""
    character = text[index]
    if character in "\u200d\ufe0f":
        return _is_emoji_glue(text, index)
    if _INVISIBLE.match(character):
        return False
    category = unicodedata.category(character)
    return category not in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"} or _is_new_emoji(character)


def _is_emoji_glue(text: str, index: int) -> bool:
    """Whether a joiner joins two emoji, or a selector colours one; elsewhere they only hide."""
    before, after = text[max(0, index - 1) : index], text[index + 1 : index + 2]
    if text[index] == "\u200d":
        return _is_pictograph(after) and (before == "\ufe0f" or _is_pictograph(before))
    keycap = after == "\u20e3" and before in set("#*0123456789")
    return keycap or _is_pictograph(before)


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
    """Judge a name under which we may create a file; return it NFC-normalised.

    It must be one that Linux, macOS and Windows can all hold and that a person can read:
    not empty, no leading dot (hidden; "." and ".."), no trailing dot or space, no path
    separator, no drive letter (no ":" at all), none of <>"|?*, no control character, line
    separator, bidirectional control, noncharacter or lone surrogate, no reserved Windows name
    with or without extension, at most 200 bytes of UTF-8.  Leading spaces are allowed.  Raises
    `BadNameError` with a sentence that says what is wrong (hostile world, 8).
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
    for character in name:
        if character in _FORBIDDEN_CHARACTERS:
            return f"it holds the character {character}"
        if _is_unfit(character):
            return f"it holds the character {_escape(character)}"
    if _RESERVED.fullmatch(name):
        return "Windows keeps this name for a device"
    if len(name.encode()) > MAX_FILE_NAME_BYTES:
        return f"it is longer than {MAX_FILE_NAME_BYTES} bytes"
    return None


def _is_unfit(character: str) -> bool:
    """Control characters, line separators, lone surrogates, bidi controls, noncharacters."""
    code = ord(character)
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or character in _BIDI_CONTROLS
        or code & 0xFFFE == 0xFFFE
        or 0xFDD0 <= code <= 0xFDEF
    )


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
