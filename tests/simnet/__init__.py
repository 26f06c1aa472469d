"""A simulated network: many real nodes in one process, on virtual time, from one seed.

`clock` is virtual time, `network` the cables and what goes wrong on them; `sockets`, `streams`,
`listeners` and `datagrams` are what a kernel would give a process, `reactor` Twisted's own
transports on top of that, `disk` what goes wrong below the files; `world` holds the machines and
their nodes, `story` a random tale of faults from a seed, `swarm` the race of one content to many.
Everything in a run follows from its seed: the same seed gives the same run, to the last byte.
`python -m tests.simnet SEED --trace FILE` tells one story alone and writes down what happened.
Not for: what only a real kernel can show (`tests.integration`, `tests.lab`).
"""
