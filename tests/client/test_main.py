"""The entry point: quiet from its first moment on, and when nobody reads what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

RUN = "import sys; from peershare.client.main import main; sys.exit(main())"


def run(script: str, *arguments: str, stdout: int | None = None) -> tuple[int, str]:
    """The exit status of a script, and what it says on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    return done.returncode, done.stderr


class QuietTests(SynchronousTestCase):
    def test_interrupted_while_it_is_imported(self) -> None:
        """Ctrl-C before the command has begun: status 130, and not a word."""
        script = (
            "import os, signal, sys\n"
            "class Interrupt:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'peershare.client.arguments':\n"
            "            os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.meta_path.insert(0, Interrupt())\n"
        )
        self.assertEqual(run(script + RUN, "list", stdout=subprocess.DEVNULL), (130, ""))

    def test_a_full_disk(self) -> None:
        """One sentence where what is asked for cannot be written."""
        if not Path("/dev/full").exists():
            self.skipTest("there is no /dev/full")
        with Path("/dev/full").open("wb") as full:
            status, said = run(RUN, "completion", "bash", stdout=full.fileno())
        self.assertEqual(status, 1)
        self.assertEqual(said, "peershare: cannot write to stdout: No space left on device\n")

    def test_nobody_reads(self) -> None:
        """A pipe that is closed is no news."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            self.assertEqual(run(RUN, "completion", "bash", stdout=writing), (1, ""))
        finally:
            os.close(writing)

    def test_closed(self) -> None:
        """Without a stdout there is nothing to write to, and nothing is wrong."""
        script = "import os, sys; os.close(1); sys.stdout = None\n"
        self.assertEqual(run(script + RUN, "completion", "bash"), (0, ""))
