"""A classic announcer: broadcasts the names in a folder, once at the start and then every period.

Written from the description of the classic protocol alone; needs nothing but Python.  As real
ones do, it puts the whole folder into one datagram, whatever its size, junk names included.
"""

import argparse
import json
import socket
import time
from pathlib import Path


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="its files are the chunks")
    parser.add_argument("--to", required=True, help="broadcast address")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--period", type=float, default=60.0, help="seconds")
    parser.add_argument("--key", default="chunks", help="chunks or files")
    parser.add_argument("--shape", choices=("list", "object"), default="list")
    parser.add_argument("--before", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--after", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def make(options):
    """The datagram, in this announcer's dialect."""
    files = sorted(options.folder.iterdir())
    told = [file.name for file in files]
    if options.shape == "object":
        told = {file.name: file.stat().st_size for file in files}
    message = dict(pair.split("=", 1) for pair in options.before)
    message[options.key] = told
    message.update(pair.split("=", 1) for pair in options.after)
    return json.dumps(message).encode()


def main():
    options = parse()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    print("ready", flush=True)
    while True:
        datagram = make(options)
        print(time.monotonic(), "told", len(datagram), flush=True)
        sender.sendto(datagram, (options.to, options.port))
        time.sleep(options.period)


if __name__ == "__main__":
    main()
