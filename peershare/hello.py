"""Hello: what a node says in its log once it knows what it shares.

Not for: where it is served; that is said when a port is opened (listening).
"""

from __future__ import annotations

from twisted.logger import Logger

from peershare.settings import CLASSIC_TCP_PORTS, LONGEST_GOOD_INTERVAL_SECONDS, Settings
from peershare.wiring import Parts

_log = Logger()


def say_hello(settings: Settings, parts: Parts) -> None:
    """What is shared, where it is announced, how to fetch."""
    count = parts.library.file_count
    _log.info("sharing {count} files of {share}", count=count, share=settings.share)
    for link in parts.announcer.links:
        _log.info(
            "announcing from {address} to {broadcasts} (UDP {port}) every {seconds:g} s",
            address=link.address,
            broadcasts=", ".join(map(str, link.broadcasts)),
            port=settings.classic_udp_port,
            seconds=settings.announce_interval_seconds,
        )
    if settings.tcp_port not in CLASSIC_TCP_PORTS:
        _log.warn(
            "classic peers look for chunks on TCP 5000 only: on {port} they will not find us",
            port=settings.tcp_port,
        )
    if settings.announce_interval_seconds > LONGEST_GOOD_INTERVAL_SECONDS:
        _log.warn("with so long an interval classic peers forget us between announcements")
    _log.info("to fetch: peershare get NAME --state {state}", state=settings.state)
