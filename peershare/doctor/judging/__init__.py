"""Verdicts: evidence in, checks out.  Pure, so that each verdict is a test.

Not for: evidence (`probing`), or the order of the questions (`examination`).
"""
