"""A picture that the demo draws itself: a forest at dusk, as a PNG of over 1 MiB.

PNG is written with the standard library alone (RFC 2083 / ISO 15948: signature, IHDR, IDAT,
IEND).  Not for: images in general.
"""

from __future__ import annotations

import struct
import zlib
from random import Random

WIDTH, HEIGHT = 1024, 768


def draw_forest(seed: int) -> bytes:
    """The bytes of the picture; one seed gives one picture.  Grain keeps it from compressing."""
    random = Random(seed)
    trees = [
        (random.randrange(WIDTH), random.randrange(HEIGHT // 3, HEIGHT), random.uniform(0.2, 0.45))
        for _ in range(60)
    ]
    trees.sort(key=lambda tree: tree[1])
    rows = [_sky(y) for y in range(HEIGHT)]
    for foot_x, foot_y, slope in trees:
        _plant(rows, foot_x, foot_y, slope)
    grain = random.randbytes(WIDTH * HEIGHT)
    raw = bytearray()
    for y, row in enumerate(rows):
        raw.append(0)  # filter type: none
        line = grain[y * WIDTH : (y + 1) * WIDTH]
        for (red, green, blue), g in zip(row, line, strict=True):
            raw += bytes((red + (g & 7), green + (g >> 3 & 7), blue + (g >> 5 & 7)))
    return _png(bytes(raw))


def _sky(y: int) -> list[tuple[int, int, int]]:
    """One row of the evening sky."""
    down = y / HEIGHT
    return [(int(40 + 190 * down), int(50 + 90 * down), int(120 - 40 * down))] * WIDTH


def _plant(rows: list[list[tuple[int, int, int]]], foot_x: int, foot_y: int, slope: float) -> None:
    """One fir: a dark triangle, darker the nearer it stands."""
    height = foot_y // 2
    shade = 1 - foot_y / HEIGHT
    colour = (int(20 + 60 * shade), int(50 + 70 * shade), int(40 + 60 * shade))
    for step in range(height):
        half = int((step % (height // 4 + 1)) * slope) + int(step * slope / 3) + 1
        left, right = max(0, foot_x - half), min(WIDTH, foot_x + half)
        rows[foot_y - height + step][left:right] = [colour] * max(0, right - left)


def _png(raw: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(raw, 1))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
