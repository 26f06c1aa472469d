"""The document against a real service: schemathesis asks what it says, and much that it forbids.

Every answer has to be one that the document names, with a body as it says; what fits is to be
taken, what does not is to be refused, and nothing is answered without the token.  The requests are
the same in every run.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from peershare.control.controlfile import ControlFile, read_control_file
from peershare.control.route import Access
from peershare.control.routes import ROUTES
from tests.integration.peers import Peer, PeersTestCase, picture
from tests.lab.processes import LabProcess

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "127.37.1.1"
EXAMPLES = 8
SECONDS = 180.0  # on a busy machine; else it takes 20

CONFIG = """\
base-url = "{url}"
hooks = "tests.control.fuzz_hooks"
request-timeout = 10
max-redirects = 2
max-stream-events = 1
continue-on-failure = true
color = false

[headers]
Authorization = "Bearer {token}"

[generation]
deterministic = true
database = "none"
max-examples = {examples}

[cache]
enabled = false

# a download that was ended by DELETE is still shown, as one that has ended
[checks]
use_after_free.enabled = false

# the rules for names are more than a document can say: a name that fits it may still be none
[[operations]]
include-path = ["/api/downloads", "/api/shares", "/api/shares/{{name}}"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409", "503"]

# each is answered when the file is announced, which takes its time
[[operations]]
include-path = "/api/shares/{{name}}"
generation.max-examples = 3
"""


class SchemathesisTests(PeersTestCase):
    def setUp(self) -> None:
        super().setUp()
        if importlib.util.find_spec("schemathesis") is None:
            self.skipTest("schemathesis is not installed")
        self.fuzz = self.folder / "fuzz"
        self.fuzz.mkdir()
        self.file = self.fuzz / "fuzzed.png"
        self.file.write_bytes(picture(1_000))
        self.seen = self.folder / "seen"
        self.seen.touch()

    def serve(self) -> tuple[Peer, ControlFile]:
        """A real service of this tree that shares two files."""
        peer = self.peer(1)
        peer.address = ADDRESS
        for name in ("forest.png", "bee.png"):
            peer.write(name, picture(20_000))
        peer.start(around=("env", f"PYTHONPATH={ROOT}"))
        control = read_control_file(peer.ready().state)
        assert control is not None
        return peer, control

    def fuzz_it(self, peer: Peer, control: ControlFile) -> LabProcess:
        """Run schemathesis; its token is in a file, not on its command line."""
        config = self.folder / "schemathesis.toml"
        config.write_text(CONFIG.format(url=control.url, token=control.token, examples=EXAMPLES))
        told = {"FOLDER": self.fuzz, "FILE": self.file, "SEEN": self.seen}
        command = ["env", f"PYTHONPATH={ROOT}"]
        command += [f"FUZZ_{name}={path}" for name, path in told.items()]
        command += [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
        # from a file: what it has fetched by itself it does not ask for again
        document = self.folder / "openapi.json"
        document.write_bytes(msgspec.json.encode(peer.ask("GET", "/api/openapi.json")))
        command += ["run", str(document)]
        process = LabProcess("schemathesis", command, self.folder)
        self.addCleanup(lambda: process.kill() if process.alive else None)
        return process

    def share(self, control: ControlFile) -> int:
        """With what status a file that can be shared is."""
        request = Request(
            f"{control.url}/api/shares",
            msgspec.json.encode({"path": str(self.file)}),
            {"Authorization": f"Bearer {control.token}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=10) as response:
            return int(response.status)

    def test_all(self) -> None:
        """Nothing that it asks is answered in a way that the document does not tell."""
        peer, control = self.serve()
        process = self.fuzz_it(peer, control)
        status = process.wait(SECONDS)
        self.assertEqual(status, 0, process.output + process.errors)
        self.assertEqual(peer.node().pid, control.pid)
        answers = set(self.seen.read_text().splitlines())
        # by chance it may have named no file that can be shared: this one can
        answers.add(f"POST /api/shares {self.share(control)}")
        for route in ROUTES:
            asked = f"{route.method} {route.path} "
            self.assertTrue(any(line.startswith(asked) for line in answers), asked)
            # there is no page's cookie here, and no guest who sends a file
            if route.access is not Access.COOKIE and "unknown-upload" not in route.problems:
                self.assertIn(f"{asked}{route.status}", answers)


class PathsTests(SynchronousTestCase):
    """The service may be run by root: what the fuzzer makes up is to stay in its folder."""

    def test_inside(self) -> None:
        """Every absolute path leads into the folder, whatever is in it; other texts are as is."""
        if importlib.util.find_spec("schemathesis") is None:
            self.skipTest("schemathesis is not installed")
        folder = Path(self.mktemp()).absolute()
        told = {"FOLDER": folder, "FILE": folder / "file", "SEEN": folder / "seen"}
        for name, path in told.items():
            self.patch(os, "environ", {**os.environ, f"FUZZ_{name}": str(path)})
        hooks = importlib.import_module("tests.control.fuzz_hooks")
        for value in (
            "/",
            "//",
            "/etc",
            "/..",
            "/../../x",
            "/a/../../b",
            "/\0",
            "/ü/~",
            "/" + "x" * 999,
        ):
            found = Path(hooks.inside(value))
            self.assertIn(found, (folder, folder / "file", *map(folder.joinpath, [found.name])))
            self.assertEqual(os.path.normpath(found), str(found))
        for value in ("", "x", "../x", "~/x"):
            self.assertEqual(hooks.inside(value), value)
