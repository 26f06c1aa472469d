"""Tests of downloading: the pure rules, the machine, one session, and whole downloads."""
