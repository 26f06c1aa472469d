"""The companion: commands and a prompt that ask the node; it never downloads by itself.

A map, from the floor up:

- pure: `outcome`, `wording`, `patience`, `smoothing`, `since`, `picking`, `sse`, `requests`,
  `linebuffer`, `screen`, `progress`, `tables`, `statusview`, `flags`, `arguments`
- for shells: `grammar`, `bashscript`, `zshscript`, `fishscript`, `completion`, `lookup`
- the terminal: `console`, `stdin`, `lines`, `terminal`, `editor`, `paths`, `logs`
- the node: `asking`, `feed`, `api`, `hosting`, `session`
- what the user asked for: `absence`, `choosing`, `following`, `report`, `commands`, `getting`,
  `steering`, `watching`, `opening`, `steered`, `prompt`, `interactive`
- put together: `run`, `main`;  on its own: `demo`, `demopeer`, `picture`
"""
