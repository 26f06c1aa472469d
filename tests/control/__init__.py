"""Tests of the local HTTP API, over real connections to a node that is none."""
