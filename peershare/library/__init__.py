"""The library: the only code that touches shared files.

`library.Library` is what the rest of the node talks to; `scan` reads the share folder,
`watch` notices changes, `index` remembers over restarts, `files` opens without being fooled,
`parts` writes what is being downloaded.
"""
