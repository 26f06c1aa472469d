"""Completion in real shells, with names as strangers choose them; and where the names come from."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import subprocess
import termios
import time
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from peershare.client.completion import completion_script
from peershare.client.grammar import grammar
from peershare.client.lookup import names_of
from peershare.control.controlfile import ControlFile, write_control_file
from tests.client.spawned import SpawnedTestCase
from tests.lab.processes import wait_until

PATIENCE_SECONDS = 20.0
# Says what it was given, or which names begin like its last word.
PROGRAM = """#!/bin/sh
if [ "$1" = complete ]; then
    printf '%s\\n' "$*" >> "$HOME/asked"
    for begun; do :; done
    while IFS= read -r name; do
        case $name in "$begun"*) printf '%s\\n' "$name" ;; esac
    done < "$HOME/names"
else
    for word; do printf '<%s>' "$word"; done
    echo '<end>'
fi
"""
# What is typed of each name, and the name.
NAMES = {
    "fores": "forest fire.png",
    "evi": "evil$(touch pwned)`touch pwned`;touch pwned&.txt",
    "odd": "odd'quo\"te\\.txt",
    "W": "Wäld 漢 [1]*?.png",
    "c:d": "c:d=e f.txt",
    "b3:01": "b3:0123.txt",
}


def _own_terminal() -> None:
    """In the new process: job control needs a terminal that is one's own."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Shell:
    """A shell on a pseudo-terminal."""

    def __init__(self, command: list[str], home: Path) -> None:
        self.output = ""
        self._master, slave = pty.openpty()
        environment = {
            "HOME": str(home),
            "PATH": f"{home}:{os.environ.get('PATH', os.defpath)}",
            "LANG": "C.UTF-8",
            "TERM": "vt100",
        }
        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            cwd=home,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read(self, seconds: float) -> None:
        while select.select([self._master], [], [], seconds)[0]:
            self.output += os.read(self._master, 65_536).decode("utf-8", "replace")
            seconds = 0.0

    def sees(self, text: str, *, count: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.output.count(text) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {text!r}\n{self.output!r}")
            self.read(0.05)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


class ShellCases:
    """What holds for every shell; a test case beside it is one."""

    command: tuple[str, ...] = ()
    begin = ""

    def setUp(self) -> None:
        program = shutil.which(self.command[0])
        if program is None:
            raise SkipTest(f"{self.command[0]} is not installed")
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        (self.home / "script").write_text(completion_script(self.command[0]))
        (self.home / "names").write_text("\n".join(NAMES.values()) + "\n")
        (self.home / "peershare").write_text(PROGRAM)
        (self.home / "peershare").chmod(0o700)
        self.shell = Shell([program, *self.command[1:]], self.home)
        self.addCleanup(self.shell.close)
        self.shell.type(f"{self.begin}; echo rea''dy\r")
        self.shell.sees("ready\r\n")

    def completed(self, typed: str, expected: str) -> None:
        """Type this and Tab and Enter: these are the words."""
        self.shell.output = ""
        self.shell.type(typed)
        self.shell.read(0.1)
        self.shell.type("\t")
        asked = time.monotonic() + PATIENCE_SECONDS
        before = len(self.shell.output)
        while len(self.shell.output) == before and time.monotonic() < asked:
            self.shell.read(0.3)
        self.shell.read(0.3)
        self.shell.type("\r")
        self.shell.sees("<end>")
        self.assertIn(f"{expected}<end>", self.shell.output)

    def test_names(self) -> None:
        """Whatever a stranger calls it: it is one word, and nothing of it is run."""
        for typed, name in NAMES.items():
            self.completed(f"peershare get {typed}", f"<get><{name}>")
        self.assertFalse((self.home / "pwned").exists())

    def test_state_folder(self) -> None:
        """The service of the state folder that is named is asked."""
        self.completed(
            "peershare pause --state /x/y fores", "<pause><--state></x/y><forest fire.png>"
        )
        asked = (self.home / "asked").read_text()
        self.assertIn("complete --state /x/y -- downloads fores", asked)

    def test_words(self) -> None:
        """Commands, options and what an option takes."""
        self.completed("peershare hist", "<history>")
        self.completed("peershare history --directi", "<history><--direction>")
        self.completed("peershare history --direction up", "<history><--direction><upload>")
        self.completed("peershare completion zs", "<completion><zsh>")
        self.completed("peershare share nam", "<share><names>")


class BashTests(ShellCases, SynchronousTestCase):
    command = ("bash", "--norc", "--noprofile", "-i")
    begin = "bind 'set enable-bracketed-paste off'; source ./script"

    def test_in_quotes(self) -> None:
        """A name that would mean something in the open quotes is not put into them."""
        self.completed('peershare get "fores', "<get><forest fire.png>")
        self.completed("peershare get 'evi", f"<get><{NAMES['evi']}>")
        self.shell.type('peershare get "evi\t')
        self.shell.read(0.5)
        self.shell.type('"\r')
        self.shell.sees("<get><evi><end>")
        self.assertFalse((self.home / "pwned").exists())


class ZshTests(ShellCases, SynchronousTestCase):
    command = ("zsh", "-f", "-i")
    begin = "autoload -U compinit; compinit -u -D; unsetopt zle_bracketed_paste; source ./script"


class FishTests(ShellCases, SynchronousTestCase):
    command = ("fish", "--no-config", "--interactive")
    begin = "source ./script"


class ScriptTests(SynchronousTestCase):
    def test_all_of_it(self) -> None:
        """Every command and every option is in every script."""
        for shell in ("bash", "zsh", "fish"):
            script = completion_script(shell)
            for command in grammar():
                self.assertIn(command.name, script)
                for flag in command.flags:
                    for name in flag.names:
                        short = f"-{'l' if name.startswith('--') else 's'} {name.lstrip('-')}"
                        told = shell == "bash" and not name.startswith("--")
                        wanted = short if shell == "fish" else name
                        self.assertTrue(told or wanted in script, (shell, name))

    def test_hidden(self) -> None:
        """What only the shells ask is offered to nobody."""
        self.assertNotIn("complete", [command.name for command in grammar()])


class LookupTests(SpawnedTestCase):
    def test_a_service(self) -> None:
        """What a running service knows, as far as it begins so."""
        self.serve()
        self.assertEqual(names_of("contents", "for", self.state), ["forest", "forge"])
        self.assertEqual(names_of("shares", "", self.state), ["mine.txt"])
        self.assertEqual(names_of("downloads", "", self.state), [])
        self.start("get", "slow")
        wait_until(lambda: names_of("downloads", "s", self.state) == ["slow"], "a download")
        done = self.run_client("complete", "contents", "fore")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "forest\n", ""))

    def test_harmless_names(self) -> None:
        """What would be an option, or moves a cursor, is left out."""
        self.serve()
        self.run_client("get", "news")  # makes up an evil name
        names = names_of("contents", "", self.state)
        self.assertIn("forest", names)
        self.assertEqual([name for name in names if "evil" in name], [])

    def test_nobody(self) -> None:
        """Without a service there is nothing, at once and without a word."""
        done = self.run_client("complete", "contents", "x")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertFalse(self.state.exists(), "no node was begun")

    def test_elsewhere(self) -> None:
        """The token goes to this machine and nowhere else; a dead service is nothing."""
        self.state.mkdir()
        for url in ("http://198.18.0.9:1", "http://127.0.0.1:1", "http://127.evil.example:1", "x"):
            write_control_file(self.state, ControlFile(url, "secret", os.getpid()))
            self.assertEqual(names_of("contents", "", self.state), [])
