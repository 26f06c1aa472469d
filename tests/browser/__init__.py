"""The page in a real browser, against real services on loopback."""
