"""The messages of a native session: frozen, tagged values, and their lines.  Pure.

Whoever dials (the downloader) sends the requests, whoever was dialled (the uploader) the answers;
each side opens with `hello`.  A message is one line of JSON of at most 64 KiB; where it declares
`length`, so many raw bytes follow it.  Unknown keys are ignored, known ones judged strictly.
docs/protocol.md has an example of each.  Not for: who may ask for what, or sockets.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct

from peershare.content.blocks import MAX_BLOCK_BYTES, MAX_CONTENT_BYTES, block_count
from peershare.content.manifest import DIGEST_BYTES
from peershare.content.names import display
from peershare.errors import PeerError, Reason
from peershare.wire.framing import MAX_MESSAGE_BYTES

# Version 2 knows `wrong` besides.
VERSIONS = (1, 2)
VERSION_OF_WRONG = 2
# More runs of blocks than this are told in several messages.
MAX_RUNS = 512
# So many blocks has the largest content; no message names more, repeated ones included.
MAX_BLOCKS = block_count(MAX_CONTENT_BYTES)
MAX_RECEIVERS = 50

Natural = Annotated[int, Meta(ge=0, le=MAX_CONTENT_BYTES)]
Positive = Annotated[int, Meta(ge=1, le=MAX_CONTENT_BYTES)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Version = Annotated[int, Meta(ge=0, le=1_000)]
ContentId = Annotated[str, Meta(pattern=r"^b3:[0-9a-f]{64}\Z")]
Digest = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]  # of a catalogue; "" is none
Token = Annotated[str, Meta(pattern=r"^[0-9a-f]{0,64}\Z")]  # peer and instance ids
Address = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f:.]{2,45}\Z")]
Text = Annotated[str, Meta(max_length=1_000)]
Run = tuple[Natural, Positive]  # the first block, and how many
Runs = Annotated[tuple[Run, ...], Meta(max_length=MAX_RUNS)]


class Message(Struct, frozen=True, tag_field="type"):
    """Base of all messages; the key `type` says which one it is."""


class BlockMessage(Message, frozen=True, kw_only=True):
    """Base of those that name blocks of a content."""

    content: ContentId
    blocks: Runs

    def __post_init__(self) -> None:
        _check_runs(self.blocks)


def _check_runs(pairs: Runs) -> None:
    """Raise ValueError if no content has these blocks, or not so many."""
    if sum(count for _, count in pairs) > MAX_BLOCKS or any(sum(p) > MAX_BLOCKS for p in pairs):
        raise ValueError(f"names blocks beyond the {MAX_BLOCKS} that a content can have")


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """Opens each direction.  The dialling side offers versions, the other answers with one.

    `port` is where the sender takes sessions itself, 0 if nowhere.
    """

    versions: Annotated[tuple[Version, ...], Meta(min_length=1, max_length=16)]
    agent: Text = ""
    peer: Token = ""
    instance: Token = ""
    port: Port = 0


# -- requests


class GetCatalogue(Message, frozen=True, kw_only=True, tag="get_catalogue"):
    """What do you have?  `known` is the digest of the catalogue of yours that we have."""

    known: Digest = ""


class Join(Message, frozen=True, kw_only=True, tag="join"):
    """We want this content: answer with `content`, tell from now on what you get of it.

    `have` is what we have of it already; `manifest`: whether the digests are wanted too.
    """

    content: ContentId
    manifest: bool = False
    have: Runs = ()

    def __post_init__(self) -> None:
        _check_runs(self.have)


class Leave(Message, frozen=True, kw_only=True, tag="leave"):
    """We want nothing more of this content."""

    content: ContentId


class GetBlocks(BlockMessage, frozen=True, kw_only=True, tag="get_blocks"):
    """Send these blocks, in this order."""


class Cancel(BlockMessage, frozen=True, kw_only=True, tag="cancel"):
    """Do not send these blocks, if they are not on their way yet; there is no answer."""


class Wrong(BlockMessage, frozen=True, kw_only=True, tag="wrong"):
    """These blocks that you sent do not hash to what they should (from version 2 on).

    If that is so with the file of theirs, the answer is `error` (`changed`) of the whole content.
    """


# -- answers


class Catalogue(Message, frozen=True, kw_only=True, tag="catalogue"):
    """What we have, as raw lines (`wire.catalogue`); `base` is what they are the difference from.

    `base` "" is nothing: then it is the whole catalogue.  `count` is the number of lines.
    """

    digest: Digest
    base: Digest = ""
    count: Natural
    length: Natural


class Content(Message, frozen=True, kw_only=True, tag="content"):
    """The answer to `join`; raw, `digests` bytes of block digests, then a bitmap of what we have.

    Both may have 0 bytes: no digests were asked for; we have every block.
    `receivers` are others who are fetching it: (address, port).  `steered`: ask only for what is
    granted, until `open`.
    """

    content: ContentId
    size: Natural
    length: Natural
    digests: Natural = 0
    bitmap: Natural = 0
    receivers: Annotated[tuple[tuple[Address, Port], ...], Meta(max_length=MAX_RECEIVERS)] = ()
    steered: bool = False

    def __post_init__(self) -> None:
        count = block_count(self.size)
        if (
            self.digests not in (0, count * DIGEST_BYTES)
            or self.bitmap not in (0, -(-count // 8))
            or self.length != self.digests + self.bitmap
        ):
            raise ValueError("declares raw bytes that do not belong to its size")


class Block(Message, frozen=True, kw_only=True, tag="block"):
    """One block; its bytes follow."""

    content: ContentId
    index: Natural
    length: Annotated[int, Meta(ge=1, le=MAX_BLOCK_BYTES)]


class Have(BlockMessage, frozen=True, kw_only=True, tag="have"):
    """We have these blocks now, too."""


class Grant(BlockMessage, frozen=True, kw_only=True, tag="grant"):
    """These blocks are yours to ask for; until `open` no others are (see `Content.steered`)."""


class Open(Message, frozen=True, kw_only=True, tag="open"):
    """Ask for whatever you like of this content from now on."""

    content: ContentId


class Problem(Message, frozen=True, kw_only=True, tag="error"):
    """Something that was asked for is not to be had: a code for programs, a sentence for people.

    `content` and `blocks` say what it is about, where it is about that.  Codes: `version`,
    `bad-message`, `unknown-type`, `not-here` (the content, or these blocks of it), `changed` (our
    file is not what it was), `unreadable`, `busy`.
    """

    code: Annotated[str, Meta(max_length=40)]
    message: Text
    content: Annotated[str, Meta(max_length=67)] = ""
    blocks: Runs = ()

    def __post_init__(self) -> None:
        _check_runs(self.blocks)


Request: TypeAlias = Hello | GetCatalogue | Join | Leave | GetBlocks | Cancel | Wrong
Answer: TypeAlias = Hello | Catalogue | Content | Block | Have | Grant | Open | Problem


class Unknown(Struct, frozen=True):
    """A message of a type that we do not know: from a later version, perhaps.

    `length` raw bytes follow it; they are to be skipped.
    """

    type: Annotated[str, Meta(max_length=40)]
    length: Annotated[int, Meta(ge=0, le=MAX_BLOCK_BYTES)] = 0


_encode = msgspec.json.Encoder().encode
_requests = msgspec.json.Decoder(Request)
_answers = msgspec.json.Decoder(Answer)
_types = msgspec.json.Decoder(Unknown)
_REQUEST_TYPES = {"hello", "get_catalogue", "join", "leave", "get_blocks", "cancel", "wrong"}
_ANSWER_TYPES = {"hello", "catalogue", "content", "block", "have", "grant", "open", "error"}


def encode(message: Message) -> bytes:
    """One line, its newline included.  Raises ValueError if it is longer than 64 KiB."""
    line = _encode(message) + b"\n"
    if len(line) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {len(line)} bytes: {line[:80]!r} …")
    return line


def decode_request(line: bytes) -> Request | Unknown:
    """What a downloader sent.  Raises `PeerError` (bad-message)."""
    request: Request | Unknown = _decode(_requests, _REQUEST_TYPES, line)
    return request


def decode_answer(line: bytes) -> Answer | Unknown:
    """What an uploader sent.  Raises `PeerError` (bad-message)."""
    answer: Answer | Unknown = _decode(_answers, _ANSWER_TYPES, line)
    return answer


def _decode(decoder: msgspec.json.Decoder[Any], known: set[str], line: bytes) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        problem = str(error)
    try:
        told = _types.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    else:
        if told.type not in known:
            return told
    raise PeerError(
        Reason.BAD_MESSAGE, f"sent a message that is none: {display(problem)}"
    ) from None
