"""The local HTTP API: what the client (and later the page) asks the node through.

On loopback only, with a token from `control.json`; see `api` for the routes.
"""
