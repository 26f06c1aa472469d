"""The judge of what crosses the network: lets what is good pass and finds each fault."""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from peershare.wire.beacon import Beacon, encode
from tests.lab.rules import (
    Datagram,
    Segment,
    Stream,
    faults_of,
    faults_of_payload,
    faults_of_stream,
    streams_of,
)

FIVE = [f"forest_{number}" for number in range(1, 6)]
ONE, TWO, CLASSIC = (f"198.18.0.{number}" for number in (1, 2, 3))
KEYS = ("requested_content", "requested content", "requested-content")
NONCE = "5a" * 16
HELLO = b'{"type":"hello","versions":[1],"port":5000}\n'
PIECES = ((6, b"gh"), (0, b"abc"), (3, b"def"), (2, b"cd"))
BEACON = Beacon(
    peer="ab" * 16, instance="cd" * 8, port=5000, catalogue="ef" * 32, count=1, interval=30
)


def datagram(
    payload: bytes,
    *,
    target: str = "198.18.0.255",
    port: int = 5001,
    fragment: bool = False,
    at: float = 0.0,
) -> Datagram:
    """One of host 1."""
    return Datagram(at, "port1", ONE, target, port, fragment, payload.hex())


def told(names: object) -> bytes:
    """An announcement of these names."""
    return json.dumps({"chunks": names}).encode()


class RulesTests(SynchronousTestCase):
    def test_good_ones_pass(self) -> None:
        """Five names together, two files together, an escaped name: nothing to find."""
        umlaut = [f"B\u00e4ume_{number}" for number in range(1, 6)]
        for names in (FIVE, FIVE + umlaut, [f"forest.jpg_{number}" for number in range(1, 6)]):
            self.assertEqual(faults_of_payload(told(names)), [])

    def test_a_part_may_be_told_where_it_is_all_there_is(self) -> None:
        """Less than five chunks are a fault unless their stem is known to be partial."""
        self.assertEqual(len(faults_of_payload(told(FIVE[:3]))), 1)
        self.assertEqual(faults_of_payload(told(FIVE[:3]), frozenset({"forest"})), [])

    def test_each_fault_is_found(self) -> None:
        """Every rule of the protocol has a datagram here that breaks it alone."""
        for payload in (
            told(["x" * 1_024 + f"_{number}" for number in range(1, 6)]),
            json.dumps({"chunks": ["B\u00e4ume_1"]}, ensure_ascii=False).encode(),
            b"\x16\x03\x01",
            told(FIVE)[:-1],
            b"[" * 100_000,
            json.dumps(FIVE).encode(),
            json.dumps({"chunks": FIVE, "user": "ann"}).encode(),
            json.dumps({"files": FIVE}).encode(),
            b'{"chunks": ["a_1"], "chunks": ["a_1"]}',
            told([]),
            told(None),
            told([*FIVE, True]),
            told(dict.fromkeys(FIVE, 1)),
            told(["a:b_1", "a:b_2", "a:b_3", "a:b_4", "a:b_5"]),
            told(["a\nb_1", "a\nb_2", "a\nb_3", "a\nb_4", "a\nb_5"]),
            told([*FIVE, "forest_5"]),
            told([*FIVE, "forest_0"]),
        ):
            self.assertNotEqual(faults_of_payload(payload), [], payload[:60])

    def test_where_it_goes_and_whether_it_is_whole(self) -> None:
        """Another port and an IP fragment are faults whatever is in the datagram."""
        good = datagram(told(FIVE))
        self.assertEqual(faults_of(good), [])
        for changes in ({"port": 5002}, {"port": 5000}, {"fragment": True}):
            self.assertNotEqual(faults_of(replace(good, **changes)), [])


class BeaconRulesTests(SynchronousTestCase):
    def test_good_ones_pass(self) -> None:
        """To everybody without a nonce, to one address with what is for it alone."""
        self.assertEqual(faults_of(datagram(encode(BEACON), port=5000)), [])
        asking = encode(replace(BEACON, nonce=NONCE, echo=NONCE))
        self.assertEqual(faults_of(datagram(asking, target=TWO, port=5000)), [])
        self.assertEqual(faults_of(datagram(encode(BEACON), port=5103), beacon_port=5103), [])

    def test_each_fault_is_found(self) -> None:
        """Every rule has a datagram here that breaks it."""
        good = encode(BEACON)
        for bad in (
            datagram(good, port=5001),
            datagram(good, port=5000, fragment=True),
            datagram(good, port=5103),
            datagram(good.rstrip(), port=5000),
            datagram(good + b" ", port=5000),
            datagram(b" " + good[:-1], port=5000),
            datagram(good.replace(b'"port"', b'"prot"'), port=5000),
            datagram(told(FIVE), port=5000),
            datagram(told(FIVE).ljust(len(good)), port=5000),
            datagram(encode(replace(BEACON, nonce=NONCE)), port=5000),
            datagram(encode(replace(BEACON, echo=NONCE)), port=5000),
        ):
            self.assertNotEqual(faults_of(bad), [], bad)


class StreamRulesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.classic = frozenset({CLASSIC})
        question = datagram(encode(replace(BEACON, nonce=NONCE)), target=TWO, port=5000, at=1.0)
        answer = datagram(encode(replace(BEACON, echo=NONCE)), target=ONE, port=5000, at=2.0)
        self.proof = [question, replace(answer, source=TWO)]

    def faults(self, data: bytes, target: str, beacons: Sequence[Datagram] = ()) -> list[str]:
        """The faults of a connection that is opened at 3.0 s."""
        return faults_of_stream(Stream(3.0, ONE, target, 5000, data), self.classic, beacons, 5000)

    def test_classic_requests(self) -> None:
        """To a classic peer goes one request of ours, and nothing else."""
        for keys in (KEYS, KEYS[:1]):
            request = json.dumps(dict.fromkeys(keys, "forest_1")).encode()
            self.assertEqual(self.faults(request, CLASSIC), [])
            self.assertEqual(self.faults(request, TWO), [], "nor has that one to prove anything")
        good = json.dumps(dict.fromkeys(KEYS, "forest_1")).encode()
        for bad in (
            *(HELLO, good + HELLO, good + b"\n", b" " + good, good[:-1], good + good, b"", b"\0"),
            json.dumps({**dict.fromkeys(KEYS, "forest_1"), "user": "ann"}).encode(),
            json.dumps({"requested content": "forest_1"}).encode(),
            json.dumps({KEYS[0]: "forest_1", KEYS[1]: "forest_2"}).encode(),
            json.dumps({KEYS[0]: ["forest_1"]}).encode(),
            json.dumps({KEYS[0]: ""}).encode(),
            json.dumps({KEYS[0]: "B\u00e4ume_1"}, ensure_ascii=False).encode(),
            json.dumps({KEYS[0]: "x" * 1_024 + "_1"}).encode(),
            b'{"requested_content": "forest_1", "requested_content": "forest_1"}',
        ):
            self.assertNotEqual(self.faults(bad, CLASSIC, self.proof), [], bad)

    def test_native_dials(self) -> None:
        """Only after the nonce that was sent to it alone has come back from there."""
        question, answer = self.proof
        self.assertEqual(self.faults(HELLO, TWO, self.proof), [])
        for beacons in (
            [],
            [question],
            [answer],
            [answer, question],
            [question, replace(answer, at=4.0)],
            [question, replace(answer, source=CLASSIC)],
            [question, replace(answer, target=CLASSIC)],
            [replace(question, target=CLASSIC), answer],
            [question, replace(answer, payload=encode(replace(BEACON, echo="ab" * 16)).hex())],
            [replace(one, port=5103) for one in self.proof],
        ):
            self.assertNotEqual(self.faults(HELLO, TWO, beacons), [], beacons)

    def test_streams_are_put_together(self) -> None:
        """By their places, whatever is sent again or comes late."""
        first = Segment(1.0, "port1", ONE, TWO, 5000, 1, 0, b"abc".hex())
        other = Segment(1.1, "port1", ONE, CLASSIC, 8000, 2, 0, b"xyz".hex())
        later = [replace(first, at=2.0, offset=n, payload=d.hex()) for n, d in PIECES]
        self.assertEqual(
            streams_of([first, other, *later]),
            [Stream(1.0, ONE, TWO, 5000, b"abcdefgh"), Stream(1.1, ONE, CLASSIC, 8000, b"xyz")],
        )
