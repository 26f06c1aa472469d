"""Tests of the library: files, parts, index, scanning, and what is offered."""
