"""One libtorrent peer, told by lines of JSON on its standard input what to do.

    python bench/torrent_peer.py ADDRESS PORT

It says `{"is": "ready"}` when it listens, and for each command what came of it, with the moment
(monotonic seconds, the same clock in every process) at which it came about:

- `{"do": "seed", "torrent": PATH, "folder": DIR}`: share what lies in DIR; `seeding` once checked
- `{"do": "fetch", "torrent": PATH, "folder": DIR, "peers": [[ADDRESS, PORT], …]}`: connect to all
  of these at once and fetch into DIR; `finished` when every piece is there and was checked,
  `flushed` when all that was handed to the system, too

It ends with its standard input.  No tracker, no DHT, no local discovery: peers are told.  Not for:
anything of peershare; it runs in an environment of its own, where only libtorrent is installed.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import libtorrent as lt

_ALERT_MILLISECONDS = 1_000


def make_session(address: str, port: int) -> lt.session:
    """A session on this address alone, on plain TCP and as generous as it can be told to be.

    What is not set is left as libtorrent ships it.
    """
    kinds = lt.alert.category_t
    wanted = kinds.status_notification | kinds.error_notification | kinds.storage_notification
    return lt.session(
        {
            "listen_interfaces": f"{address}:{port}",
            "outgoing_interfaces": address,
            "alert_mask": wanted,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            "allow_multiple_connections_per_ip": True,
            "unchoke_slots_limit": -1,
            "connection_speed": 1_000,
            "torrent_connect_boost": 255,
        }
    )


def say(what: str, **fields: Any) -> None:
    """One line on standard output, with the moment."""
    print(json.dumps({"is": what, "at": time.monotonic(), **fields}), flush=True)


def add(session: lt.session, command: dict[str, Any]) -> None:
    """Begin what a command asks for."""
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(command["torrent"])
    parameters.save_path = command["folder"]
    parameters.peers = [tuple(peer) for peer in command.get("peers", ())]
    parameters.flags &= ~lt.torrent_flags.auto_managed & ~lt.torrent_flags.paused
    session.add_torrent(parameters)


def follow(session: lt.session) -> None:
    """Say what happens, for ever."""
    while True:
        session.wait_for_alert(_ALERT_MILLISECONDS)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert):
                say("finished")
                alert.handle.flush_cache()
            elif isinstance(alert, lt.cache_flushed_alert):
                say("flushed")
            elif isinstance(alert, lt.torrent_checked_alert):
                status = alert.handle.status()
                say("seeding" if status.is_seeding else "checked")
            elif isinstance(alert, lt.listen_failed_alert | lt.torrent_error_alert):
                say("failed", why=alert.message())


def main() -> None:
    """Obey until standard input ends."""
    address, port = sys.argv[1:]
    session = make_session(address, int(port))
    threading.Thread(target=follow, args=(session,), daemon=True).start()
    say("ready")
    for line in sys.stdin:
        add(session, json.loads(line))


if __name__ == "__main__":
    main()
