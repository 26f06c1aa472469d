"""Chunk_Downloader: fetches the five chunks of a content and joins them (requirements 2.3).

`machine` is the Automat machine that fails over across addresses, `session` the client
protocol of one connection, `plan` judges sizes (pure), `content` is one download from the
wish to the final file, `manager` owns all of them.
"""
