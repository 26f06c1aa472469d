"""Tests of a verified download: the pure scheduler, and what moves the blocks."""
