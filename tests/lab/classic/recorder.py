"""Records every UDP datagram that enters the bridge: one JSON object a line on stdout.

Runs in the namespace of the bridge and needs nothing but Python.  A frame is taken where it
enters a port of the bridge, so each is seen once and with the port of its sender.  A datagram
that was cut into IP fragments gives one line a fragment; only the first has ports.
"""

import json
import socket
import struct
import time

ETH_P_ALL, ETH_P_IP, UDP = 3, 0x0800, 17


def read(frame):
    """What there is to say of an IPv4 UDP frame; None for any other."""
    if len(frame) < 34 or struct.unpack_from("!H", frame, 12)[0] != ETH_P_IP:
        return None
    head = frame[14:]
    length, fragment = struct.unpack_from("!H2xH", head, 2)
    if head[9] != UDP:
        return None
    body = head[(head[0] & 15) * 4 : length]
    seen = {
        "source": socket.inet_ntoa(head[12:16]),
        "target": socket.inet_ntoa(head[16:20]),
        "fragment": bool(fragment & 0x3FFF),
        "port": 0,
    }
    if not fragment & 0x1FFF:
        seen["port"] = struct.unpack_from("!H", body, 2)[0]
        body = body[8:]
    return seen | {"payload": body.hex()}


def main():
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    print(json.dumps({"ready": True}), flush=True)
    while True:
        frame, (interface, _protocol, kind, *_) = tap.recvfrom(65536)
        seen = read(frame)
        if seen and interface.startswith("port") and kind != socket.PACKET_OUTGOING:
            line = {"at": time.monotonic(), "interface": interface} | seen
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
