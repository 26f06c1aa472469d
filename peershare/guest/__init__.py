"""The guest page: a list and downloads for browsers of the network, without installing anything.

Plain HTTP on a port of its own, read-only but for uploads that somebody here has to accept.  Who
has the link, with its random token, may fetch; everything else is one and the same 404.
"""
