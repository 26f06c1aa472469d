"""The companion: commands and a prompt that ask the node; it never downloads by itself.

From the floor up: `wording`, `outcome`, `patience`, `sse`, `screen`, `progress`, `tables` and
`requests` are pure; `console`, `terminal` and `typing_` know the terminal; `api`, `hosting` and
`session` know the node; `following` sees one name through; `commands`, `getting` and `prompt` are
what the user asked for; `run` and `main` put it together.
"""
