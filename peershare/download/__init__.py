"""Chunk_Downloader: fetches the five chunks of a content and joins them (requirements 2.3).

`manager` owns all downloads; `choosing` and `starting` say what a wish means.  By the classic
protocol `machine` is the Automat machine that fails over across addresses, `session` the client
protocol of one connection, `plan` judges sizes (pure), `content` is one download from the wish to
the final file.  `swarm` is the same for contents with an id: verified, from everyone at once.
"""
