"""The client as people use it: on a pseudo-terminal, wide and narrow."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import termios
import time

from tests.client.serve_fake import WARNING
from tests.client.spawned import PtyProcess, SpawnedTestCase

PROMPT = "peershare>"


class TerminalTestCase(SpawnedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.service = self.serve()

    def prompt(
        self, *arguments: str, columns: int = 80, rows: int = 24, **more: object
    ) -> PtyProcess:
        """A prompt that has said hello."""
        child = self.on_terminal(*arguments, columns=columns, rows=rows, **more)
        child.until(lambda: "help tells the rest" in "".join(child.terminal.lines), "hello")
        child.until(lambda: child.terminal.cursor_line == PROMPT, "the prompt")
        return child

    def percent(self, child: PtyProcess) -> int:
        """The last one that is on the screen."""
        found = re.findall(r"(\d+)%", child.terminal.text)
        return int(found[-1]) if found else 0

    def left_in_order(self, child: PtyProcess) -> None:
        """The terminal is as it was before."""
        self.assertEqual(termios.tcgetattr(child.slave), child.before)
        self.assertTrue(os.get_blocking(child.slave))
        self.assertEqual(child.terminal.before_cursor, "")
        self.assertNotIn("Traceback", child.terminal.text)


class PromptTests(TerminalTestCase):
    def test_story_at_both_widths(self) -> None:
        """List, download with a failover under what is being typed, and leave."""
        for columns in (80, 40):
            child = self.prompt(columns=columns)
            child.sees("mine.txt")
            child.type("forest\r")
            child.until(lambda child=child: "━" in child.terminal.text, "a bar")
            child.type("half a na")
            typed = f"{PROMPT} half a na"
            for step in range(15, 96, 20):
                child.until(
                    lambda child=child, step=step: (
                        self.percent(child) >= step
                        or "forest.png\tunv" in child.terminal.text
                        or "unverified" in child.terminal.text
                    ),
                    f"{step} %",
                )
                self.assertEqual(child.terminal.cursor_line, typed)
            child.sees("unverified")
            child.until(lambda child=child: "━" not in child.terminal.text, "no bar")
            self.assertEqual(child.terminal.cursor_line, typed)
            shown = "".join(line for line in child.terminal.lines)
            self.assertIn("forest_2: 198.18.0.2 refused the connection, trying 198.18.0.3", shown)
            self.assertIn("forest: done, 1.0 MB", shown)
            self.assertEqual(child.terminal.text.count("forest: done"), 1)
            child.type("\x15quit\r")
            self.assertEqual(child.wait(), 0)
            self.left_in_order(child)

    def test_commands(self) -> None:
        """List, peers, history, share and help answer at the prompt."""
        child = self.prompt()
        for line, answer in (
            ("peers", "1.5 s ago"),
            ("history 1", "forest_1"),
            ("verify", "it was b3:2"),
            ("list x*", "has a name like x*"),
            ("share setup.cfg", "/share/setup.cfg"),
            ("help", "Tab            complete"),
            ("share", "help tells how"),
            ("stop x", "no download of this name"),
            ("pause x", "x: no download is under way"),
            ("resume", "help tells how"),
            ("status", "198.18.0.2"),
            ("limits", "upload off"),
            ("list", "NAME"),
        ):
            child.type(f"{line}\r")
            child.sees(answer)
        child.type("\x04")
        self.assertEqual(child.wait(), 0)
        self.left_in_order(child)

    def test_completion(self) -> None:
        """Tab completes what is shared, shows the choices, and paths for share."""
        child = self.prompt()
        child.type("f\t")
        child.until(lambda: child.terminal.cursor_line == f"{PROMPT} for", "for")
        child.type("\t")
        child.sees("forest  forge")
        child.type("e\t")
        child.until(lambda: child.terminal.cursor_line == f"{PROMPT} forest", "forest")
        child.type("\x15share setu\t")
        child.until(lambda: child.terminal.cursor_line == f"{PROMPT} share setup.cfg", "a path")
        child.type("\x03")
        child.until(lambda: child.terminal.cursor_line == PROMPT, "an empty line")
        child.type("\x04")
        self.assertEqual(child.wait(), 0)

    def test_several_at_once(self) -> None:
        """Downloads run beside each other, one line each; the end of the input waits for them."""
        child = self.prompt()
        child.type("forest\rforge\r")
        child.until(lambda: child.terminal.text.count("━━") >= 2, "two bars")
        child.type("forest\r")
        child.sees("forest: it is on its way already")
        child.type("\x04")
        child.sees("finishing forest, forge first")
        self.assertEqual(child.wait(), 0)
        self.assertEqual(child.terminal.text.count("unverified"), 2)
        self.left_in_order(child)

    def test_which_one(self) -> None:
        """Where a name fits several contents, a number picks one; other requests may come first."""
        for columns in (80, 40):
            child = self.prompt(columns=columns)
            child.type("twice\r")
            child.sees("which one? 1-2")
            for part in ("1.0 MB", "2.0 MB", "b3:2000000000"):
                self.assertIn(part, child.terminal.text)
            child.type("list\r")
            child.sees("mine.txt")
            child.type("2\r")
            child.sees("verified: 198.18.0.3 75%")
            child.sees("twice: done, 1.0 MB")
            child.type("\x04")
            self.assertEqual(child.wait(), 0)
            self.left_in_order(child)

    def test_none_of_them(self) -> None:
        """An empty line picks none, and so does the end of the input."""
        child = self.prompt()
        child.type("twice\r")
        child.sees("which one? 1-2")
        child.type("\r")
        child.sees("twice: none of them was chosen")
        child.type("twice\r")
        child.until(lambda: child.terminal.text.count("which one?") == 2, "the question again")
        child.type("\x04")
        self.assertEqual(child.wait(), 0)
        self.left_in_order(child)

    def test_stop(self) -> None:
        """A download is stopped by its name, the prompt stays."""
        child = self.prompt()
        child.type("slow\r")
        child.until(lambda: self.percent(child) >= 1, "a first percent")
        child.type("stop slow\r")
        child.sees("slow: interrupted; the part file")
        child.until(lambda: "━" not in child.terminal.text, "no bar")
        child.type("list\r")
        child.type("\x04")
        self.assertEqual(child.wait(), 0)

    def test_pause(self) -> None:
        """A download is held and goes on while it is followed."""
        for columns in (80, 40):
            child = self.prompt(columns=columns)
            child.type("slow\r")
            child.until(lambda child=child: self.percent(child) >= 1, "a first percent")
            child.type("pause slow\r")
            child.sees("paused at")
            child.until(lambda child=child: "B here" in child.terminal.text, "a held bar")
            child.type("resume slow\r")
            child.sees("goes on at")
            child.until(lambda child=child: "B here" not in child.terminal.text, "a bar that moves")
            child.type("stop slow\r")
            child.sees("slow: interrupted")
            child.type("\x04")
            self.assertEqual(child.wait(), 0)
            self.left_in_order(child)

    def test_interrupt(self) -> None:
        """Ctrl-C on an empty line leaves: part files stay, and that is said."""
        child = self.prompt()
        child.type("slow\r")
        child.until(lambda: self.percent(child) >= 1, "a first percent")
        child.type("abc\x03\x03")
        self.assertEqual(child.wait(), 130)
        self.assertIn("slow: interrupted; the part file", child.terminal.text)
        self.left_in_order(child)

    def test_signals(self) -> None:
        """However it is ended, the terminal is as it was."""
        for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 143)):
            child = self.prompt()
            child.process.send_signal(number)
            self.assertEqual(child.wait(), status)
            self.left_in_order(child)

    def test_two_interrupts(self) -> None:
        """A second Ctrl-C does not wait for anything, and the terminal is as it was."""
        child = self.prompt()
        child.type("slow\r")
        child.sees("━")
        self.service.send_signal(signal.SIGSTOP)
        child.process.send_signal(signal.SIGINT)
        child.read(0.3)
        self.assertIsNone(child.process.poll(), "it asks the service to stop the download")
        began = time.monotonic()
        child.process.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(), 130)
        self.assertLess(time.monotonic() - began, 1.0)
        self.left_in_order(child)

    def test_suspend(self) -> None:
        """Ctrl-Z gives the terminal back, and on `fg` the prompt is there again."""
        self.suspend(self.prompt(job=True))

    def test_suspend_on_a_foreign_terminal(self) -> None:
        """So it does where the terminal is shared with the shell down to its flags."""
        self.suspend(self.prompt(job=True, foreign=True))

    def suspend(self, child: PtyProcess) -> None:
        child.type("half\x1a")
        child.sees("[stopped]")
        self.assertEqual(termios.tcgetattr(child.slave), child.before)
        self.assertTrue(os.get_blocking(child.slave))
        child.type("fg\n")
        child.until(lambda: child.terminal.cursor_line == f"{PROMPT} half", "the line")
        child.type("\x15quit\r")
        self.assertEqual(child.wait(), 0)
        self.left_in_order(child)

    def test_resize(self) -> None:
        """A window that changes its size in the middle ends with one prompt."""
        child = self.prompt(columns=80)
        child.type("slow\r")
        child.sees("━")
        child.type("typing")
        child.resize(40, 24)
        child.terminal.columns = 40
        child.until(lambda: "slow" in child.terminal.text, "a narrow bar")
        child.type(" on")
        child.until(lambda: child.terminal.cursor_line == f"{PROMPT} typing on", "the line")
        child.type("\x15\x03")
        self.assertEqual(child.wait(), 130)

    def test_hostile_news(self) -> None:
        """What somebody announces with an evil name is told, and does nothing."""
        child = self.prompt()
        child.type("news\r")
        child.sees("new on the network: evil\\x1b[2J")
        self.assertNotIn(b"\x1b[2J", child.raw)
        child.type("evil\t")
        child.until(lambda: "\\x1b[31m" in child.terminal.cursor_line, "a completion")
        child.type("\x15\x04")
        self.assertEqual(child.wait(), 0)

    def test_service_dies(self) -> None:
        """The prompt stays when the service dies, and goes on with an own node."""
        child = self.prompt(*self.own_node_flags())
        self.service.kill()
        self.service.wait()
        child.sees("going on with an own node")
        child.type("list\r")
        child.sees("nothing is on the network")
        child.type("quit\r")
        self.assertEqual(child.wait(), 0)
        self.left_in_order(child)

    def test_own_node(self) -> None:
        """Without a service the prompt is one, and says so."""
        self.service.terminate()
        self.service.wait()
        child = self.prompt(*self.own_node_flags())
        self.assertIn("an own node", child.terminal.text)
        child.type("forest\r")
        child.sees("waiting until somebody does")
        child.type("\x03")
        self.assertEqual(child.wait(), 130)
        self.left_in_order(child)


class GetTests(TerminalTestCase):
    def test_bar(self) -> None:
        """A bar with rate, time left and peer, which is gone in the end; the rest stays."""
        for columns in (80, 40):
            child = self.on_terminal("get", "forest", columns=columns)
            child.sees("150 kB/s 0:06 198.18.0.2")
            self.assertEqual(child.wait(), 0)
            self.assertNotIn("━", child.terminal.text)
            shown = "".join(line for line in child.terminal.lines)
            self.assertIn("refused the connection, trying 198.18.0.3", shown)
            self.assertIn("/share/forest.png", shown)
            self.left_in_order(child)

    def test_warning(self) -> None:
        """The classic warning is a line of its own under a bar, too."""
        child = self.on_terminal("get", "half", "--give-up", "0.5")
        self.assertEqual(child.wait(), 1)
        self.assertIn(WARNING.format("half"), child.terminal.lines)

    def test_no_color(self) -> None:
        """With NO_COLOR there is neither colour nor bar."""
        child = self.on_terminal("get", "forest", env={"NO_COLOR": "1"})
        self.assertEqual(child.wait(), 0)
        self.assertNotIn("━", child.terminal.text)
        self.assertNotIn(b"m\x1b", child.raw)
        self.assertNotIn(b"\x1b[3", child.raw)
        self.assertIn("forest_5 downloaded", child.terminal.text)

    def test_dumb_terminal(self) -> None:
        """A terminal that can do nothing is sent plain lines."""
        child = self.on_terminal("get", "forest", env={"TERM": "dumb"})
        self.assertEqual(child.wait(), 0)
        self.assertNotIn(b"\x1b", child.raw)

    def test_stdout_elsewhere(self) -> None:
        """When stdout is no terminal there is no bar on stderr either."""
        path = self.home / "out"
        with path.open("wb") as file:
            child = self.on_terminal("get", "forest", stdout=file)
            self.assertEqual(child.wait(), 0)
        self.assertEqual(path.read_text(), "/share/forest.png\tunverified\n")
        self.assertNotIn(b"\x1b", child.raw)
        self.assertIn("forest: done", child.terminal.text)

    def test_stderr_elsewhere(self) -> None:
        """When stderr is a file the notes go there, and the bar stays on the terminal."""
        path = self.home / "err"
        with path.open("wb") as file:
            child = self.on_terminal("get", "forest", stderr=file)
            child.sees("━")
            self.assertEqual(child.wait(), 0)
        self.assertIn("forest: done", path.read_text())
        self.assertNotIn("\x1b", path.read_text())
        self.assertEqual(child.terminal.lines, ["/share/forest.png unverified"])

    def test_names_typed(self) -> None:
        """`get -` takes names that are typed, as the terminal edits them."""
        child = self.on_terminal("get", "-")
        child.type("forest\n")
        child.sees("unverified")
        child.type("\x04")
        self.assertEqual(child.wait(), 0)
        self.left_in_order(child)

    def test_which_one(self) -> None:
        """Where a name fits several contents, a number picks one."""
        child = self.on_terminal("get", "twice")
        child.sees("which one? 1-2")
        child.type("3\r")
        child.sees("a number from 1 to 2")
        child.type("1\r")
        child.sees("verified: 198.18.0.3 75%")
        self.assertEqual(child.wait(), 0)
        self.assertIn("twice: done, 1.0 MB", child.terminal.text)
        self.left_in_order(child)

    def test_none_of_them(self) -> None:
        """An empty line picks none of them."""
        child = self.on_terminal("get", "twice")
        child.sees("which one? 1-2")
        child.type("\r")
        self.assertEqual(child.wait(), 4)
        self.assertIn("twice: none of them was chosen", child.terminal.text)
        self.left_in_order(child)

    def test_nobody_to_ask(self) -> None:
        """Where names come from the input, or nothing can be answered, the list is all there is."""
        for arguments in (("get", "twice"), ("get", "-")):
            null = subprocess.DEVNULL if "-" not in arguments else subprocess.PIPE
            child = self.on_terminal(*arguments, stdin=null)
            if child.process.stdin is not None:
                child.process.stdin.write(b"twice\n")
                child.process.stdin.close()
            self.assertEqual(child.wait(), 4)
            self.assertIn("b3:2000000000", child.terminal.text)
            self.assertNotIn("which one", child.terminal.text)

    def test_interrupted(self) -> None:
        """Ctrl-C leaves the part file, says so, and takes the bar away."""
        child = self.on_terminal("get", "slow")
        child.sees("━")
        child.process.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(), 130)
        self.assertNotIn("━", child.terminal.text)
        self.assertIn("the part file", child.terminal.text)
        self.left_in_order(child)

    def test_json(self) -> None:
        """JSON on a terminal is JSON: no bar, no colour."""
        child = self.on_terminal("get", "forest", "--json", columns=500)
        self.assertEqual(child.wait(), 0)
        self.assertNotIn(b"\x1b", child.raw)


class ListTests(TerminalTestCase):
    def test_list(self) -> None:
        """On a terminal the list has a heading and columns."""
        child = self.on_terminal("list")
        self.assertEqual(child.wait(), 0)
        self.assertEqual(child.terminal.lines[0].split(), ["NAME", "CHUNKS", "SIZE", "FROM", "ID"])
        self.left_in_order(child)

    def test_plain_prompt(self) -> None:
        """On a dumb terminal the prompt takes plain lines."""
        child = self.on_terminal(env={"TERM": "dumb"})
        child.type("list\n")
        child.sees("forge\t".expandtabs(1))
        child.type("\x04")
        self.assertEqual(child.wait(), 0)
        self.assertNotIn(b"\x1b", child.raw)

    def test_prompt_with_piped_output(self) -> None:
        """When only stdout is no terminal, lines are plain, and answers go to it."""
        child = self.on_terminal(stdout=subprocess.PIPE)
        child.type("list\n\x04")
        assert child.process.stdout is not None
        out = child.process.stdout.read()
        child.process.stdout.close()
        self.assertEqual(child.wait(), 0)
        self.assertTrue(out.startswith(b"forest\t"), out)
