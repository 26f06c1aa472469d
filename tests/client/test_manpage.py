"""The man page: it tells of all that the command line knows, and renders without a complaint."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from peershare import __version__
from peershare.client.grammar import Flag, grammar
from peershare.client.outcome import ExitStatus
from peershare.client.requests import ALONE, WITH_ARGUMENT

PAGE = Path(__file__).resolve().parents[2] / "docs" / "peershare.1"
MACROS = {
    *("TH", "SH", "SS", "TP", "PP", "RS", "RE", "nf", "fi", "br"),
    *("B", "I", "BR", "RB", "BI", "IB", "IR", "RI"),
}


def sections(text: str, macro: str) -> dict[str, str]:
    """What stands below each heading, by its first word; the last one of a name counts."""
    parts = re.split(rf"(?m)^\.{macro} ", text)[1:]
    return {part.split(None, 1)[0].strip('"'): part for part in parts}


def plain(text: str) -> str:
    """The text without fonts, quotes and escapes."""
    text = re.sub(r"\\f.", "", text).replace("\\-", "-").replace("\\(dq", "'").replace('"', "")
    return re.sub(r"(?m)^\.(TP|PP|BR|RB|BI|IB|IR|RI|B|I|br|nf|fi|RS|RE)\b ?", "", text)


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.source = PAGE.read_text()
        self.sections = sections(self.source, "SH")
        self.commands = sections(self.sections["COMMANDS"], "SS")

    def missing(self, flags: tuple[Flag, ...], text: str) -> list[str]:
        """The options that are no entry there, spelled with what they take."""
        entries = [plain(entry.split("\n")[1]) for entry in re.split(r"(?m)^\.TP", text)[1:]]
        told = " , ".join(entries).replace("  ", " ")
        found = []
        for flag in flags:
            for name in flag.names:
                wanted = f"{name} {flag.value.metavar}" if flag.value else name
                if not re.search(rf"(^|[ ,]){re.escape(wanted)}( |,|$)", told):
                    found.append(wanted)
        return found

    def test_commands(self) -> None:
        """Each command has its part, with each option that is its own."""
        top, *commands = grammar()
        shared = {flag.names for flag in top.flags} - {("--wait",), ("--give-up",)}
        for command in commands:
            self.assertIn(command.name, self.commands)
            own = tuple(flag for flag in command.flags if flag.names not in shared)
            self.assertEqual(self.missing(own, self.commands[command.name]), [], command.name)
            if command.words is not None:
                heading = plain(self.commands[command.name].split("\n")[0])
                self.assertIn(command.words.metavar, heading)

    def test_shared_options(self) -> None:
        """What every command takes stands once."""
        top = grammar()[0]
        flags = tuple(f for f in top.flags if f.names not in {("--wait",), ("--give-up",)})
        text = self.sections["OPTIONS"] + self.sections["SETTINGS"]
        self.assertEqual(self.missing(flags, text), [])

    def test_prompt(self) -> None:
        """What the prompt knows."""
        entries = [plain(e.split("\n")[1]) for e in self.sections["PROMPT"].split(".TP")[1:]]
        words = {entry.split()[0] for entry in entries}
        self.assertEqual(words, {*ALONE, *WITH_ARGUMENT})

    def test_exit_statuses(self) -> None:
        """Every exit status is told."""
        entries = [plain(e.split("\n")[1]) for e in self.sections["EXIT"].split(".TP")[1:]]
        self.assertEqual({entry.strip() for entry in entries}, {str(int(s)) for s in ExitStatus})

    def test_version(self) -> None:
        """It is of this version."""
        self.assertIn(f'"peershare {__version__}"', self.source.split("\n")[1])

    def test_syntax(self) -> None:
        """Only known requests, every font ended, no dash that is a hyphen in an option."""
        for number, line in enumerate(self.source.split("\n"), 1):
            where = f"line {number}: {line}"
            if line.startswith('.\\"'):
                continue
            if line.startswith("."):
                self.assertIn(line[1:].split(" ")[0], MACROS, where)
            self.assertNotIn("'", line[:1], where)
            self.assertEqual(line, line.rstrip(), where)
            self.assertNotRegex(line, r"(?<![\\-])--", where)
            fonts = re.findall(r"\\f(.)", line)
            self.assertIn(fonts[-1:], ([], ["R"]), where)
            self.assertEqual(line.count('"') % 2, 0, where)

    def test_rendered(self) -> None:
        """The formatter has nothing to say."""
        groff = shutil.which("groff")
        if groff is None:
            raise SkipTest("groff is not installed: only the syntax was looked at")
        done = subprocess.run(
            [groff, "-man", "-Tutf8", "-ww", "-rLL=80n", str(PAGE)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("EXIT STATUS", re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout))
