"""The lab cleans up: whatever happens to a story, no namespace and no process stays behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.lab import network
from tests.lab.network import Network, sweep, what_is_missing
from tests.lab.processes import wait_until

NAMES = Path("/run/netns")
_STARTS_ONE = """
import sys
from pathlib import Path
from tests.lab.processes import LabProcess
print(LabProcess("sleeper", ["sleep", "60"], Path(sys.argv[1])).pid, flush=True)
sys.stdin.read()
"""


class NetworkTests(SynchronousTestCase):
    skip = what_is_missing()

    def test_all_of_it_is_removed_with_what_runs_in_it(self) -> None:
        """After `remove` there is no namespace of ours, and its processes have ended."""
        lab = Network(2)
        self.addCleanup(lab.remove)
        lab.build()
        names = [lab.bridge, lab.host(1), lab.host(2)]
        self.assertTrue(all((NAMES / name).exists() for name in names))
        sleeper = lab.start(lab.host(1), "sleeper", ["sleep", "60"], Path(self.mktemp()).absolute())
        lab.remove()
        self.assertFalse(any((NAMES / name).exists() for name in names))
        self.assertFalse(sleeper.alive)

    def test_half_of_it_is_removed_too(self) -> None:
        """Where building fails in the middle, what was made before is removed."""
        lab = Network(2)
        self.addCleanup(lab.remove)
        self.patch(network, "BROADCAST", "nonsense")
        self.assertRaises(subprocess.CalledProcessError, lab.build)
        self.assertTrue((NAMES / lab.host(2)).exists())
        lab.remove()
        self.assertFalse((NAMES / lab.host(2)).exists())

    def test_what_a_killed_run_left_is_swept_and_nothing_else(self) -> None:
        """Namespaces whose maker is gone are removed, those of a living one are kept."""
        gone = subprocess.Popen(["true"])
        gone.wait()
        stale = NAMES / f"peershare-lab-{gone.pid}-0-1"
        subprocess.run(["ip", "netns", "add", stale.name], check=True)
        lab = Network(1)
        self.addCleanup(lab.remove)
        lab.build()
        sweep()
        self.assertFalse(stale.exists())
        self.assertTrue((NAMES / lab.host(1)).exists())


class LabProcessTests(SynchronousTestCase):
    skip = what_is_missing()

    def test_it_dies_with_its_maker(self) -> None:
        """A test run that is killed leaves no process behind."""
        folder = Path(self.mktemp()).absolute()
        maker = subprocess.Popen(
            [sys.executable, "-c", _STARTS_ONE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self.addCleanup(maker.communicate)
        self.addCleanup(maker.kill)
        assert maker.stdout is not None
        pid = int(maker.stdout.readline())
        wait_until(lambda: _command_of(pid) == b"sleep\0" + b"60\0", "the sleeper to sleep")
        maker.kill()
        wait_until(lambda: not _command_of(pid), "the sleeper to be gone")


def _command_of(pid: int) -> bytes:
    """The command line of a process; empty where it is gone, or ended and not yet reaped."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
