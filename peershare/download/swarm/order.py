"""The order in which the blocks of a download are asked for, which may change while it runs.  Pure.

Not for: choosing blocks (`scheduler`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Order:
    """`sequential`: in the order of the blocks, since somebody reads them as they come."""

    sequential: bool = False
