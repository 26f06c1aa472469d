"""Identity: the names by which a peer calls itself, and its secret.

The peer id stays with a state folder, so a copied folder makes two peers of one id; the instance
is new with every run.  Both are claims: blame is kept by address.  Not for: trusting anybody.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

from msgspec import Struct

from peershare.errors import StorageError
from peershare.state import replace_file
from peershare.wire.beacon import INSTANCE_BYTES, PEER_BYTES, SECRET_BYTES

PEER_ID_NAME = "peer_id"


class Identity(Struct, frozen=True):
    """`peer` and `instance` are hex; `secret` is for `wire.beacon.Nonces`."""

    peer: str
    instance: str
    secret: bytes

    @classmethod
    def of_this_run(cls, folder: Path, random: Random) -> Identity:
        """The peer id that is kept in the state folder, or a new one; the rest is new.

        Raises `StorageError`.
        """
        return cls(
            peer=_load_peer_id(folder / PEER_ID_NAME, random),
            instance=random.randbytes(INSTANCE_BYTES).hex(),
            secret=random.randbytes(SECRET_BYTES),
        )


def _load_peer_id(path: Path, random: Random) -> str:
    """Read it; where there is none, or something else, write one."""
    try:
        with path.open("rb") as file:
            text = file.read(4 * PEER_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise StorageError(f"{path}: cannot read: {error.strerror}") from None
    if re.fullmatch(rf"[0-9a-f]{{{2 * PEER_BYTES}}}", text):
        return text
    peer = random.randbytes(PEER_BYTES).hex()
    replace_file(path, f"{peer}\n".encode("ascii"))
    return peer
