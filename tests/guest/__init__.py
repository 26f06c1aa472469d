"""Tests of the guest page."""
