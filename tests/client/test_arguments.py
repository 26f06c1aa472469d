"""The command line: what each command takes, and what is refused before anything begins."""

from __future__ import annotations

import contextlib
import io

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

    def test_settings(self) -> None:
        """Every setting is a flag, with and without a value."""
        options = parse_arguments(["list", "--no-classic", "--beacon-port", "5003"])
        self.assertEqual(options.flags, {"no-classic": ["yes"], "beacon-port": ["5003"]})

    def test_json_needs_a_command(self) -> None:
        """The prompt speaks to people."""
        self.assertIn("verify or history", self.refused("--json"))
