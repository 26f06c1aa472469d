"""A native session over a real socket: the bytes, as any other program would speak them."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import defer, reactor, task, threads
from twisted.trial.unittest import TestCase

from peershare.admission import Admission
from peershare.content.blocks import block_count
from peershare.content.manifest import Manifest, content_id, manifest_of
from peershare.ledger import Ledger
from peershare.library.entries import ContentHandle
from peershare.library.files import identity_of
from peershare.serving.swarms import Serving
from peershare.throttle import TokenBucket
from peershare.uploader import UploaderFactory
from tests.serving.world import OURS, WALL, FakeCatalogue, FakeLibrary

SIZE = 30_000_000


def talk(port: int, content: str, order: list[int]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Say hello, join, ask for blocks in this order, read it all; messages and raw bytes."""
    messages: list[dict[str, Any]] = []
    raw: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        requests = [
            {"type": "hello", "versions": [1], "port": 0},
            {"type": "get_catalogue"},
            {"type": "join", "content": content, "manifest": True},
            {"type": "get_blocks", "content": content, "blocks": [[0, 2]]},
            {"type": "get_blocks", "content": content, "blocks": [[n, 1] for n in order]},
        ]
        connection.sendall("\n".join(map(json.dumps, requests)).encode() + b"\n")
        stream = connection.makefile("rb")
        missing = len(order) + 2
        while missing:
            message = json.loads(stream.readline())
            messages.append(message)
            raw.append(stream.read(message.get("length", 0)))
            missing -= message["type"] == "block"
        connection.sendall(b'{"type":"leave","content":"' + content.encode() + b'"}\n')
        connection.shutdown(socket.SHUT_WR)
        stream.read()
    return messages, raw


def reset_in_the_middle(port: int, content: str) -> None:
    """Ask for much, read little, reset."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        ask = json.dumps({"type": "get_blocks", "content": content, "blocks": [[0, 200]]})
        connection.sendall(b'{"type":"hello","versions":[1]}\n' + ask.encode() + b"\n")
        connection.recv(100_000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class LoopbackTests(TestCase):
    def setUp(self) -> None:
        clock: Any = reactor
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.library: Any = FakeLibrary()
        self.ledger = Ledger(folder, lambda: WALL)
        bucket = TokenBucket(None, clock.seconds)
        workers = threads.deferToThread
        serving = Serving(
            clock,
            self.library,
            self.ledger,
            bucket,
            workers,
            Random(1),
            lambda address: OURS,
            FakeCatalogue(),
            lambda _: True,
            lambda content, address, port: None,
        )
        admission = Admission(lambda address: address.is_loopback, lambda _: True)
        self.factory = UploaderFactory(
            clock, self.library, self.ledger, bucket, workers, admission, serving
        )
        listening = clock.listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.port = listening.getHost().port
        self.data = Random(1).randbytes(SIZE)
        path = folder / "large"
        path.write_bytes(self.data)
        manifest = manifest_of(self.data)
        self.handle = ContentHandle(
            manifest.content_id, "large", path, identity_of(path), manifest, None
        )
        self.library.contents[self.handle.id] = self.handle

    async def until_all_are_gone(self) -> None:
        """The connections end a moment after the other side has."""
        clock: Any = reactor
        while self.factory._connections:
            await task.deferLater(clock, 0.01)

    def test_a_whole_content(self) -> defer.Deferred[None]:
        """Manifest and every block, in the order asked for; several readers at a time."""
        return defer.Deferred.fromCoroutine(self._a_whole_content())

    async def _a_whole_content(self) -> None:
        total = block_count(SIZE)
        orders = [Random(seed).sample(range(total), 200) for seed in range(3)]
        talks = [threads.deferToThread(talk, self.port, self.handle.id, order) for order in orders]
        for order, (messages, raw) in zip(orders, await defer.gatherResults(talks), strict=True):
            kinds = [message["type"] for message in messages]
            self.assertEqual(kinds[:3], ["hello", "catalogue", "content"])
            self.assertEqual(raw[1], FakeCatalogue.lines)
            told = messages[2]
            self.assertEqual(content_id(told["size"], raw[2][: told["digests"]]), self.handle.id)
            manifest = Manifest(told["size"], raw[2])
            blocks = [
                (message["index"], data)
                for message, data in zip(messages, raw, strict=True)
                if message["type"] == "block"
            ]
            # those of a steered swarm that were not granted come last
            self.assertEqual(sorted(index for index, _ in blocks), sorted([0, 1, *order]))
            self.assertTrue(all(manifest.check(index, data) for index, data in blocks))
        await self.until_all_are_gone()
        self.assertEqual(self.factory.taken["127.0.0.1"], self.factory.sent_so_far())

    def test_resets(self) -> defer.Deferred[None]:
        """Somebody who goes in the middle: one line, nothing held, no traceback."""
        return defer.Deferred.fromCoroutine(self._resets())

    async def _resets(self) -> None:
        await threads.deferToThread(reset_in_the_middle, self.port, self.handle.id)
        await self.until_all_are_gone()
        (entry,) = self.ledger.history(10)
        self.assertIn("failed cut-short", entry.result)
        self.assertLess(entry.bytes, 200 * 65_536)
        self.assertEqual(self.factory.taken["127.0.0.1"], entry.bytes)
