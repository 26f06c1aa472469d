"""Tests of the doctor: its verdicts, its probes on loopback, and the whole of an examination."""
