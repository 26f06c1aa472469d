"""The judge of datagrams: lets good ones pass and finds each fault."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.rules import Datagram, faults_of, faults_of_payload

FIVE = [f"forest_{number}" for number in range(1, 6)]


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
        good = Datagram(
            at=0.0,
            interface="port1",
            source="198.18.0.1",
            target="198.18.0.255",
            port=5001,
            fragment=False,
            payload=told(FIVE).hex(),
        )
        self.assertEqual(faults_of(good), [])
        for port, fragment in ((5000, False), (5001, True)):
            bad = Datagram(0.0, "port1", good.source, good.target, port, fragment, good.payload)
            self.assertNotEqual(faults_of(bad), [])
