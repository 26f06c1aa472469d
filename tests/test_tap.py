"""What `twistd peershare` understands: every option, and one clear line for what it does not."""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from peershare.options import OPTIONS
from peershare.settings import Settings
from peershare.tap import Options


class TapTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PEERSHARE_")}
        self.patch(os, "environ", kept)

    def parse(self, *arguments: str) -> Settings:
        options = Options()
        options.parseOptions(arguments)
        return options.settings

    def refused(self, *arguments: str) -> str:
        """The one line that a person gets."""
        with self.assertRaises(SystemExit) as caught:
            self.parse(*arguments)
        line = caught.exception.code
        assert isinstance(line, str), "a text, so that the exit status is 1"
        self.assertEqual(len(line.splitlines()), 1)
        return line


class OptionsTests(TapTestCase):
    def test_every_option(self) -> None:
        """Each flag arrives where it belongs."""
        settings = self.parse(
            *("--share", "/a", "--state", "/b", "--address", "127.0.0.2", "--port", "6000"),
            *("--broadcast", "127.255.255.255", "--broadcast", "198.18.0.255"),
            *("--control-port", "6002", "--classic-udp-port", "6001", "--upload-limit", "500k"),
            *("--download-limit=2M", "--classic-ports", "5000,8000", "--announce-interval", "30"),
        )
        broadcasts = (IPv4Address("127.255.255.255"), IPv4Address("198.18.0.255"))
        self.assertEqual(
            settings,
            Settings(
                share=Path("/a"),
                state=Path("/b"),
                addresses=(IPv4Address("127.0.0.2"),),
                broadcasts=broadcasts,
                tcp_port=6000,
                control_port=6002,
                classic_udp_port=6001,
                upload_limit_bytes_per_second=500_000.0,
                download_limit_bytes_per_second=2_000_000.0,
                classic_ports=(5000, 8000),
                announce_interval_seconds=30.0,
            ),
        )

    def test_a_variable_and_a_file(self) -> None:
        """Flag before variable before file."""
        config = Path(self.mktemp())
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text('port = 1111\nupload-limit = "1k"\nannounce-interval = 10\n')
        self.patch(
            os, "environ", {"PEERSHARE_PORT": "2222", "PEERSHARE_UPLOAD_LIMIT": "2k", "HOME": "/h"}
        )
        settings = self.parse("--config", str(config), "--port", "3333")
        self.assertEqual(settings.tcp_port, 3333)
        self.assertEqual(settings.upload_limit_bytes_per_second, 2_000.0)
        self.assertEqual(settings.announce_interval_seconds, 10.0)

    def test_the_help_names_every_option(self) -> None:
        """With what it is for."""
        text = str(Options())
        for option in OPTIONS:
            self.assertIn(f"--{option.name}", text)
        self.assertIn("--config", text)

    def test_the_plugin(self) -> None:
        """twistd finds it by its name."""
        makers = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "peershare"]
        self.assertEqual(len(makers), 1)


class WrongValueTests(TapTestCase):
    def test_each_is_one_line_that_names_it(self) -> None:
        """The option, the value, and what is needed."""
        for option, value in (
            *(("port", "0"), ("port", "70000"), ("port", "x"), ("address", "localhost")),
            *(("address", "1.2.3"), ("broadcast", "1.2.3.4.5"), ("upload-limit", "fast")),
            *(("upload-limit", "-1"), ("download-limit", "0"), ("classic-ports", "5000,,1")),
            *(("announce-interval", "0"), ("announce-interval", "nan"), ("control-port", "-5")),
            *(("classic-udp-port", "5001.5"), ("share", ""), ("state", "")),
        ):
            line = self.refused(f"--{option}", value)
            self.assertTrue(line.startswith("twistd peershare: "), line)
            self.assertIn(f"--{option}", line)

    def test_options_that_do_not_exist(self) -> None:
        """And arguments that nothing is done with."""
        self.assertIn("no-such", self.refused("--no-such", "1"))
        self.refused("--port")
        self.refused("forest.png")

    def test_values_that_do_not_go_together(self) -> None:
        """Two folders in one, two ports in one."""
        self.refused("--share", "/a", "--state", "/a")
        self.refused("--share", "/a", "--state", "/a/b")
        self.refused("--port", "5002", "--control-port", "5002")

    def test_a_file_that_is_not_there_or_not_toml(self) -> None:
        """Named with its path."""
        self.assertIn("/no/such.toml", self.refused("--config", "/no/such.toml"))
        config = Path(self.mktemp())
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text("port = = 5\n")
        self.assertIn(str(config), self.refused("--config", str(config)))
        config.write_text("ports = 5\n")
        self.assertIn("'ports'", self.refused("--config", str(config)))
