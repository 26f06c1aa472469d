"""A classic listener: turns announcements into a dictionary file, and dies of what is none.

Written from the description of the classic protocol alone; needs nothing but Python.  It
catches nothing on purpose: a datagram that is longer than its buffer, binary, no JSON or
without the key `chunks` ends it with a traceback, as it ends real ones.
"""

import argparse
import json
import socket
import time
from pathlib import Path


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--buffer", type=int, default=1024, help="bytes of one recvfrom")
    parser.add_argument("--dictionary", type=Path, required=True, help="the text file to write")
    parser.add_argument("--form", choices=("json", "lines"), default="json")
    parser.add_argument(
        "--keep",
        choices=("once", "duplicates", "replace"),
        default="once",
        help="each address once; one entry more for every datagram; or only what each"
        " sender's last datagram told",
    )
    return parser.parse_args()


def insert(dictionary, names, address, keep):
    """Note what one datagram told."""
    if keep == "replace":
        for addresses in dictionary.values():
            while address in addresses:
                addresses.remove(address)
    for name in names:
        addresses = dictionary.setdefault(name.strip(), [])
        if keep == "duplicates" or address not in addresses:
            addresses.append(address)


def write(dictionary, path, form):
    """Write the file, and read it again as the classic client beside it does."""
    if form == "json":
        text = json.dumps(dictionary)
    else:
        text = "".join(f"{name}: {', '.join(found)}\n" for name, found in dictionary.items())
    path.write_text(text)
    if form == "lines":
        for line in text.splitlines():
            _name, _addresses = line.split(":")


def main():
    options = parse()
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((options.address, options.port))
    print("ready", listener.getsockname()[1], flush=True)
    dictionary = {}
    while True:
        datagram, (address, _port) = listener.recvfrom(options.buffer)
        names = json.loads(datagram.decode())["chunks"]
        insert(dictionary, names, address, options.keep)
        write(dictionary, options.dictionary, options.form)
        print(time.monotonic(), address, ":", ", ".join(names), flush=True)


if __name__ == "__main__":
    main()
