"""Tests of the pure rooms at the bottom: chunks, names, kinds."""
