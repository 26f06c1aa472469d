"""Tests of the companion: its pure parts, its parts at work on a service, and all of it spawned."""
