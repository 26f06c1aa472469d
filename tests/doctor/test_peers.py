"""Verdicts on who was heard and who can be called, and on the service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from peershare import __version__
from peershare.doctor.checks import (
    Check,
    cells_of,
    diagnosis_of,
    failed,
    line_of,
    passed,
    summary_of,
    warned,
)
from peershare.doctor.evidence import Arrivals, Dial, Dialled, Peer, Service, ServiceState
from peershare.doctor.judging.peers import judge_arrivals, judge_call, judge_heard
from peershare.doctor.judging.service import judge_service

NATIVE = Peer(
    "198.18.0.2",
    beacons=True,
    proven=True,
    classic=True,
    heard_seconds_ago=3.0,
    tcp_port=5_000,
    contents=2,
)
CLASSIC = replace(NATIVE, address="198.18.0.3", beacons=False, proven=False, tcp_port=0)
NOBODY = Arrivals((), 5.0)


class HeardTests(SynchronousTestCase):
    def test_nobody(self) -> None:
        """It may be so, and it is what the doctor was called for."""
        for serving, word in ((True, "our service has heard nobody"), (False, "nobody was heard")):
            (check,) = judge_arrivals(NOBODY, 5_000, serving=serving)
            self.assertEqual(check.verdict, "warn")
            self.assertIn(word, check.text)
            self.assertIn("client isolation", check.advice)

    def test_native_and_classic(self) -> None:
        """By what they are heard, and when."""
        check = judge_heard(NATIVE, 5_000)
        self.assertEqual(check.verdict, "pass")
        self.assertEqual(check.text, "beacons and announcements 3 s ago, 2 contents")
        check = judge_heard(replace(CLASSIC, contents=1), 5_000)
        self.assertEqual(check.text, "announcements 3 s ago, 1 content")

    def test_one_that_does_not_answer(self) -> None:
        """It is heard, and does not hear us: its firewall."""
        check = judge_heard(replace(NATIVE, proven=False), 5_000)
        self.assertEqual(check.verdict, "warn")
        self.assertIn("let UDP 5000 in", check.advice)

    def test_strange_ones(self) -> None:
        """From networks that are not ours, or not understood: a few of them are named."""
        far = tuple(f"10.0.0.{n}" for n in range(1, 7))
        arrivals = replace(NOBODY, elsewhere=far, not_understood=("198.18.0.9",), peers=(CLASSIC,))
        checks = judge_arrivals(arrivals, 5_000, serving=False)
        self.assertEqual([c.verdict for c in checks], ["warn", "warn", "pass", "pass"])
        self.assertEqual(checks[0].subject, "10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4 and 2 more")

    def test_deaf(self) -> None:
        """Who could not listen has not heard anybody, and says only that."""
        arrivals = replace(NOBODY, deaf=("UDP *:5001 cannot be opened",))
        (check,) = judge_arrivals(arrivals, 5_000, serving=False)
        self.assertEqual(check.verdict, "fail")


class CallTests(SynchronousTestCase):
    def dialled(self, end: Dialled, detail: str = "") -> Check:
        check = judge_call(replace(NATIVE, dial=Dial(end, 0.0123, detail)))
        assert check is not None
        return check

    def test_each_end(self) -> None:
        """Answers pass, silence is a warning, everything else fails and says where to look."""
        verdicts = {end: self.dialled(end).verdict for end in Dialled}
        self.assertEqual(verdicts.pop(Dialled.ANSWERED), "pass")
        self.assertEqual(verdicts.pop(Dialled.SILENT), "warn")
        self.assertEqual(set(verdicts.values()), {"fail"})
        check = self.dialled(Dialled.ANSWERED, "peershare 1")
        self.assertEqual(check.text, "it answers, after 12 ms (peershare 1)")
        self.assertEqual(check.subject, "198.18.0.2:5000 over TCP")
        for end in (Dialled.REFUSED, Dialled.TIMED_OUT, Dialled.UNREACHABLE, Dialled.FAILED):
            self.assertIn("on 198.18.0.2, let TCP 5000 in", self.dialled(end).advice)
        self.assertIn(
            "No route to host", self.dialled(Dialled.UNREACHABLE, "No route to host").text
        )

    def test_one_that_takes_no_sessions(self) -> None:
        """Its beacons say port 0."""
        check = judge_call(replace(NATIVE, tcp_port=0))
        assert check is not None
        self.assertEqual(check.verdict, "fail")

    def test_classic(self) -> None:
        """It is not called; the download log speaks."""
        for result, verdict in (
            ("", "pass"),
            ("ok", "pass"),
            ("failed short", "pass"),
            ("failed refused: nobody listens", "warn"),
            ("failed connect-timeout", "warn"),
            ("failed unreachable", "warn"),
        ):
            check = judge_call(replace(CLASSIC, last_result=result))
            assert check is not None
            self.assertEqual(check.verdict, verdict, result)
            self.assertIn(result, check.text)

    def test_strangers(self) -> None:
        """Of who sends beacons and has proven nothing there is nothing to say over TCP."""
        self.assertIsNone(judge_call(replace(NATIVE, proven=False)))
        self.assertIsNone(judge_call(NATIVE), "it was one too many to be called")


RUNNING = Service(ServiceState.RUNNING, 7, version=__version__, tcp_port=5_000)


class ServiceTests(SynchronousTestCase):
    def judged(self, state: ServiceState, **more: Any) -> Check:
        (check,) = judge_service(replace(RUNNING, state=state, **more), "/state")
        return check

    def test_each_state(self) -> None:
        """It runs; there is none; it was killed; it starts; it does not answer."""
        verdicts = {state: self.judged(state).verdict for state in ServiceState}
        self.assertEqual(verdicts.pop(ServiceState.RUNNING), "pass")
        self.assertEqual(verdicts.pop(ServiceState.SILENT), "fail")
        self.assertEqual(set(verdicts.values()), {"warn"})
        self.assertIn("twistd -n peershare", self.judged(ServiceState.NONE).advice)
        self.assertIn("left behind by pid 7", self.judged(ServiceState.STALE).text)
        check = self.judged(ServiceState.SILENT, detail="timed out")
        self.assertIn("(pid 7) and does not answer: timed out", check.text)

    def test_what_it_says(self) -> None:
        """Problems fail; another version, silence and foreign networks are warnings."""
        for more, verdict, part in (
            ({"problems": ("TCP port 5000 is taken",)}, "fail", "TCP port 5000 is taken"),
            ({"exposed": True}, "fail", "token"),
            ({"version": "0"}, "warn", "version 0"),
            ({"announces": False}, "warn", "announces nothing"),
            ({"from_elsewhere": 9}, "warn", "9 datagrams"),
            ({"not_offered": 7, "not_offered_first": (("a\n", "why"),)}, "warn", "a\\x0a (why)"),
        ):
            checks = judge_service(replace(RUNNING, **more), "/state")  # type: ignore[arg-type]
            self.assertEqual([c.verdict for c in checks], ["pass", verdict], more)
            self.assertIn(part, checks[1].text)


class CheckTests(SynchronousTestCase):
    checks = (
        passed("a", "A", "fine"),
        warned("b", "B", "hm", "look"),
        failed("c", "C", "no", "do"),
    )

    def test_lines(self) -> None:
        """One line each, with what to do; cells for programs."""
        self.assertEqual(line_of(self.checks[0]), "pass  A: fine.")
        self.assertEqual(line_of(self.checks[1]), "warn  B: hm.  To do: look")
        self.assertEqual(cells_of(self.checks[2]), ("fail", "c", "C", "no", "do"))

    def test_nothing_of_others_reaches_the_terminal(self) -> None:
        """Names of processes and texts of peers are made safe."""
        check = failed("port", "a\nb", "taken by \x1b[2J", "kill \u202e")
        for text in (line_of(check), *cells_of(check)):
            self.assertTrue(text.isprintable(), text)

    def test_summary(self) -> None:
        """The worst verdict, and how many there are of each."""
        self.assertEqual(summary_of(self.checks), "1 passed, 1 warning, 1 failed")
        self.assertEqual(summary_of(self.checks[:1]), "1 passed, 0 warnings, 0 failed")
        for count, verdict in ((0, "pass"), (1, "pass"), (2, "warn"), (3, "fail")):
            self.assertEqual(diagnosis_of(self.checks[:count]).verdict, verdict)
