"""Proof of the token, without showing it.  Pure.

`control.json` may be left over from a service that was killed, and its port may be anybody's by
now.  So before a client believes an answer, or sends the token, whoever listens has to show that
it knows the token too: it returns a MAC of a nonce that the client has just made.  The client
shows the same of itself, and is not taken for one of the many connections of a stranger.
The two MACs have labels of their own: neither can be passed off as the other.
Not for: connections (`client.proven`), nor who may ask what (`guard`).
"""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated
from urllib.parse import urlencode

from msgspec import Meta, Struct

PROOF_PATH = "/api/proof"
_SERVICE, _CLIENT = b"peershare service 1\n", b"peershare client 1\n"
# A nonce is 32 bytes, a MAC is HMAC-SHA256: both are 64 digits of lowercase hex.
_NONCE_BYTES = 32


_HEX = "^[0-9a-f]{64}$"


class ProofQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of GET /api/proof."""

    nonce: Annotated[
        str, Meta(description="32 bytes that nobody used before, as hex.", pattern=_HEX)
    ]
    mac: Annotated[
        str,
        Meta(
            description="The client's own MAC of it, if it wants to be known itself.",
            pattern="^([0-9a-f]{64})?$",
        ),
    ] = ""


class Proof(Struct, frozen=True):
    """What a service answers."""

    proof: str


def new_nonce() -> str:
    """A nonce for one connection."""
    return secrets.token_hex(_NONCE_BYTES)


def proof_path(token: str, nonce: str) -> str:
    """What a client that knows the token asks for."""
    return f"{PROOF_PATH}?{urlencode({'nonce': nonce, 'mac': _mac(token, _CLIENT, nonce)})}"


def prove(token: str, nonce: str) -> Proof:
    """The answer of a service that knows the token."""
    return Proof(_mac(token, _SERVICE, nonce))


def is_service(token: str, nonce: str, proof: str) -> bool:
    """Whether it was a service that knows the token that answered this nonce so."""
    return _same(_mac(token, _SERVICE, nonce), proof)


def is_client(token: str, nonce: str, mac: str) -> bool:
    """Whether it was a client that knows the token that came with this nonce."""
    return _same(_mac(token, _CLIENT, nonce), mac)


def _mac(token: str, label: bytes, nonce: str) -> str:
    return hmac.new(token.encode("utf-8"), label + nonce.encode("utf-8"), "sha256").hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8"), other.encode("utf-8"))
