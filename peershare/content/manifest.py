"""Manifests and content ids: what the bytes of a content must hash to.  Pure.

A content id is the digest of the manifest, so one hash checks a manifest, and the manifest
checks every block (design, decision 3).  Not for: reading files, or whom to ask.
"""

from __future__ import annotations

import re
from typing import Any

from blake3 import blake3
from msgspec import Struct

from peershare.content.blocks import block_count, block_range, block_size

DIGEST_BYTES = blake3.digest_size
ID_PREFIX = "b3:"
# What a person has to type of an id, at the least, in hex digits.
SHORTEST_ID_DIGITS = 8

_HEAD = b"peershare content 1\n"
_ID = re.compile(r"b3:[0-9a-f]{64}")
_QUERY = re.compile(r"(?:b3:)?([0-9a-fA-F]{8,64})")


def digest(data: Any) -> bytes:
    """The BLAKE3 digest of a bytes-like object, 32 bytes."""
    return blake3(data).digest()


class Manifest(Struct, frozen=True):
    """The size of a content in bytes, and the digests of its blocks one after the other."""

    size: int
    digests: bytes

    @property
    def block_size(self) -> int:
        """Bytes of every block but the last one."""
        return block_size(self.size)

    @property
    def block_count(self) -> int:
        """How many blocks there are."""
        return len(self.digests) // DIGEST_BYTES

    def digest_of(self, index: int) -> bytes:
        """What block `index` hashes to.  Raises IndexError if there is no such block."""
        if not 0 <= index < self.block_count:
            raise IndexError(f"there are {self.block_count} blocks, and no block {index}")
        return self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]

    def check(self, index: int, data: Any) -> bool:
        """Whether these are the bytes of block `index`."""
        return digest(data) == self.digest_of(index)

    @property
    def content_id(self) -> str:
        """`b3:` and 64 hex digits."""
        return content_id(self.size, self.digests)


def content_id(size: int, digests: bytes) -> str:
    """BLAKE3 of a fixed head, the size, the block size and the block digests, as `b3:` + hex.

    Raises ValueError if a content of `size` bytes has not so many blocks.
    """
    if len(digests) != block_count(size) * DIGEST_BYTES:
        raise ValueError(f"{len(digests)} bytes of digests do not belong to {size} bytes")
    hasher = id_hasher(size)
    hasher.update(digests)
    return ID_PREFIX + hasher.hexdigest()


def id_hasher(size: int) -> blake3:
    """What gives the content id of so many bytes, once it is given the block digests, as they come.

    Raises ValueError as `block_size`.
    """
    hasher = blake3(_HEAD)
    hasher.update(size.to_bytes(8, "little"))
    hasher.update(block_size(size).to_bytes(8, "little"))
    return hasher


def manifest_of(data: bytes) -> Manifest:
    """The manifest of bytes that are all here."""
    view, size = memoryview(data), len(data)
    ranges = (block_range(index, size) for index in range(block_count(size)))
    return Manifest(size, b"".join(digest(view[r.start : r.stop]) for r in ranges))


def is_content_id(text: str) -> bool:
    """Whether this is a whole content id, as `content_id` writes it."""
    return _ID.fullmatch(text) is not None


def id_query(text: str) -> str | None:
    """The beginning of an id that a person typed, as `b3:` + lower hex; None if it is none.

    At least 8 hex digits, with or without `b3:`.  (A file may have such a name, too.)
    """
    match = _QUERY.fullmatch(text)
    return ID_PREFIX + match[1].lower() if match is not None else None
