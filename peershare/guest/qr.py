"""A link as a QR code: for a page, and for a terminal.  Pure.

Dark on light whatever the colours around it, with the quiet zone that cameras need.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO, StringIO

import segno


@lru_cache(maxsize=4)
def svg_code(link: str) -> str:
    """An SVG document, without scripts or styles."""
    out = BytesIO()
    code = segno.make(link, micro=False, error="m")
    code.save(out, kind="svg", xmldecl=False, scale=4, dark="#000", light="#fff", title="QR code")
    return out.getvalue().decode("ascii")


def text_code(link: str) -> str:
    """Lines of half blocks, about 40 columns wide, for a terminal that writes light on dark."""
    out = StringIO()
    segno.make(link, micro=False, error="m").terminal(out=out, compact=True, border=2)
    return out.getvalue()
