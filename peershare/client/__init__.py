"""The companion: commands and a prompt that ask the node; it never downloads by itself.

A map, from the floor up:

- pure: `outcome`, `wording`, `patience`, `sse`, `requests`, `linebuffer`, `screen`, `progress`,
  `tables`, `arguments`
- the terminal: `console`, `stdin`, `lines`, `terminal`, `editor`, `paths`, `logs`
- the node: `api`, `hosting`, `session`
- what the user asked for: `following`, `report`, `commands`, `getting`, `prompt`, `interactive`
- put together: `run`, `main`;  on its own: `demo`, `picture`
"""
