"""Tests of peershare.serving."""
