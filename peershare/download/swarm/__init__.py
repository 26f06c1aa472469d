"""One content from everyone at once: verified block by block, by native sessions.

`scheduler` (pure) says which block from whom, with `rarity`, `windows`, `giver` and `flights`
below it; `machine` is the Automat machine of one verified download, which `download` acts for with
`supply` (`sources`, `members`), `fetching`, `filling` and `part`; `session` and `pool` are the
client side of the connections.
"""
