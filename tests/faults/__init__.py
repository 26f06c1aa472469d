"""The k-th step of an operation fails: every disk and database call, once at each position.

`disk` stands before the system's calls, `database` before SQLite's, `durable` knows what a power
cut leaves, `driver` runs an operation again and again.  One test module for each group of
operations; `make test` runs a sample, `make faults` all of it.
"""
