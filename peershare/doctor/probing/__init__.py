"""Probes: what is asked of this machine and of the network; `doctor` says what is sent to whom.

Not for: what the answers mean (`judging`).
"""
