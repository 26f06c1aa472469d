"""Wrong option values: one clear line, exit status 1, and nothing started."""

from __future__ import annotations

from tests.integration.peers import PeersTestCase


class WrongValueTests(PeersTestCase):
    def test_each_is_one_line(self) -> None:
        """Flags, a variable's and a file's values; nothing is made of what was named."""
        peer = self.peer(1)
        config = self.folder / "config.toml"
        config.write_text("upload-limit = []\n")
        cases = {
            ("--port", "99999"): "--port",
            ("--upload-limit", "fast"): "--upload-limit",
            ("--address", "203.0.113.77"): "203.0.113.77",
            ("--announce-interval", "0"): "--announce-interval",
            ("--no-such-option",): "no-such-option",
            ("--config", str(self.folder / "missing.toml")): "missing.toml",
            ("--config", str(config)): "upload-limit",
        }
        running = [(peer.start(*options), part) for options, part in cases.items()]
        for process, part in running:
            self.assertEqual(process.wait(), 1, process.describe())
            lines = (process.output + process.errors).strip().splitlines()
            self.assertEqual(len(lines), 1, lines)
            self.assertIn(part, lines[0])
        self.assertFalse(peer.state.exists())

    def test_folders_that_cannot_be(self) -> None:
        """A file where the state or the share folder is to be made."""
        peer = self.peer(1)
        blocking = self.folder / "file"
        blocking.write_bytes(b"")
        for option in ("--state", "--share"):
            process = peer.start(option, str(blocking))
            self.assertEqual(process.wait(), 1, process.describe())
            lines = (process.output + process.errors).strip().splitlines()
            self.assertEqual(len(lines), 1, lines)
            self.assertIn(str(blocking), lines[0])
