"""Contents: how a file divides into chunks, what a name may be, what kind of file bytes are.

Pure rooms at the bottom of the house.  Not for: disks, sockets, time.
"""
