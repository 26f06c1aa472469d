"""A classic client: fetches the five chunks of one content in order and joins them.

Written from the description of the classic protocol alone; needs nothing but Python.  It has
no timeout: without the end of the stream it hangs.  With `--read once` it calls recv a single
time and takes what came.  After a reset or a refusal it goes on to the next address; an empty
reply it takes for the chunk.
"""

import argparse
import json
import socket
import sys
import time
from pathlib import Path


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dictionary", type=Path, required=True, help="the listener's text file")
    parser.add_argument("--form", choices=("json", "lines"), default="json")
    parser.add_argument("--content", required=True, help="a pattern for the names: forest_{}")
    parser.add_argument("--ask", help="a pattern for the names in requests, where it is another")
    parser.add_argument("--first", type=int, default=1, help="number of the first chunk")
    parser.add_argument("--key", default="requested_content")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--read", choices=("end", "once"), default="end")
    parser.add_argument("--parts", type=int, default=1, help="segments of the request")
    parser.add_argument("--tail", default="", help="sent behind the request: a newline, say")
    parser.add_argument("--half-close", action="store_true", help="after the request")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def load(path, form):
    """The dictionary: chunk name -> addresses."""
    text = path.read_text()
    if form == "json":
        return json.loads(text)
    pairs = (line.split(":") for line in text.splitlines())
    return {name: [one.strip() for one in addresses.split(",")] for name, addresses in pairs}


def ask(connection, name, options):
    """Send the request, in as many segments as wanted."""
    request = json.dumps({options.key: name}).encode() + options.tail.encode()
    step = -(-len(request) // options.parts)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(request), step):
        if start:
            time.sleep(0.03)
        connection.sendall(request[start : start + step])
    if options.half_close:
        connection.shutdown(socket.SHUT_WR)


def fetch(address, name, options):
    """One chunk from one address."""
    with socket.create_connection((address, options.port)) as connection:
        ask(connection, name, options)
        data = connection.recv(65536)
        while options.read == "end":
            more = connection.recv(65536)
            if not more:
                break
            data += more
        return data


def fetch_from_any(addresses, name, asked, options):
    """One chunk from the first address that gives it; None if none does."""
    for address in addresses:
        try:
            data = fetch(address, asked, options)
        except OSError as error:
            print(f"{name} from {address}: {error}", flush=True)
            continue
        print(f"{time.strftime('%F %T')}: {name} downloaded from {address}", flush=True)
        return data
    return None


def main():
    options = parse()
    dictionary = load(options.dictionary, options.form)
    chunks = []
    for number in range(options.first, options.first + 5):
        name = options.content.format(number)
        asked = (options.ask or options.content).format(number)
        data = fetch_from_any(dictionary.get(name, []), name, asked, options)
        if data is None:
            print(f"CHUNK {name} CANNOT BE DOWNLOADED FROM ONLINE PEERS.", flush=True)
            sys.exit(1)
        chunks.append(data)
    options.output.write_bytes(b"".join(chunks))
    print("ready", flush=True)


if __name__ == "__main__":
    main()
