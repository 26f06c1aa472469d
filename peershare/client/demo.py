"""The demo: four real services on this machine, one picture, one peer killed while it gives.

What is shown is what happens: the services are `twistd peershare` processes on 127.0.0.2-5, the
download is `peershare get`, the killed peer is killed.  Everything made is cleaned up.
Linux only: other systems have no 127.0.0.N without being asked.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from peershare.client.demopeer import (
    PATIENCE_SECONDS,
    DemoError,
    Peer,
    clean_environment,
    wait,
)
from peershare.client.picture import draw_forest
from peershare.client.wording import short_id, size_text
from peershare.content.manifest import manifest_of

_NAME = "forest.png"
_CLIENT = "import sys; from peershare.client.main import main; sys.exit(main())"
# The third and fourth one are to have so much of it when the last one begins.
_BEGUN_PERCENT = 8.0

Say = Callable[[str], None]


def run_demo(stream: TextIO) -> int:
    """Run the demo, telling about it on `stream`; the exit status is 0 if all went well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def say(text: str) -> None:
        print(text, file=stream, flush=True)

    try:
        with _peers() as (home, peers):
            _show(say, peers)
            say(f"\nDone; {home} is removed again.")
    except DemoError as error:
        say(f"the demo failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("\ninterrupted; everything is cleaned up")
        return 130
    return 0


@contextmanager
def _peers() -> Iterator[tuple[Path, list[Peer]]]:
    """Four peers that are not started yet; stopped and deleted in the end."""
    home = Path(tempfile.mkdtemp(prefix="peershare-demo-"))
    peers = [Peer(home, number) for number in (2, 3, 4, 5)]
    try:
        yield home, peers
    finally:
        for peer in peers:
            peer.stop()
        shutil.rmtree(home, ignore_errors=True)


def _show(say: Say, peers: list[Peer]) -> None:
    """The whole story."""
    source, killed, helper, last = peers
    picture = draw_forest(seed=1)
    (source.share / _NAME).write_bytes(picture)
    content = manifest_of(picture).content_id
    say(f"1. A picture, drawn for this demo, goes into the share folder of {source.address} alone:")
    say(f"   {_NAME}, {len(picture):,} bytes, content id {short_id(content)}…")
    say("2. Four peers start, each a service of its own: `twistd --nodaemon peershare`.")
    for peer in peers:
        peer.start()
    _hear_of(content, peers)
    say("   They have found each other, and all of them know of the picture.")
    say(f"3. {killed.address} and {helper.address} begin to download it.")
    for peer in (killed, helper):
        peer.begin(_NAME)
    wait(lambda: _least(killed, helper) >= _BEGUN_PERCENT, "their first blocks", *peers)
    say(f"4. {last.address} wants it, too: `peershare get forest`.  It gets blocks from all three,")
    say(f"   though two of them began a moment ago.  {killed.address} is killed in the middle:")
    say("   watch the download go on from the others.\n")
    seen = _download(killed, helper, last)
    _tell_seen(say, seen, killed, helper)
    _compare(say, picture, last)
    missing = "fetches what is missing" if seen.killed < 100 else "all of it is there"
    say(f"5. {killed.address} starts again.  It checks what it has, and {missing}.")
    killed.start()
    wait(lambda: _has(killed, content) and _has(helper, content), "the others to have it", *peers)
    _compare(say, picture, killed, helper)
    _tell_who_gave(say, (killed, helper, last))
    say(f"\n--- download_log.txt of {last.address}\n{last.text('download_log.txt').rstrip()}")


def _hear_of(content: str, peers: Sequence[Peer]) -> None:
    def heard(peer: Peer) -> bool:
        return any(known.id == content for known in peer.contents())

    wait(lambda: all(map(heard, peers)), "all of them to know of the picture", *peers)


def _least(*peers: Peer) -> float:
    return min(peer.percent() for peer in peers)


def _has(peer: Peer, content: str) -> bool:
    """Whether it shares all of it: a download of a former run is in no list of downloads."""
    return any(known.id == content and known.shared for known in peer.contents())


def _compare(say: Say, picture: bytes, *peers: Peer) -> None:
    """See that what arrived is what was sent."""
    for peer in peers:
        found = list(peer.share.glob("forest*"))
        if [path.read_bytes() for path in found] != [picture]:
            raise DemoError(f"what arrived at {peer.address} is not the picture: {found}")
        content = short_id(manifest_of(found[0].read_bytes()).content_id)
        say(f"   {peer.address} has {found[0].name}, content id {content}…: the same bytes.")


@dataclass(frozen=True)
class _Seen:
    """How much of it three peers had, in percent, when the process `pid` was killed.

    `gave`: the one that was killed had given something to the last one by then.
    """

    killed: float
    helper: float
    last: float
    gave: bool
    pid: int


def _tell_seen(say: Say, seen: _Seen, killed: Peer, helper: Peer) -> None:
    """What happened, whichever of them was faster."""
    say(f"\n   *** {killed.address} (process {seen.pid}) was killed ***")
    say(f"   It had {seen.killed:.0f}% of it itself then, and {helper.address} {seen.helper:.0f}%.")
    if seen.last < 100 and seen.gave:
        say(f"   It was giving: at {seen.last:.0f}% the download went on from the others.")
    elif seen.last < 100:
        say(f"   It had given nothing yet; {seen.last:.0f}% had come from the others.")
    else:
        say("   The download was complete by then: this machine was too fast for a failover.")


def _download(killed: Peer, helper: Peer, last: Peer) -> _Seen:
    """Run the client on the last peer, and kill a peer that gives to it.

    The client has the terminal for itself meanwhile: it draws a progress bar there.
    """
    client = subprocess.Popen(
        [sys.executable, "-c", _CLIENT, "get", "forest", "--state", str(last.state)],
        stdin=subprocess.DEVNULL,
        env=clean_environment(),
    )
    peers = (killed, helper, last)
    try:
        wait(lambda: _gives(killed, last) or _ended(client), f"{killed.address} to give", *peers)
        wait(lambda: _gives(helper, last) or _ended(client), f"{helper.address} to give", *peers)
        time.sleep(1.0)  # into the middle of it
        percents = killed.percent(), helper.percent(), last.percent()
        seen = _Seen(*percents, _gives(killed, last), killed.pid)
        killed.kill()
        if client.wait(PATIENCE_SECONDS) != 0:
            raise DemoError(f"the client ended with status {client.returncode}")
    except subprocess.TimeoutExpired:
        raise DemoError("the download did not come to its end") from None
    finally:
        if client.poll() is None:
            client.kill()
            client.wait()
    return seen


def _ended(client: subprocess.Popen[bytes]) -> bool:
    return client.poll() is not None


def _gives(giver: Peer, receiver: Peer) -> bool:
    status = receiver.download()
    return status is not None and status.given.get(giver.address, 0) > 0


def _tell_who_gave(say: Say, receivers: Sequence[Peer]) -> None:
    """A table: who got how much from whom."""
    statuses = [(peer.address, peer.download()) for peer in receivers]
    givers = sorted({address for _, status in statuses if status for address in status.given})
    say("6. Who gave how much to whom (what was started again counts from then):")
    say("   " + "".join(f"{title:>12}" for title in ("", *givers)))
    for address, status in statuses:
        given = status.given if status else {}
        cells = (size_text(given[giver]) if giver in given else "-" for giver in givers)
        say("   " + "".join(f"{cell:>12}" for cell in (address, *cells)))
