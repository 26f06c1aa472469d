"""Writes the test vectors anew: for when the protocol is changed on purpose.

The vectors are the files beside this one, and `tests.test_vectors` reads nothing else; what this
writes is to be looked at before it is committed.  Run it from the root of the repository:
`python tests/vectors/make.py`.
"""

from __future__ import annotations

import json
import sys
from array import array
from pathlib import Path
from typing import Any

from peershare.content.manifest import Manifest, manifest_of
from peershare.content.names import ChunkName
from peershare.wire import announcement, beacon, catalogue
from peershare.wire.beacon import Beacon
from peershare.wire.catalogue import CatalogueEntry, CatalogueHistory
from peershare.wire.messages import (
    Block,
    Cancel,
    Catalogue,
    Content,
    GetBlocks,
    GetCatalogue,
    Grant,
    Have,
    Hello,
    Join,
    Leave,
    Message,
    Open,
    Problem,
    Wrong,
    encode,
)

HERE = Path(__file__).resolve().parent
SIZES = (0, 1, 65_536, 65_537, 131_073, 67_108_864, 67_108_865)
PEER = "5f0c4f2b8d9e4a1c9b7a3e5d1f2c6b80"
OTHER = "c0ffee00c0ffee00c0ffee00c0ffee00"
UNKNOWN_ID = "b3:" + "0123456789abcdef" * 4


def counting(size: int) -> bytes:
    """The contents of the vectors: 0, 1, 2, … as unsigned 32-bit little-endian numbers."""
    numbers = array("I", range(-(-size // 4)))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()[:size]


def write(name: str, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    (HERE / name).write_text(text + "\n", encoding="utf-8")


def contents() -> None:
    made = []
    for size in SIZES:
        manifest = manifest_of(counting(size))
        made.append(
            {
                "size": size,
                "block_size": manifest.block_size,
                "blocks": [manifest.digest_of(i).hex() for i in range(manifest.block_count)],
                "id": manifest.content_id,
            }
        )
    write("contents.json", made)


def announcements() -> None:
    groups = [
        [f"{stem}_{number}" for number in range(1, 6)] for stem in ("forest", "bee", "Überraschung")
    ]
    groups += [[f"{number:x}" * 60 + f"_{chunk}" for chunk in range(1, 6)] for number in range(4)]
    heard = [
        '{"chunks": ["forest_1", "forest_2", "forest_3", "forest_4", "forest_5"]}',
        '{"chunks": ["forest 1", "forest.png_1", "forest_1.png", "forest.png_0", "forest_1"]}',
        '{"files": ["a_1"], "username": "u", "filename": 7}',
        '{"files": {"é_1": {"size": [1]}, "b_2": null}}',
        '{"chunks": ["a_1", 7, null, ".hidden", "a/b_1", ["b_1"], "a_1"]}',
        '{"files": 3, "chunks": ["a_1"]}',
        '{"chunks": []}',
        '\ufeff {"chunks": ["\\u00e9_1"]}\r\n',
    ]
    refused = [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"chunks": "a_1"}',
        b'{"chunks": null, "files": ["a_1"]}',
        b'{"chunks": ["a_1"]',
        b'{"chunks": ["a_1"]} x',
        b'{"chunks": ["\\ud800_1"]}',
        b'{"chunks": ["\xed\xa0\x80_1"]}',
        b'{"chunks": ["a_1"], "x": NaN}',
        b'{"chunks": ["a_1"], "x": "\xff"}',
        b'{"x": ' + b"[" * 2_000,
    ]
    write(
        "announcements.json",
        {
            "sent": {
                "groups": groups,
                "datagrams": [datagram.decode() for datagram in announcement.pack(groups)],
            },
            "heard": [_heard(text) for text in heard],
            "refused": [{"hex": datagram.hex()} for datagram in refused],
        },
    )


def _heard(text: str) -> dict[str, Any]:
    told = announcement.decode(text.encode())
    names = [dict(zip(ChunkName._fields, name, strict=True)) for name in told.names]
    return {"datagram": text, "names": names, "junk": told.junk}


def beacons() -> None:
    base = Beacon(
        peer=PEER,
        instance="0123456789abcdef",
        port=5_000,
        catalogue=catalogue.EMPTY_DIGEST,
        count=0,
        interval=30,
    )
    fields = [
        {},
        {"ask": True},
        {"ask": True, "nonce": "00112233445566778899aabbccddeeff"},
        {"nonce": "ffeeddccbbaa99887766554433221100", "echo": "00112233445566778899aabbccddeeff"},
        {"bye": True},
        {"bye": True, "echo": "00112233445566778899aabbccddeeff", "udp": 5_000},
        {"port": 40_000, "udp": 40_001},
        {"port": 65_535, "count": 100_000, "interval": 86_400, "catalogue": "ab" * 32},
    ]
    sent = [_beacon(Beacon(**{**_fields(base), **more})) for more in fields]
    whole = beacon.encode(base).decode().rstrip()
    newer = whole.replace("{", '{"newer":[{"key":null}],', 1).ljust(beacon.BEACON_BYTES)
    refused = [
        whole,
        whole.ljust(beacon.MAX_BEACON_BYTES + 1),
        *(
            whole.replace(old, new).ljust(beacon.BEACON_BYTES)
            for old, new in (
                ('"peershare":1', '"peershare":"1"'),
                ('"port":5000', '"port":65536'),
                ('"port":5000', '"port":NaN'),
                ('"port":5000', '"port":' + "9" * 30),
                ('"interval":30', '"interval":0'),
                (f'"peer":"{PEER}"', '"peer":"../.."'),
                (f'"peer":"{PEER}"', f'"peer":"{PEER}\\n"'),
                (f'"peer":"{PEER}",', ""),
                ('"ask":false', '"ask":0'),
                ('"nonce":""', '"nonce":"0"'),
                ('"udp":0', '"udp":65536'),
                (f'"peer":"{PEER}"', '"peer":"\\ud800"'),
                ("}", ""),
            )
        ),
        '{"x":' + "[" * 1_000,
    ]
    before = whole.replace(',"udp":0', "").ljust(beacon.BEACON_BYTES)
    heard = [{"datagram": text, "beacon": _fields(base)} for text in (newer, before)]
    write("beacons.json", {"sent": sent, "heard": heard, "refused": refused})


def _fields(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__struct_fields__}


def _beacon(value: Beacon) -> dict[str, Any]:
    return {"beacon": _fields(value), "datagram": beacon.encode(value).decode()}


def catalogues() -> None:
    ids = [manifest_of(counting(size)).content_id for size in SIZES[:4]]
    before = [
        CatalogueEntry("empty.txt", 0, ids[0], True),
        CatalogueEntry("one.bin", 1, ids[1], True),
        CatalogueEntry("bee 🐝.png", 65_536, ids[2], False),
        CatalogueEntry("the same bee.png", 65_536, ids[2], True),
    ]
    before += [CatalogueEntry(f"{number}.bin", 1, ids[1], True) for number in range(10)]
    after = [entry for entry in before if entry.size and entry.complete]
    after.append(CatalogueEntry("bee 🐝.png", 65_536, ids[2], True))
    after.append(CatalogueEntry("d'été.txt", 65_537, ids[3], False))
    history = CatalogueHistory()
    steps: list[dict[str, Any]] = []
    known = ""
    for entries in ([], before, after):
        history.update(entries)
        answer = history.since(known)
        steps.append(
            {
                "entries": [_fields(entry) for entry in entries],
                "lines": history.since("").data.decode(),
                "digest": history.digest,
                "known": known,
                "answer": {**_fields(answer), "data": answer.data.decode()},
            }
        )
        known = history.digest
    write("catalogues.json", steps)


# -- messages


def _told(message: Message) -> dict[str, Any]:
    return {"line": encode(message).decode(), "means": json.loads(encode(message))}


def examples() -> tuple[list[Message], list[Message]]:
    """Every message once or twice: requests, and answers."""
    content = manifest_of(counting(131_073)).content_id
    hello = Hello(
        versions=(1,), agent="example/1", peer=PEER, instance="0123456789abcdef", port=5_000
    )
    requests: list[Message] = [
        hello,
        GetCatalogue(),
        GetCatalogue(known="ab" * 32),
        Join(content=content, manifest=True),
        Join(content=content, have=((0, 2),)),
        Leave(content=content),
        GetBlocks(content=content, blocks=((1, 2), (0, 1))),
        Cancel(content=content, blocks=((2, 1),)),
        Wrong(content=content, blocks=((1, 1),)),
    ]
    answers: list[Message] = [
        hello,
        Catalogue(digest="ab" * 32, count=3, length=480),
        Catalogue(digest="ab" * 32, base="cd" * 32, count=2, length=322),
        Content(content=content, size=131_073, length=97, digests=96, bitmap=1),
        Content(
            content=content,
            size=131_073,
            length=0,
            receivers=(("198.18.0.3", 5_000), ("198.18.0.4", 5_001)),
            steered=True,
        ),
        Block(content=content, index=2, length=1),
        Have(content=content, blocks=((2, 1),)),
        Grant(content=content, blocks=((0, 1), (2, 1))),
        Open(content=content),
        Problem(code="unknown-type", message="there is no request “choke”"),
        Problem(code="not-here", message="it is gone", content=content, blocks=((2, 1),)),
    ]
    return requests, answers


def messages() -> None:
    requests, answers = examples()
    content = manifest_of(counting(131_073)).content_id
    runs = f'{{"type":"TYPE","content":"{content}","blocks":BLOCKS}}'
    told = (
        f'{{"type":"content","content":"{content}","size":SIZE,"length":LENGTH,'
        '"digests":DIGESTS,"bitmap":BITMAP}'
    )
    wrong_runs = ("[[0,0]]", "[[-1,1]]", "[[0]]", "[0,1]", "[[0,1048577]]", "[[1048576,1]]", "null")
    wrong_contents = (
        ("131073", "97", "97", "0"),
        ("131073", "98", "96", "1"),
        ("131073", "33", "32", "1"),
        ("131073", "98", "96", "2"),
        ("4398046511105", "0", "0", "0"),
        ("-1", "0", "0", "0"),
    )
    both = [
        "",
        "{}",
        "[]",
        "hello",
        '{"type":7}',
        '{"type":"hello"}',
        '{"type":"hello","versions":[]}',
        '{"type":"hello","versions":[1.0]}',
        '{"type":"hello","versions":["1"]}',
        '{"type":"hello","versions":[1],"port":65536}',
        '{"type":"hello","versions":[1],"peer":"0a\\n"}',
        '{"type":"hello","versions":[1],"agent":"\\ud800"}',
        '{"type":"hello","versions":[1],"x":NaN}',
        '{"type":"hello","versions":[1],"port":' + "9" * 60 + "}",
        '{"type":"hello","versions":[1]',
        '{"type":"hello","versions":[1]}}',
        '{"type":"hello","versions":' + "[" * 2_000,
        '{"type":"piece","length":4194305}',
    ]
    refused_requests = [runs.replace("TYPE", "get_blocks").replace("BLOCKS", w) for w in wrong_runs]
    refused_requests += [
        f'{{"type":"join","content":"{content[:-1]}"}}',
        f'{{"type":"join","content":"{content[3:]}"}}',
        f'{{"type":"join","content":"{content}\\n"}}',
        f'{{"type":"join","content":"b3:{content[3:].upper()}"}}',
        '{"type":"get_catalogue","known":"ab"}',
    ]
    refused_answers = [
        runs.replace("TYPE", "have").replace("BLOCKS", wrong) for wrong in wrong_runs
    ]
    for size, length, digests, bitmap in wrong_contents:
        line = told.replace("SIZE", size).replace("LENGTH", length)
        refused_answers.append(line.replace("DIGESTS", digests).replace("BITMAP", bitmap))
    block = f'{{"type":"block","content":"{content}","index":0,"length":LENGTH}}'
    refused_answers += [block.replace("LENGTH", length) for length in ("0", "4194305", "null")]
    write(
        "messages.json",
        {
            "requests": [_told(message) for message in requests],
            "answers": [_told(message) for message in answers],
            "understood": [
                {
                    "line": ' { "newer" : [{}] , "known" : "" , "type" : "get_catalogue" } ',
                    "means": {"type": "get_catalogue", "known": ""},
                },
            ],
            "unknown": ['{"type":"choke"}', '{"length":7,"type":"piece","x":{"type":"hello"}}'],
            "refused": both,
            "refused_requests": refused_requests,
            "refused_answers": refused_answers,
        },
    )


# -- a session


class Recording:
    """The bytes of both directions, and what they are, in order."""

    def __init__(self) -> None:
        self.streams = {"downloader": bytearray(), "uploader": bytearray()}
        self.steps: list[dict[str, Any]] = []

    def message(self, who: str, message: Message | dict[str, Any], raw: bytes = b"") -> None:
        if isinstance(message, dict):
            line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        else:
            line = encode(message)
        step = {"from": who, "bytes": len(line), "raw": len(raw), "message": json.loads(line)}
        self.steps.append(step)
        self.streams[who] += line + raw

    def event(self, text: str) -> None:
        self.steps.append({"event": text})


def session() -> None:
    data = counting(131_073)
    manifest = manifest_of(data)
    content = manifest.content_id
    history = CatalogueHistory()
    others = [
        CatalogueEntry(f"{size}.bin", size, manifest_of(counting(size)).content_id, True)
        for size in SIZES[:4]
    ]
    history.update([*others, CatalogueEntry("counting.bin", manifest.size, content, False)])
    first = history.since("")
    history.update([*others, CatalogueEntry("counting.bin", manifest.size, content, True)])
    second = history.since(first.digest)
    r = Recording()
    agent = {"agent": "example/1"}
    r.message("downloader", Hello(versions=(1,), peer=PEER, instance="01" * 8, port=5_000, **agent))
    r.message("uploader", Hello(versions=(1,), peer=OTHER, instance="02" * 8, port=5_000, **agent))
    r.message("downloader", GetCatalogue())
    r.message("uploader", _catalogue(first), first.data)
    r.message("downloader", Join(content=content, manifest=True))
    told = Content(content=content, size=manifest.size, length=97, digests=96, bitmap=1)
    r.message("uploader", told, manifest.digests + b"\x03")
    r.message("downloader", GetBlocks(content=content, blocks=((1, 1), (0, 1))))
    for index in (1, 0):
        r.message("uploader", *_block(manifest, data, index))
    r.message("downloader", Cancel(content=content, blocks=((0, 1),)))
    r.event("the uploader gets block 2, from somebody else; it has the whole content now")
    r.message("uploader", Have(content=content, blocks=((2, 1),)))
    r.message("downloader", GetBlocks(content=content, blocks=((2, 1),)))
    r.message("uploader", *_block(manifest, data, 2))
    r.message("downloader", Leave(content=content))
    r.message("downloader", {"type": "choke", "until": "dawn"})
    unknown = Problem(code="unknown-type", message="there is no request “choke” here")
    r.message("uploader", unknown)
    r.message("downloader", GetCatalogue(known=first.digest))
    r.message("uploader", _catalogue(second), second.data)
    r.message("downloader", GetBlocks(content=UNKNOWN_ID, blocks=((0, 1),)))
    gone = "this content is not here"
    refused = Problem(code="not-here", message=gone, content=UNKNOWN_ID, blocks=((0, 1),))
    r.message("uploader", refused)
    r.event("the downloader closes the connection")
    write("session.json", {"content": content, "size": manifest.size, "steps": r.steps})
    for who, stream in r.streams.items():
        (HERE / f"session_{who}.bin").write_bytes(stream)


def _catalogue(answer: catalogue.CatalogueAnswer) -> Catalogue:
    return Catalogue(
        digest=answer.digest, base=answer.base, count=answer.count, length=len(answer.data)
    )


def _block(manifest: Manifest, data: bytes, index: int) -> tuple[Block, bytes]:
    start = index * manifest.block_size
    block = data[start : start + manifest.block_size]
    return Block(content=manifest.content_id, index=index, length=len(block)), block


if __name__ == "__main__":
    for part in (contents, announcements, beacons, catalogues, messages, session):
        part()
