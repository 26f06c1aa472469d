"""The client as programs use it: through pipes and files, against a service that plays stories."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

from tests.client.serve_fake import WARNING
from tests.client.spawned import PATIENCE_SECONDS, SpawnedTestCase
from tests.control.fake_node import a_choice


class CommandTests(SpawnedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.service = self.serve()

    def test_list(self) -> None:
        """Without a terminal there are tabs, no heading, no escape; and JSON is one value."""
        done = self.run_client("list")
        self.assertEqual(
            (done.returncode, done.stderr, done.stdout),
            (
                0,
                "",
                "forest\t5/5\t?\t198.18.0.2, 198.18.0.3\t-\nforge\t5/5\t?\t198.18.0.2\t-\n"
                "mine.txt\t5/5\t1.2 kB\tyou\t-\n",
            ),
        )
        listed = json.loads(self.run_client("list", "--json").stdout)
        self.assertEqual([content["name"] for content in listed], ["forest", "forge", "mine.txt"])

    def test_peers_and_history(self) -> None:
        """So it is with peers and history, and the limit holds."""
        self.assertTrue(
            self.run_client("peers").stdout.startswith("198.18.0.2\tclassic\t1.5 s ago\t")
        )
        self.assertEqual(len(json.loads(self.run_client("peers", "--json").stdout)), 1)
        self.assertEqual(len(self.run_client("history").stdout.splitlines()), 2)
        past = json.loads(self.run_client("history", "--limit", "1", "--json").stdout)
        self.assertEqual([entry["chunk"] for entry in past], ["forest_1"])

    def test_patterns(self) -> None:
        """A pattern picks; where nothing fits, that is said."""
        done = self.run_client("list", "for*")
        self.assertEqual(
            [line.split("\t")[0] for line in done.stdout.splitlines()], ["forest", "forge"]
        )
        done = self.run_client("list", "x*")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("has a name like x*", done.stderr)

    def test_verify(self) -> None:
        """What is not as it was is told, and is a failure."""
        done = self.run_client("verify")
        self.assertEqual(done.returncode, 1)
        lines = done.stdout.splitlines()
        self.assertTrue(lines[0].startswith("bee.mp4\tunchanged\t1.0 kB\tb3:1"), lines)
        self.assertTrue(lines[1].endswith("it was b3:2"), lines)
        self.assertIn("1 of 2 files", done.stderr)
        results = json.loads(self.run_client("verify", "forest.png", "--json").stdout)
        self.assertEqual([result["state"] for result in results], ["unchanged", "changed"])

    def test_share(self) -> None:
        """A file is shared by its path, made absolute here; several are one JSON value."""
        done = self.run_client("share", "setup.cfg")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith("/share/setup.cfg\tlinked\t10 B\t"), done.stdout)
        done = self.run_client("share", "setup.cfg", "pyproject.toml", "--json")
        self.assertEqual([one["name"] for one in json.loads(done.stdout)][1], "pyproject.toml")

    def test_closed_stdout(self) -> None:
        """When nobody reads the list, that is no traceback."""
        read, write = os.pipe()
        os.close(read)
        self.addCleanup(os.close, write)
        done = self.run_client("list", stdout=write)
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("Traceback", done.stderr)

    def test_closed_stdin(self) -> None:
        """Standard streams that are closed harm nothing."""
        client = self.start("list", stdin=None, preexec_fn=lambda: os.close(0))
        out, err = client.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual((client.returncode, err), (0, b""))
        self.assertIn(b"forest", out)

    def test_ignored_flags(self) -> None:
        """Flags that the running service cannot take any more are named."""
        done = self.run_client("list", "--port", "5999")
        self.assertEqual(done.returncode, 0)
        self.assertIn("not used: --port", done.stderr)


class GetTests(SpawnedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.service = self.serve()

    def test_done(self) -> None:
        """The path and that it is unverified on stdout, everything else on stderr."""
        done = self.run_client("get", "forest")
        self.assertEqual((done.returncode, done.stdout), (0, "/share/forest.png\tunverified\n"))
        lines = done.stderr.splitlines()
        self.assertIn("forest_2: 198.18.0.2 refused the connection, trying 198.18.0.3", lines)
        self.assertIn("forest_5 downloaded from 198.18.0.2", lines)
        self.assertIn("forest: done, 1.0 MB", done.stderr)
        self.assertNotIn("\x1b", done.stdout + done.stderr)

    def test_several(self) -> None:
        """Each name in turn, and the worst status of theirs."""
        done = self.run_client("get", "forest", "nobody", "forge", "--wait", "0.2")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 2)
        self.assertIn("nobody: not found", done.stderr)

    def test_ambiguous(self) -> None:
        """A name for several files is refused, and their names are told."""
        done = self.run_client("get", "vague")
        self.assertEqual((done.returncode, done.stdout), (4, ""))
        self.assertIn("vague.jpg, vague.png", done.stderr)

    def test_several_contents(self) -> None:
        """Two contents of one name are listed, and nothing is fetched."""
        done = self.run_client("get", "twice")
        self.assertEqual(done.returncode, 4)
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        self.assertEqual([row[0] for row in rows], ["1000000", "2000000"])
        self.assertEqual([row[1] for row in rows], [a_choice(1).id, a_choice(2).id])
        self.assertIn("twice fits 2 different contents", done.stderr)
        done = self.run_client("get", "twice", "--json")
        outcome = json.loads(done.stdout)
        self.assertEqual([c["size"] for c in outcome["candidates"]], [1_000_000, 2_000_000])
        self.assertEqual((done.returncode, outcome["status"]), (4, 4))

    def test_swarm(self) -> None:
        """What comes from several at once says who gave how much, and that it is verified."""
        done = self.run_client("get", "swarm")
        self.assertEqual((done.returncode, done.stdout), (0, "/share/swarm.png\tverified\n"))
        self.assertIn("from 198.18.0.3 (75%) and 198.18.0.2 (25%)", done.stderr)

    def test_given_up(self) -> None:
        """The classic warning is a line of its own, the reasons follow, the part file stays."""
        done = self.run_client("get", "half", "--give-up", "0.5")
        self.assertEqual(done.returncode, 1, done.stderr)
        lines = done.stderr.splitlines()
        at = lines.index(WARNING.format("half"))
        self.assertEqual(lines[at + 1], "  198.18.0.2: reset the connection")
        self.assertIn("given up after 0.5 s without progress", done.stderr)
        self.assertIn("1 of 5 chunks stays in /share/.peershare", done.stderr)

    def test_json(self) -> None:
        """One JSON event a line, flushed as it happens; the outcome is the last."""
        client = self.start("get", "slow", "--json")
        assert client.stdout is not None
        for _ in range(3):
            line = json.loads(client.stdout.readline())
            self.assertEqual(line["type"], "download")
        client.send_signal(signal.SIGINT)
        lines = [json.loads(line) for line in client.stdout.read().splitlines()]
        self.assertEqual((lines[-1]["type"], lines[-1]["status"]), ("outcome", 130))
        self.assertEqual(client.wait(PATIENCE_SECONDS), 130)

    def test_json_of_several(self) -> None:
        """Events and outcomes of each name, and of no other download."""
        done = self.run_client("get", "forest", "vague", "--json")
        self.assertEqual(done.returncode, 4)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        kinds = {line["type"] for line in lines}
        self.assertEqual(kinds, {"download", "notice", "outcome"})
        outcomes = [line for line in lines if line["type"] == "outcome"]
        self.assertEqual([one["status"] for one in outcomes], [0, 4])
        self.assertEqual(outcomes[0]["path"], "/share/forest.png")
        self.assertIs(outcomes[0]["verified"], False)
        self.assertEqual(outcomes[1]["choices"], ["vague.jpg", "vague.png"])

    def test_piped_names(self) -> None:
        """Names come through a pipe; the end of the input lets the last one finish."""
        done = self.run_client("get", "-", stdin="forest\n\nforge")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(
            done.stdout, "/share/forest.png\tunverified\n/share/forge.png\tunverified\n"
        )

    def test_names_from_a_file(self) -> None:
        """A regular file will do as well."""
        names = self.home / "names.txt"
        names.write_text("forest\nforge\n")
        with names.open() as file:
            client = self.start("get", "-", stdin=file)
            out, err = client.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(len(out.splitlines()), 2, err)

    def test_pipe_is_given_back(self) -> None:
        """A pipe that another process reads after us is as blocking as it was."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        os.write(write, b"forest\n")
        os.close(write)
        client = self.start("get", "-", stdin=read)
        self.assertEqual(client.wait(PATIENCE_SECONDS), 0)
        self.assertTrue(os.get_blocking(read))

    def test_null_device(self) -> None:
        """No input at all is no name at all."""
        client = self.start("get", "-", stdin=subprocess.DEVNULL)
        self.assertEqual(client.wait(PATIENCE_SECONDS), 0)

    def test_interrupted(self) -> None:
        """Ctrl-C stops the download, says that the part file stays, and is over at once."""
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            client = self.start("get", "slow")
            self.wait_for_downloading()
            began = time.monotonic()
            client.send_signal(number)
            out, err = client.communicate(timeout=PATIENCE_SECONDS)
            self.assertEqual((client.returncode, out), (status, b""), err)
            self.assertLess(time.monotonic() - began, 2.0)
            self.assertIn(b"slow: interrupted; the part file with 0 of 5 chunks stays", err)
            self.assertNotIn(b"Traceback", err)

    def wait_for_downloading(self) -> None:
        """Ask the service, as another client, until it says so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "downloading" not in self.downloads():
            self.assertLess(time.monotonic(), deadline)

    def downloads(self) -> str:
        from urllib.request import Request, urlopen

        from peershare.control.controlfile import read_control_file

        control = read_control_file(self.state)
        assert control is not None
        headers = {"authorization": f"Bearer {control.token}"}
        with urlopen(Request(f"{control.url}/api/downloads", headers=headers)) as answer:
            return answer.read().decode()

    def test_reader_of_stdout_goes_away(self) -> None:
        """When nobody reads the events any more, the download is left as by Ctrl-C."""
        client = self.start("get", "slow", "--json")
        assert client.stdout is not None and client.stderr is not None
        client.stdout.readline()
        client.stdout.close()
        self.assertEqual(client.wait(PATIENCE_SECONDS), 1)
        err = client.stderr.read()
        self.assertNotIn(b"Traceback", err)
        self.assertNotIn(b"internal", err)
        self.assertIn('"stopped"', self.downloads())

    def test_service_dies(self) -> None:
        """When the service dies in the middle, an own node goes on, with the same wish."""
        flags = self.own_node_flags()
        done = self.run_client("get", "dying", "--give-up", "1", *flags)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"the service (pid {self.service.pid}) went away", done.stderr)
        self.assertIn("going on with an own node", done.stderr)
        self.assertIn("dying: given up after 1 s", done.stderr)
        self.assertFalse((self.state / "control.json").exists())


class PromptTests(SpawnedTestCase):
    """The prompt where stdin is no terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.service = self.serve()

    def test_lines(self) -> None:
        """Each line is done before the next one, and what is running is finished first."""
        done = self.run_client(stdin="list\nforest\nhistory 1\nquit\nforge\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[3], "/share/forest.png\tunverified")
        self.assertEqual(len(lines), 5, lines)

    def test_worst(self) -> None:
        """The status is the worst of the lines'."""
        done = self.run_client("--wait", "0.1", stdin="nobody\nforest\n")
        self.assertEqual(done.returncode, 3, done.stderr)
        done = self.run_client(stdin="get\nshare\nstop x\n")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("help tells", done.stderr)

    def test_help(self) -> None:
        """Help is help, and is data."""
        self.assertIn("NAME ", self.run_client(stdin="help\n").stdout)


class OwnNodeTests(SpawnedTestCase):
    """Where no service runs."""

    def test_not_found(self) -> None:
        """A node of its own is started, says what it waits for, and is gone afterwards."""
        done = self.run_client("get", "forest", "--wait", "3", *self.own_node_flags())
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("waiting up to 3 s", done.stderr)
        self.assertIn("not found", done.stderr)
        self.assertFalse((self.state / "control.json").exists())
        self.assertTrue((self.state / "peershare.log").exists())

    def test_share_and_list(self) -> None:
        """What was shared is listed, with a word about who serves it."""
        path = self.home / "forest.txt"
        path.write_text("0123456789" * 10)
        flags = self.own_node_flags()
        done = self.run_client("share", str(path), str(self.home / "nothing"), *flags)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("forest_1 … forest_5", done.stdout)
        self.assertIn("nothing: cannot share: No such file", done.stderr)
        self.assertIn("while a service runs", done.stderr)
        done = self.run_client("list", "--wait", "0", *flags)
        self.assertTrue(done.stdout.startswith("forest.txt\t5/5\t100 B\tyou\tb3:"), done.stdout)

    def test_two_at_once(self) -> None:
        """Two clients that start together share one node; when it ends the other goes on alone."""
        flags = self.own_node_flags()
        first = self.start("get", "forest", "--wait", "1.5", *flags)
        second = self.start("get", "bee", "--wait", "3", *flags)
        for client in (first, second):
            _, err = client.communicate(timeout=PATIENCE_SECONDS)
            self.assertEqual(client.returncode, 3, err)
            self.assertNotIn(b"in use", err)

    def test_bad_settings(self) -> None:
        """Settings that cannot be used are one line and status 2."""
        for flags in (("--port", "x"), ("--upload-limit", "fast"), ("--config", "/nowhere")):
            done = self.run_client("list", *flags)
            self.assertEqual((done.returncode, done.stdout), (2, ""), flags)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_no_address(self) -> None:
        """An address that this machine does not have is one line and status 2, too."""
        done = self.run_client("list", "--address", "198.18.77.1")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)


class UsageTests(SpawnedTestCase):
    def test_wrong(self) -> None:
        """Wrong usage is one line and status 2, before anything is started."""
        for arguments in (
            *(("get",), ("share",), ("nonsense",), ("get", "x", "--wait", "long"), ("get", "")),
            *(("--json",), ("list", "--nonsense"), ("get", "x", "--give-up", "-1")),
            *(("history", "--limit", "0"), ("get", "x", "--wait", "nan")),
        ):
            done = self.run_client(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), (arguments, done.stderr))
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertFalse(self.state.exists())

    def test_output_that_is_a_file(self) -> None:
        """--output names a folder."""
        done = self.run_client("get", "x", "--output", "/etc/passwd")
        self.assertEqual(done.returncode, 2)
        self.assertFalse(self.state.exists())

    def test_help(self) -> None:
        """Every command has help that starts fast: neither Twisted nor rich is imported."""
        commands = ("get", "list", "peers", "share", "verify", "history", "demo")
        for command in ((), *((command,) for command in commands)):
            done = self.run_client(*command, "--help")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("usage: peershare", done.stdout)
        script = "import sys; from peershare.client.main import main\n"
        script += "try: main(['--help'])\nexcept SystemExit: pass\n"
        script += "print(sorted({'twisted', 'rich'} & set(sys.modules)), file=sys.stderr)"
        import sys

        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        self.assertEqual(done.stderr, b"[]\n")

    def test_version_and_module(self) -> None:
        """`python -m peershare` is the same program."""
        import sys

        from peershare import __version__

        done = subprocess.run(
            [sys.executable, "-m", "peershare", "--version"], capture_output=True, check=True
        )
        self.assertEqual(done.stdout.decode(), f"peershare {__version__}\n")
