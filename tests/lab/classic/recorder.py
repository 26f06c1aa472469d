"""Records what enters the bridge: every UDP datagram, and what TCP clients send; JSON on stdout.

Runs in the namespace of the bridge and needs nothing but Python.  A frame is taken where it
enters a port of the bridge, so each is seen once and with the port of its sender.  A datagram
that was cut into IP fragments gives one line a fragment; only the first has ports.  Of a TCP
connection each segment from the side that opened it is told, with its place in the stream (one
that is sent again is told again), up to `MOST_BYTES` of it; what comes back is not.
"""

import json
import socket
import struct
import time

ETH_P_ALL, ETH_P_IP, TCP, UDP = 3, 0x0800, 6, 17
SYN, ACK = 2, 16
MOST_BYTES = 1 << 20
# Linux; Python has no name for it.
SO_RCVBUFFORCE = 33


class Streams:
    """The TCP connections, by who opened them."""

    def __init__(self):
        self.opened = {}  # ends -> number of the connection, sequence number of its first byte
        self.count = 0

    def read(self, ends, segment):
        """What there is to say of a segment between such ends; None if there is nothing."""
        sequence, _, offset, flags = struct.unpack_from("!LLBB", segment, 4)
        if flags & SYN:
            first = (sequence + 1) & 0xFFFFFFFF
            if not flags & ACK and self.opened.get(ends, (0, None))[1] != first:
                self.count += 1
                self.opened[ends] = (self.count, first)
            return None
        payload = segment[(offset >> 4) * 4 :]
        if not payload or ends not in self.opened:
            return None
        number, first = self.opened[ends]
        place = (sequence - first) & 0xFFFFFFFF
        if place >= MOST_BYTES:  # or it is a byte of before, which only keeps it alive
            return None
        told = {"kind": "segment", "connection": number, "offset": place}
        return told | {"payload": payload.hex()}


def read(frame, streams):
    """What there is to say of an IPv4 frame; None where there is nothing."""
    if len(frame) < 34 or struct.unpack_from("!H", frame, 12)[0] != ETH_P_IP:
        return None
    head = frame[14:]
    length, fragment = struct.unpack_from("!H2xH", head, 2)
    start = (head[0] & 15) * 4
    # a frame that the kernel cuts later may be longer than its header can say
    body = head[start : length or None]
    source, target = socket.inet_ntoa(head[12:16]), socket.inet_ntoa(head[16:20])
    seen = {"source": source, "target": target}
    if head[9] == TCP:
        ports = struct.unpack_from("!HH", body, 0)
        told = streams.read((source, target, *ports), body)
        return None if told is None else seen | {"port": ports[1]} | told
    if head[9] != UDP:
        return None
    seen |= {"kind": "datagram", "fragment": bool(fragment & 0x3FFF), "port": 0}
    if not fragment & 0x1FFF:
        seen["port"] = struct.unpack_from("!H", body, 2)[0]
        body = body[8:]
    return seen | {"payload": body.hex()}


def main():
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    streams = Streams()
    print(json.dumps({"ready": True}), flush=True)
    while True:
        frame, (interface, _protocol, kind, *_) = tap.recvfrom(1 << 18)
        if not interface.startswith("port") or kind == socket.PACKET_OUTGOING:
            continue
        seen = read(frame, streams)
        if seen:
            line = {"at": time.monotonic(), "interface": interface} | seen
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
