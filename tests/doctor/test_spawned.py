"""`peershare doctor` as its users run it: a process, with a status, on loopback addresses alone."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.client.spawned import CLIENT, environment
from tests.doctor.test_probing import free_ports

OWN = "127.35.6.1"
SECONDS = 30.0


class SpawnedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir(parents=True)
        self.port, classic = free_ports(socket.SOCK_DGRAM, 2)
        folders = ("--share", str(self.home / "share"), "--state", str(self.home / "state"))
        ports = ("--port", str(self.port), "--classic-udp-port", str(classic))
        where = ("--address", OWN, "--broadcast", "127.255.255.255")
        self.command = [*CLIENT, "doctor", *folders, *ports, *where]

    def run_doctor(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *options],
            env=environment(self.home),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def test_healthy(self) -> None:
        """Status 0; tabs for programs; nothing is left behind, not even a folder."""
        done = self.run_doctor("--seconds", "0.1")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        self.assertEqual({len(cells) for cells in lines}, {5})
        self.assertIn("0 failed", done.stderr)
        self.assertEqual(list(self.home.iterdir()), [])

    def test_a_fail(self) -> None:
        """Status 1, in JSON too; the holder of the port is named."""
        with socket.socket() as holder:
            holder.bind((OWN, self.port))
            holder.listen()
            done = self.run_doctor("--seconds", "0", "--json")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        told = json.loads(done.stdout)
        self.assertEqual(told["verdict"], "fail")
        (failed,) = [check for check in told["checks"] if check["verdict"] == "fail"]
        self.assertEqual(failed["subject"], f"TCP {OWN}:{self.port}")
        self.assertIn(f"(pid {os.getpid()})", failed["text"])

    def test_wrong_usage(self) -> None:
        """Seconds that are none; an address that this machine does not have is a finding."""
        self.assertEqual(self.run_doctor("--seconds", "soon").returncode, 2)
        done = self.run_doctor("--seconds", "0", "--address", "198.51.100.7", "--json")
        self.assertEqual(done.returncode, 1, done.stderr)
        failed = [c for c in json.loads(done.stdout)["checks"] if c["verdict"] == "fail"]
        self.assertEqual([check["subject"] for check in failed], ["198.51.100.7"])

    def test_nobody_reads(self) -> None:
        """A pipe that was closed: it ends with status 1 and without a traceback."""
        with subprocess.Popen(
            [*self.command, "--seconds", "0"],
            env=environment(self.home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            self.assertEqual(process.wait(SECONDS), 1)
            self.assertNotIn("Traceback", process.stderr.read())

    def test_interrupted(self) -> None:
        """Ctrl-C ends it while it listens, by the signal."""
        process = subprocess.Popen(
            [*self.command, "--seconds", "60"],
            env=environment(self.home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stderr is not None
        self.assertIn("listening for 60 s", process.stderr.readline())
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        self.assertIn(process.wait(SECONDS), (130, -signal.SIGINT))
        self.assertNotIn("Traceback", process.stderr.read())

    def test_in_a_terminal(self) -> None:
        """One line a check, the verdict in colour."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*self.command, "--seconds", "0"],
            env=environment(self.home),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        os.close(ours)
        self.assertEqual(process.wait(SECONDS), 0)
        text = shown.decode()
        self.assertIn("\x1b[32mpass\x1b[0m  clock: it says", text)
        self.assertIn("\x1b[33mwarn\x1b[0m  service: none runs", text)
        self.assertIn("0 failed", text)
