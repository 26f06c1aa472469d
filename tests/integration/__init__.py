"""Several real services on loopback, each in a process of its own, as users run them."""
