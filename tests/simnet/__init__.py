"""A simulated network: many real nodes in one process, on virtual time, from one seed.

`clock` is virtual time, `network` the cables and what goes wrong on them, `sockets` what a kernel
would give a process, `reactor` Twisted's own transports on top of those sockets, `disk` what
goes wrong below the files, `world` the nodes, their folders and what happens to them, `scenario`
a random story from a seed.  Everything in a run follows from its seed: the same seed gives the same
run, to the last byte (`python -m tests.simnet SEED` runs one alone and writes down what happened).
Not for: what only a real kernel can show (`tests.integration`, `tests.lab`).
"""
