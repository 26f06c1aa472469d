"""The bytes on the wire and what they mean, in both directions.

Pure: bytes in, values out, and back.  Not for: sockets and schedules.
"""
