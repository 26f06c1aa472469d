"""Tests of the companion: its pure parts, its parts against a service, and the whole of it spawned."""
