"""Who was heard, and can their files be fetched?  Pure.

UDP and TCP are judged apart: who is heard and cannot be called has a firewall of its own.
Not for: classic peers over TCP, which nobody may call without wanting a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence

from peershare.doctor.checks import Check, failed, passed, warned
from peershare.doctor.evidence import Arrivals, Dialled, Peer

_UNREACHED = ("refused", "unreachable", "connect-timeout")


def judge_arrivals(arrivals: Arrivals, beacon_port: int, *, serving: bool) -> list[Check]:
    """All that was heard; `serving`: our service listened, and not we."""
    checks = [
        failed("heard", "listening", problem, "see the port above, or the log of the service")
        for problem in arrivals.deaf
    ]
    checks += _judge_strange(arrivals)
    if not arrivals.peers and not arrivals.deaf:
        checks.append(_nobody(arrivals, serving=serving))
    for peer in arrivals.peers:
        checks.append(judge_heard(peer, beacon_port))
        call = judge_call(peer)
        if call is not None:
            checks.append(call)
    return checks


def _judge_strange(arrivals: Arrivals) -> list[Check]:
    checks = []
    if arrivals.elsewhere:
        checks.append(
            warned(
                "heard",
                _few(arrivals.elsewhere),
                "heard, but on no network of ours: what they say is not listened to",
                "give all machines addresses of one network with one netmask, or use the --address"
                " that is on theirs",
            )
        )
    if arrivals.not_understood:
        checks.append(
            warned(
                "heard",
                _few(arrivals.not_understood),
                "sends datagrams to our ports that are neither beacons nor announcements",
                "look what runs there; with another port (--beacon-port) it is out of the way",
            )
        )
    return checks


def _nobody(arrivals: Arrivals, *, serving: bool) -> Check:
    how = "our service has heard nobody" if serving else "nobody was heard"
    return warned(
        "heard",
        "others",
        f"{how} (listened for {arrivals.seconds:.0f} s; classic peers tell once a minute)",
        "see that peershare runs on another machine of the same network: not a guest Wi-Fi, and no"
        " 'client isolation' in the access point; run peershare doctor there too; --seconds 65"
        " hears every peer",
    )


def judge_heard(peer: Peer, beacon_port: int) -> Check:
    """What arrives from an address by UDP."""
    kinds = (("beacons", peer.beacons), ("announcements", peer.classic))
    told = " and ".join(word for word, is_so in kinds if is_so)
    subject = f"{peer.address} over UDP"
    if peer.beacons and not peer.proven:
        return warned(
            "heard",
            subject,
            f"its {told} arrive, but it does not answer ours",
            f"there, let UDP {beacon_port} in: peershare doctor on {peer.address} says how",
        )
    age = f"{peer.heard_seconds_ago:.0f} s ago"
    count = f", {peer.contents} content{'' if peer.contents == 1 else 's'}"
    return passed("heard", subject, f"{told or 'it was heard'} {age}{count}")


def judge_call(peer: Peer) -> Check | None:
    """What becomes of a TCP connection to it; None where nothing is known."""
    if peer.proven and peer.dial is not None:
        return _judge_dial(peer)
    if peer.proven and not peer.tcp_port:
        return failed(
            "call",
            f"{peer.address} over TCP",
            "its beacons say that it takes no connections",
            f"run peershare doctor on {peer.address}: no TCP port can be had there",
        )
    if not peer.classic or peer.beacons:
        return None
    subject = f"{peer.address} over TCP"
    if peer.last_result.startswith("failed") and any(
        word in peer.last_result for word in _UNREACHED
    ):
        return warned(
            "call",
            subject,
            f"the last download from this classic peer did not get through: {peer.last_result}",
            f"see that its uploader runs and that a firewall on {peer.address} lets TCP 5000 in",
        )
    past = f"; the last download from it: {peer.last_result}" if peer.last_result else ""
    text = f"a classic peer, not called: it could die of a connection without a request{past}"
    return passed("call", subject, text)


def _judge_dial(peer: Peer) -> Check:
    subject = f"{peer.address}:{peer.tcp_port} over TCP"
    dial = peer.dial
    if dial is None:
        raise ValueError(f"{peer.address} was not called")
    there = f"on {peer.address}, let TCP {peer.tcp_port} in: peershare doctor there says how"
    detail = f" ({dial.detail})" if dial.detail else ""
    match dial.end:
        case Dialled.ANSWERED:
            return passed(
                "call", subject, f"it answers, after {1_000 * dial.seconds:.0f} ms{detail}"
            )
        case Dialled.REFUSED:
            text = f"heard over UDP, but it refuses the connection{detail}: a firewall rejects it"
            return failed("call", subject, f"{text}, or its service has just ended", there)
        case Dialled.TIMED_OUT:
            text = "heard over UDP, but no connection comes about: a firewall there drops it"
            return failed("call", subject, text, there)
        case Dialled.UNREACHABLE:
            text = f"heard over UDP, but TCP finds no way{detail}: a firewall there rejects it"
            return failed("call", subject, f"{text}, or a route here is wrong (ip route)", there)
        case Dialled.SILENT:
            text = f"it takes the connection and says nothing that we understand{detail}"
            advice = f"see what listens on TCP {peer.tcp_port} of {peer.address}, and that both"
            return warned("call", subject, text, f"{advice} have one version of peershare")
        case Dialled.FAILED:
            return failed("call", subject, f"the connection failed{detail}", there)


def _few(addresses: Sequence[str], most: int = 4) -> str:
    more = len(addresses) - most
    return ", ".join(addresses[:most]) + (f" and {more} more" if more > 0 else "")
