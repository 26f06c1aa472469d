"""The wheel, built and used outside the tree.  Run by `make wheel`, not by `trial tests`.

It needs minutes and the package index, so it is no part of the suite: the name of this module
keeps it from being collected.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from functools import cache
from pathlib import Path

from twisted.trial import unittest

TREE = Path(__file__).resolve().parent.parent
_PATIENCE_SECONDS = 300


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without the user's own settings of peershare."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PEERSHARE_", "PYTHON"))
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )


@cache
def installed() -> tuple[Path, Path]:
    """Build the wheel from a copy of the tree, install it into a fresh environment.

    Returns the folder that holds the environment, and the wheel; deleted at exit.  (Trial knows
    no set-up of a whole class.)
    """
    home = Path(tempfile.mkdtemp(prefix="peershare-wheel-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    source = home / "source"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "_trial_temp*", "build", "dist", "*.egg-info", "__pycache__"
    )
    shutil.copytree(TREE, source, ignore=ignored)
    must(sys.executable, "-m", "build", "--wheel", "--outdir", home / "dist", source, cwd=home)
    (wheel,) = (home / "dist").glob("*.whl")
    shutil.rmtree(source)
    venv.create(home / "venv", with_pip=True)
    must(home / "venv" / "bin" / "pip", "install", "--quiet", wheel, cwd=home)
    return home, wheel


def must(*command: str | Path, cwd: Path) -> None:
    """Run a command that has to succeed."""
    done = run(*command, cwd=cwd)
    if done.returncode:
        raise AssertionError(f"{command} failed: {done.stdout}{done.stderr}")


class WheelTests(unittest.TestCase):
    """What a user gets from the wheel works without the tree."""

    def setUp(self) -> None:
        """The wheel is built and installed once, for all of them."""
        self.home, self.wheel = installed()
        self.bin = self.home / "venv" / "bin"

    def test_contents(self) -> None:
        """The wheel holds the package, its pages, its type marker and the plugin, and no tests."""
        names = zipfile.ZipFile(self.wheel).namelist()
        for needed in (
            "peershare/py.typed",
            "peershare/download/machine.py",
            "twisted/plugins/peershare_plugin.py",
        ):
            self.assertIn(needed, names)
        for folder in ("peershare/control/page", "peershare/guest/page"):
            files = {f"{folder}/{file.name}" for file in (TREE / folder).iterdir()}
            self.assertEqual(files - set(names), set())
        foreign = [n for n in names if n.startswith(("tests/", "bench/", "twisted/__init__"))]
        self.assertEqual(foreign, [])

    def test_twistd_lists_it(self) -> None:
        """`twistd --help` names peershare among its commands."""
        done = run(self.bin / "twistd", "--help", cwd=self.home)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^\s+peershare\s+Peer-to-peer")

    def test_service_help(self) -> None:
        """`twistd -n peershare --help` explains the options of the service."""
        done = run(self.bin / "twistd", "-n", "peershare", "--help", cwd=self.home)
        self.assertEqual(done.returncode, 0, done.stderr)
        for flag in ("--share", "--announce-interval", "--classic-ports", "--config"):
            self.assertIn(flag, done.stdout)

    def test_client_help(self) -> None:
        """`peershare --help` explains the commands of the client."""
        done = run(self.bin / "peershare", "--help", cwd=self.home)
        self.assertEqual(done.returncode, 0, done.stderr)
        for command in ("get", "status", "open", "doctor", "guest", "history", "demo"):
            self.assertIn(command, done.stdout)

    def test_demo(self) -> None:
        """The demo passes from there: a real download with a real failover."""
        done = run(self.bin / "peershare", "demo", cwd=self.home)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("was killed", done.stdout)
        self.assertIn("the same bytes", done.stdout)
