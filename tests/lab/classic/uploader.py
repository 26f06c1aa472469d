"""A classic uploader: one connection at a time, one recv, and all else ends it.

Written from the description of the classic protocol alone; needs nothing but Python.  It
catches nothing on purpose: a split or overlong request, an unknown key, a chunk that it does
not have, a connection without a request, binary, a reset in mid-transfer end it with a
traceback, as they end real ones; an idle connection keeps it from serving anybody else.
"""

import argparse
import json
import select
import socket
import time
from pathlib import Path


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="its files are the chunks")
    parser.add_argument("--address", default="")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--key", default="requested_content", help="the only key it knows")
    parser.add_argument("--rate", type=int, default=0, help="bytes per second, 0 for no limit")
    return parser.parse_args()


def send(connection, data, rate):
    """Send the chunk, in slices of a tenth of a second where there is a rate."""
    if not rate:
        connection.sendall(data)
        return
    step = max(1, rate // 10)
    for start in range(0, len(data), step):
        connection.sendall(data[start : start + step])
        time.sleep(0.1)


def serve(server, options):
    """Serve one connection."""
    connection, (address, _port) = server.accept()
    request = json.loads(connection.recv(1024).decode())
    name = request[options.key]
    data = (options.folder / name).read_bytes()
    print("asked for", name, "by", address, flush=True)
    send(connection, data, options.rate)
    if select.select([server], [], [], 0)[0]:
        print("queued: somebody connected while", address, "was being served", flush=True)
    connection.close()
    print("gave", name, "to", address, flush=True)


def main():
    options = parse()
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((options.address, options.port))
    server.listen(1)
    print("ready", server.getsockname()[1], flush=True)
    while True:
        serve(server, options)


if __name__ == "__main__":
    main()
