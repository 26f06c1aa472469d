"""The command line: what each command takes, and what is refused before anything begins."""

from __future__ import annotations

import contextlib
import io
import time

from twisted.trial.unittest import SynchronousTestCase

from peershare.client.arguments import Options, parse_arguments


class ArgumentsTests(SynchronousTestCase):
    def refused(self, *arguments: str) -> str:
        """The complaint about a command line that is wrong usage."""
        complaint = io.StringIO()
        with contextlib.redirect_stderr(complaint):
            left = self.assertRaises(SystemExit, parse_arguments, arguments)
        self.assertEqual(left.code, 2)
        return complaint.getvalue()

    def test_get(self) -> None:
        """Names or ids, where to, in what order."""
        self.assertEqual(parse_arguments(["get", "forest"]), Options("get", names=("forest",)))
        options = parse_arguments(["get", "--sequential", "--output", "/tmp", "b3:0123abcd", "-"])
        self.assertTrue(options.sequential)
        self.assertEqual((options.names, options.output), (("b3:0123abcd", "-"), "/tmp"))

    def test_patterns(self) -> None:
        """`list` takes one pattern at most: a shell that made several of it is noticed."""
        self.assertEqual(parse_arguments(["list"]).names, ())
        self.assertEqual(parse_arguments(["list", "*.png"]).names, ("*.png",))
        self.assertIn("have to be quoted", self.refused("list", "a.png", "b.png"))

    def test_verify(self) -> None:
        """`verify` takes one name or none."""
        self.assertEqual(parse_arguments(["verify"]), Options("verify"))
        self.assertEqual(parse_arguments(["verify", "--json", "bee"]).names, ("bee",))
        self.refused("verify", "a", "b")

    def test_empty_names(self) -> None:
        """An empty name is no name."""
        for command in ("get", "share", "list", "verify"):
            self.assertIn("names nothing", self.refused(command, ""))

    def test_steering(self) -> None:
        """Names of downloads or all of them, not both and not none."""
        for command in ("pause", "resume", "cancel"):
            self.assertEqual(parse_arguments([command, "a", "b"]).names, ("a", "b"))
            self.assertTrue(parse_arguments([command, "--all"]).everything)
            for wrong in ((), ("--all", "a")):
                self.assertIn("names of downloads, or --all", self.refused(command, *wrong))

    def test_limits(self) -> None:
        """The units of the service's options, or off; what is not named stays as it is."""
        options = parse_arguments(["limits", "--up", "1.5M", "--down", "OFF"])
        self.assertEqual(options.limits, {"upload": 1_500_000.0, "download": None})
        self.assertEqual(parse_arguments(["limits", "--down", "500k"]).limits, {"download": 5e5})
        self.assertEqual(parse_arguments(["limits"]).limits, {})
        for wrong in ("fast", "0", "-1", ""):
            self.assertIn("or off", self.refused("limits", f"--up={wrong}"))

    def test_history(self) -> None:
        """A few lines, or all since a moment; of one direction or of both."""
        self.assertEqual(parse_arguments(["history"]).limit, 50)
        options = parse_arguments(["history", "--since", "2h", "--direction", "upload"])
        self.assertEqual((options.limit, options.direction), (10_000, "upload"))
        assert options.since is not None
        self.assertLess(abs(time.time() - 7_200 - options.since), 5.0)
        self.assertEqual(parse_arguments(["history", "--since", "2h", "--limit", "3"]).limit, 3)
        self.assertIn("2h, 3d", self.refused("history", "--since", "tomorrow"))
        self.refused("history", "--direction", "up")
        self.refused("history", "--limit", "0")

    def test_others(self) -> None:
        """`status --once`, `open --print`, `completion zsh`."""
        self.assertTrue(parse_arguments(["status", "--once"]).once)
        self.assertTrue(parse_arguments(["open", "--print"]).print_link)
        self.assertEqual(parse_arguments(["completion", "zsh"]).shell, "zsh")
        self.refused("completion", "csh")

    def test_settings(self) -> None:
        """Every setting is a flag, with and without a value."""
        options = parse_arguments(["list", "--no-classic", "--beacon-port", "5003"])
        self.assertEqual(options.flags, {"no-classic": ["yes"], "beacon-port": ["5003"]})

    def test_json_needs_a_command(self) -> None:
        """The prompt speaks to people."""
        self.assertIn("verify or history", self.refused("--json"))
