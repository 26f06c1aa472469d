"""Serving native sessions: what is sent to whom, in which order, and who meets whom.

Not for: taking connections (uploader), or for asking others (download).
"""
