"""The local HTTP API: what the client, the page and scripts ask the node through.

On loopback only, with a token from `control.json`, or the cookie of a browser that the page was
opened in; see `routes` for what there is.
"""
