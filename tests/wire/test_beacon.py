"""Beacons: their bytes, and nonces."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import PeerError, Reason
from peershare.wire.beacon import (
    BEACON_BYTES,
    MAX_BEACON_BYTES,
    NONCE_BYTES,
    Beacon,
    Endpoint,
    Nonces,
    decode,
    encode,
)

A = "198.18.0.2"
TOLD = {
    "peershare": 1,
    "peer": "a" * 32,
    "instance": "b" * 16,
    "port": 5000,
    "catalogue": "c" * 64,
    "count": 3,
    "interval": 30,
}

_nonces = st.one_of(st.just(""), st.binary(min_size=16, max_size=16).map(bytes.hex))
beacons = st.builds(
    Beacon,
    peer=st.binary(min_size=16, max_size=16).map(bytes.hex),
    instance=st.binary(min_size=8, max_size=8).map(bytes.hex),
    port=st.integers(0, 65_535),
    catalogue=st.binary(min_size=32, max_size=32).map(bytes.hex),
    count=st.integers(0, 100_000),
    interval=st.integers(1, 86_400),
    ask=st.booleans(),
    bye=st.booleans(),
    nonce=_nonces,
    echo=_nonces,
    udp=st.integers(0, 65_535),
)


def written(**changes: object) -> bytes:
    """A beacon as somebody else might write it."""
    return json.dumps({**TOLD, **changes}).encode().ljust(BEACON_BYTES)


class BytesTests(SynchronousTestCase):
    @given(beacons)
    def test_there_and_back(self, beacon: Beacon) -> None:
        """Whatever it says it has one length, so that no answer is larger than its question."""
        datagram = encode(beacon)
        self.assertEqual(len(datagram), BEACON_BYTES)
        self.assertEqual(decode(datagram), beacon)

    def test_what_does_not_fit(self) -> None:
        """It is not sent."""
        beacon = Beacon(**{**TOLD, "peer": "a" * 300})
        self.assertRaises(ValueError, encode, beacon)

    def test_of_a_later_version(self) -> None:
        """Unknown keys are ignored, and so is a higher version."""
        beacon = decode(written(peershare=2, mood="fine", nested={"a": [1]}))
        self.assertEqual((beacon.peershare, beacon.port, beacon.ask), (2, 5000, False))

    def test_what_is_none(self) -> None:
        """Known keys are judged strictly; each is a bad beacon and nothing worse."""
        hostile = [
            *(b"", b"{}".ljust(BEACON_BYTES), b"[" * 1_000, b"\xff" * BEACON_BYTES),
            json.dumps(TOLD).encode(),  # too short to be answered
            encode(Beacon(**TOLD)) + b" " * MAX_BEACON_BYTES,
            b'{"x":' + b"[" * 900,
            written(port=65_536),
            written(port="5000"),
            written(port=True),
            written(port=5000.5),
            written(peershare=0),
            written(catalogue="C" * 64),
            written(catalogue="c" * 63),
            written(catalogue="c" * 64 + "\n"),
            written(instance=""),
            written(instance="../../etc"),
            written(count=-1),
            written(interval=0),
            written(interval=1e400),
            written(nonce="short"),
            written(echo="a" * 32 + "\n"),
            written(ask=1),
            b'{"chunks": ["forest_1"]}'.ljust(BEACON_BYTES),
        ]
        for datagram in hostile:
            error = self.assertRaises(PeerError, decode, datagram)
            self.assertEqual(error.reason, Reason.BAD_BEACON, datagram)

    @given(st.binary(max_size=1_200))
    def test_anything(self, datagram: bytes) -> None:
        """Any bytes are a beacon or a bad beacon."""
        try:
            decode(datagram)
        except PeerError as error:
            self.assertEqual(error.reason, Reason.BAD_BEACON)


class NoncesTests(SynchronousTestCase):
    def test_one_for_each_claim(self) -> None:
        """Another address, instance, TCP port or secret has another nonce."""
        nonces = Nonces(b"s" * 32)
        one = nonces.nonce(Endpoint(A, 5000, "b" * 16))
        self.assertEqual(len(one), 2 * NONCE_BYTES)
        self.assertEqual(one, nonces.nonce(Endpoint(A, 5000, "b" * 16)))
        others = {
            nonces.nonce(Endpoint("198.18.0.3", 5000, "b" * 16)),
            nonces.nonce(Endpoint(A, 5000, "c" * 16)),
            nonces.nonce(Endpoint(A, 22, "b" * 16)),
            Nonces(b"t" * 32).nonce(Endpoint(A, 5000, "b" * 16)),
        }
        self.assertEqual(len(others - {one}), 4)

    def test_what_proves(self) -> None:
        """The echo of the nonce for just what the beacon says, from just that address."""
        nonces = Nonces(b"s" * 32)
        echo = nonces.nonce(Endpoint(A, 5000, "b" * 16))
        self.assertTrue(nonces.proves(Beacon(**TOLD, echo=echo), A))
        self.assertFalse(nonces.proves(Beacon(**TOLD, echo=echo), "198.18.0.3"))
        self.assertFalse(nonces.proves(Beacon(**{**TOLD, "port": 22}, echo=echo), A))
        self.assertFalse(nonces.proves(Beacon(**{**TOLD, "instance": "d" * 16}, echo=echo), A))
        self.assertFalse(nonces.proves(Beacon(**TOLD), A))
