"""A check: one line with a verdict and what to do.  Pure.  Not for: coming to a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec import Struct

from peershare.content.names import display

_TEXT_LIMIT = 1_000


class Verdict(StrEnum):
    """What came of a check, the best first."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


class Check(Struct, frozen=True, kw_only=True):
    """One line.  All texts are safe to show; `advice` is "" where nothing is to be done."""

    check: str  # which one, for programs: "interface", "port", "peer", …
    subject: str  # what was looked at
    verdict: Verdict
    text: str
    advice: str = ""


class Diagnosis(Struct, frozen=True, kw_only=True):
    """All of them, and the worst verdict."""

    verdict: Verdict
    checks: tuple[Check, ...]


def passed(check: str, subject: str, text: str) -> Check:
    """Nothing is wrong here."""
    return _check(check, subject, Verdict.PASS, text, "")


def warned(check: str, subject: str, text: str, advice: str) -> Check:
    """It may be in the way, or is soon."""
    return _check(check, subject, Verdict.WARN, text, advice)


def failed(check: str, subject: str, text: str, advice: str) -> Check:
    """It is in the way."""
    return _check(check, subject, Verdict.FAIL, text, advice)


def _check(check: str, subject: str, verdict: Verdict, text: str, advice: str) -> Check:
    return Check(
        check=check,
        subject=display(subject, _TEXT_LIMIT),
        verdict=verdict,
        text=display(text, _TEXT_LIMIT),
        advice=display(advice, _TEXT_LIMIT),
    )


def diagnosis_of(checks: Iterable[Check]) -> Diagnosis:
    """All of it as one value."""
    found = tuple(checks)
    worst = max((check.verdict for check in found), key=list(Verdict).index, default=Verdict.PASS)
    return Diagnosis(verdict=worst, checks=found)


def line_of(check: Check) -> str:
    """For a person: `fail  UDP 5001: it is taken by … To do: stop it`."""
    advice = f"  To do: {check.advice}" if check.advice else ""
    return f"{check.verdict:<4}  {check.subject}: {check.text}.{advice}"


def cells_of(check: Check) -> tuple[str, ...]:
    """For a program that wants no JSON: the cells of a line with tabs."""
    return (check.verdict, check.check, check.subject, check.text, check.advice)


def summary_of(checks: Sequence[Check]) -> str:
    """`14 passed, 1 warning, 2 failed`."""
    counts = Counter(check.verdict for check in checks)
    warnings = counts[Verdict.WARN]
    return (
        f"{counts[Verdict.PASS]} passed, {warnings} warning{'' if warnings == 1 else 's'},"
        f" {counts[Verdict.FAIL]} failed"
    )
