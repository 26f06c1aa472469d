"""Settings: from flags, variables, a file and defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, fields
from ipaddress import IPv4Address
from pathlib import Path

import platformdirs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from peershare.errors import SettingsError
from peershare.options import OPTIONS
from peershare.settings import Settings, load_settings

# One good value of each option, as text, and what becomes of it.
GOOD: dict[str, tuple[str, object]] = {
    "share": ("/srv/share", Path("/srv/share")),
    "state": ("/srv/state", Path("/srv/state")),
    "address": ("198.18.0.5", (IPv4Address("198.18.0.5"),)),
    "broadcast": ("198.18.255.255", (IPv4Address("198.18.255.255"),)),
    "port": ("6000", 6000),
    "control-port": ("6002", 6002),
    "classic-udp-port": ("6001", 6001),
    "beacon-port": ("6003", 6003),
    "no-classic": ("yes", False),
    "upload-limit": ("500k", 500_000.0),
    "download-limit": ("2M", 2_000_000.0),
    "classic-ports": ("5000,8000,9000", (5000, 8000, 9000)),
    "announce-interval": ("12.5", 12.5),
    "directory-memory": ("64M", 64_000_000),
    "guest": ("yes", True),
    "guest-port": ("6080", 6080),
    "guest-upload": ("yes", True),
    "guest-upload-limit": ("2.5M", 2_500_000),
    "guest-inbox": ("/srv/inbox", Path("/srv/inbox")),
}
FIELDS = {option.name: option.field for option in OPTIONS}


class SettingsTestCase(SynchronousTestCase):
    def file(self, text: str) -> str:
        """A settings file with this text."""
        path = Path(self.mktemp())
        path.write_text(text, encoding="utf-8")
        return str(path)

    def refused(
        self,
        flags: Mapping[str, Sequence[str]] = {},
        environment: Mapping[str, str] = {},
        config: str | None = None,
    ) -> str:
        """The one line that says why these cannot be used."""
        with self.assertRaises(SettingsError) as caught:
            load_settings(flags, environment, config)
        self.assertEqual(len(str(caught.exception).splitlines()), 1)
        return str(caught.exception)


class SourcesTests(SettingsTestCase):
    def test_every_option_is_tried_here(self) -> None:
        """No option and no field of the settings is left out of these tests."""
        self.assertEqual({option.name for option in OPTIONS}, set(GOOD))
        self.assertEqual(set(FIELDS.values()), {field.name for field in fields(Settings)})

    def test_defaults(self) -> None:
        """Without a word from the user, the defaults of the issue."""
        settings = load_settings({}, {})
        expected = Settings(
            share=Path.home() / "Peershare",
            state=Path(platformdirs.user_state_dir("peershare", appauthor=False)),
            addresses=(),
            broadcasts=(),
            tcp_port=5000,
            control_port=5002,
            classic_udp_port=5001,
            classic=True,
            beacon_udp_port=None,
            upload_limit_bytes_per_second=None,
            download_limit_bytes_per_second=None,
            classic_ports=(5000, 8000),
            announce_interval_seconds=60.0,
            guest=False,
            guest_port=5080,
            guest_upload=False,
            guest_upload_limit_bytes=1_000_000_000,
            guest_inbox=None,
        )
        self.assertEqual(settings, expected)
        self.assertEqual(settings.inbox, Path.home() / "Peershare" / "Inbox")

    def test_frozen(self) -> None:
        """Settings do not change after they were made."""
        settings = load_settings({}, {})
        with self.assertRaises(FrozenInstanceError):
            settings.tcp_port = 1  # type: ignore[misc]

    def test_each_source(self) -> None:
        """Every option can be given as a flag, as a variable and in the file, with one meaning."""
        for option in OPTIONS:
            text, value = GOOD[option.name]
            for settings in (
                load_settings({option.name: [text]}, {}),
                load_settings({}, {option.variable: text}),
                load_settings({}, {}, self.file(f'{option.name} = "{text}"')),
                load_settings({}, {}, self.file(f'{option.name.replace("-", "_")} = "{text}"')),
            ):
                self.assertEqual(getattr(settings, option.field), value, option.name)

    def test_flags_without_a_value(self) -> None:
        """`--no-classic` is yes; the file may say it as a truth value; anything else is refused."""
        for text in ("yes", "1", "true", "on", " ON "):
            self.assertFalse(load_settings({}, {"PEERSHARE_NO_CLASSIC": text}).classic)
        for text in ("no", "0", "false", "off"):
            self.assertTrue(load_settings({}, {"PEERSHARE_NO_CLASSIC": text}).classic)
        self.assertFalse(load_settings({}, {}, self.file("no-classic = true")).classic)
        self.assertTrue(load_settings({}, {}, self.file("no-classic = false")).classic)
        self.assertIn("no-classic", self.refused(config=self.file('no-classic = "perhaps"')))
        self.assertIn("port", self.refused(config=self.file("port = true")))

    def test_the_port_of_beacons(self) -> None:
        """The number of the TCP port, unless it is named; never that of the classic world."""
        self.assertEqual(load_settings({}, {}).beacon_port, 5000)
        self.assertEqual(load_settings({"port": ["6000"]}, {}).beacon_port, 6000)
        self.assertEqual(load_settings({"beacon-port": ["7000"]}, {}).beacon_port, 7000)
        self.assertIn("a classic peer dies", self.refused({"beacon-port": ["5001"]}))
        self.assertIn("a classic peer dies", self.refused({"port": ["5001"]}))

    def test_variable_names(self) -> None:
        """A variable is named as its flag, in capitals."""
        names = {option.name: option.variable for option in OPTIONS}
        self.assertEqual(names["upload-limit"], "PEERSHARE_UPLOAD_LIMIT")
        self.assertEqual(names["share"], "PEERSHARE_SHARE")

    def test_precedence(self) -> None:
        """A flag counts before a variable, that before the file, that before the default."""
        config = self.file("port = 6001\ncontrol-port = 7001\nclassic-udp-port = 8001")
        environment = {"PEERSHARE_PORT": "6002", "PEERSHARE_CONTROL_PORT": "7002"}
        settings = load_settings({"port": ["6003"]}, environment, config)
        self.assertEqual(settings.tcp_port, 6003)
        self.assertEqual(settings.control_port, 7002)
        self.assertEqual(settings.classic_udp_port, 8001)

    def test_repeated_flags(self) -> None:
        """Of a flag given twice the last counts; one that may be repeated counts every time."""
        flags = {"port": ["1", "2"], "address": ["198.18.0.5", "198.18.0.6", "198.18.0.5"]}
        settings = load_settings(flags, {})
        self.assertEqual(settings.tcp_port, 2)
        self.assertEqual(settings.addresses, (IPv4Address("198.18.0.5"), IPv4Address("198.18.0.6")))

    def test_lists_in_variables(self) -> None:
        """A variable holds several addresses with commas between them."""
        settings = load_settings({}, {"PEERSHARE_ADDRESS": "198.18.0.5, 198.18.0.6"})
        self.assertEqual(settings.addresses, (IPv4Address("198.18.0.5"), IPv4Address("198.18.0.6")))

    def test_empty_variable(self) -> None:
        """A variable that is set to nothing is as good as unset."""
        self.assertEqual(load_settings({}, {"PEERSHARE_PORT": " "}).tcp_port, 5000)

    def test_other_variables(self) -> None:
        """Variables that are not ours are none of our business."""
        self.assertEqual(
            load_settings({}, {"PATH": "x", "PEERSHARE_X": "y"}), load_settings({}, {})
        )

    def test_replaced_not_added(self) -> None:
        """Addresses of a flag replace those of the file."""
        config = self.file('address = ["198.18.0.1", "198.18.0.2"]')
        self.assertEqual(len(load_settings({}, {}, config).addresses), 2)
        settings = load_settings({"address": ["198.18.0.3"]}, {}, config)
        self.assertEqual(settings.addresses, (IPv4Address("198.18.0.3"),))


class FileTests(SettingsTestCase):
    def test_native_values(self) -> None:
        """Numbers and lists may be written as TOML has them."""
        config = self.file(
            "port = 6000\nclassic-ports = [5000, 8000, 9000]\nannounce-interval = 7.5\n"
            'upload-limit = 1000\naddress = ["198.18.0.5"]\n'
        )
        settings = load_settings({}, {}, config)
        self.assertEqual(settings.tcp_port, 6000)
        self.assertEqual(settings.classic_ports, (5000, 8000, 9000))
        self.assertEqual(settings.announce_interval_seconds, 7.5)
        self.assertEqual(settings.upload_limit_bytes_per_second, 1_000.0)
        self.assertEqual(settings.addresses, (IPv4Address("198.18.0.5"),))

    def test_named_by_variable(self) -> None:
        """The file can be named by a variable; the flag counts before it."""
        one, other = self.file("port = 6001"), self.file("port = 6002")
        environment = {"PEERSHARE_CONFIG": one}
        self.assertEqual(load_settings({}, environment).tcp_port, 6001)
        self.assertEqual(load_settings({}, environment, other).tcp_port, 6002)

    def test_no_file(self) -> None:
        """A file that was named and is not there is an error."""
        self.assertIn("cannot read", self.refused(config="/nonexistent/peershare.toml"))
        self.assertIn("cannot read", self.refused(config=str(Path(self.mktemp()).parent)))

    def test_not_toml(self) -> None:
        """What is no TOML is one line, whatever it is."""
        self.assertIn("is not TOML", self.refused(config=self.file("port: 5")))
        path = Path(self.mktemp())
        path.write_bytes(b'share = "\xff"')
        self.assertIn("is not TOML", self.refused(config=str(path)))

    def test_unknown_key(self) -> None:
        """A key that means nothing is an error, not a setting that silently does not hold."""
        self.assertIn("'prot'", self.refused(config=self.file("prot = 5000")))
        self.assertIn("'peershare'", self.refused(config=self.file("[peershare]\nport = 5000")))

    def test_wrong_types(self) -> None:
        """Booleans, tables, dates and lists where they make no sense are refused."""
        for text in (
            "port = true",
            "port = {}",
            "port = 1979-05-27",
            "port = 5.5",
            "port = [[]]",
            "share = false",
            "state = {}",
            'share = ["/srv/a", "/srv/b"]',
            "address = [true]",
            "address = []",
            'classic-ports = ["a"]',
            "announce-interval = nan",
            "announce-interval = inf",
        ):
            self.assertIn("cannot be used", self.refused(config=self.file(text)), text)


class ValueTests(SettingsTestCase):
    def test_line_names_everything(self) -> None:
        """The line says where the value stands, what it is, and what is needed."""
        line = self.refused({"port": ["http"]})
        self.assertEqual(line, "--port: 'http' cannot be used: a port from 1 to 65535 is needed")
        line = self.refused({}, {"PEERSHARE_PORT": "http"})
        self.assertTrue(line.startswith("PEERSHARE_PORT: 'http' "), line)
        config = self.file('port = "http"')
        self.assertTrue(self.refused(config=config).startswith(f"{config}: port: 'http' "))

    def test_ports(self) -> None:
        """A port is a number from 1 to 65535."""
        for name in ("port", "control-port", "classic-udp-port", "classic-ports"):
            for text in ("00", "65536", "-1", "", "5000.0", "0x10", "５０００", "99999999999"):
                self.assertIn("port", self.refused({name: [text]}))
            if name != "control-port":
                self.assertIn("port", self.refused({name: ["0"]}))
        self.assertEqual(load_settings({"port": ["65535"]}, {}).tcp_port, 65_535)

    def test_control_port(self) -> None:
        """The local API can be off, or take any port that is free."""
        for text, expected in (("0", 0), ("auto", None), (" AUTO ", None), ("1", 1)):
            self.assertEqual(load_settings({"control-port": [text]}, {}).control_port, expected)
        config = self.file("control-port = 0")
        self.assertEqual(load_settings({}, {}, config).control_port, 0)
        self.assertIn("auto", self.refused({"control-port": ["any"]}))

    def test_classic_ports(self) -> None:
        """Ports to try are separated by commas, each counts once, in the order given."""
        settings = load_settings({"classic-ports": ["8000, 5000,8000"]}, {})
        self.assertEqual(settings.classic_ports, (8000, 5000))
        for text in (",", "5000,", "1,2,3,4,5,6,7,8,9"):
            self.refused({"classic-ports": [text]})

    def test_addresses(self) -> None:
        """An address is IPv4, in figures."""
        for name in ("address", "broadcast"):
            for text in ("", "localhost", "::1", "198.18.0", "198.18.0.256", "198.18.0.1/24"):
                self.assertIn("IPv4", self.refused({name: [text]}))

    def test_rates(self) -> None:
        """A rate is bytes per second, with k, M or G for thousands, millions, milliards."""
        for text, rate in {
            "1": 1.0,
            "1000": 1e3,
            "500k": 5e5,
            "500K": 5e5,
            "2M": 2e6,
            "1.5m": 1.5e6,
            "1G": 1e9,
            " 2 MB/s ": 2e6,
        }.items():
            settings = load_settings({"upload-limit": [text]}, {})
            self.assertEqual(settings.upload_limit_bytes_per_second, rate)
        for text in ("", "0", "0.5", "-1", "fast", "1T", "1e6", "nan", "inf", "k", "1,5M"):
            self.refused({"download-limit": [text]})

    def test_intervals(self) -> None:
        """An interval is seconds, from one to a day."""
        for text in ("0", "0.9", "-5", "86401", "nan", "inf", "", "a minute"):
            self.assertIn("1 to 86400", self.refused({"announce-interval": [text]}))
        settings = load_settings({"announce-interval": ["86400"]}, {})
        self.assertEqual(settings.announce_interval_seconds, 86_400.0)

    def test_folders(self) -> None:
        """A folder may be relative, or begin with a tilde; it becomes absolute, links kept."""
        folder = Path(self.mktemp())
        folder.mkdir()
        link = folder / "link"
        link.symlink_to("elsewhere")
        settings = load_settings({"share": [str(link)], "state": ["~/x/../y"]}, {})
        self.assertEqual(settings.share, Path(os.path.abspath(link)))  # noqa: PTH100
        self.assertEqual(settings.state, Path.home() / "y")
        for text in ("", "a\0b"):
            self.assertIn("folder", self.refused({"share": [text]}))

    def test_folder_of_nobody(self) -> None:
        """The home of a user who does not exist is a wrong value like any other."""
        self.assertIn("~no such user", self.refused({"share": ["~no such user/x"]}))
        self.assertIn("~no such user", self.refused(config="~no such user/peershare.toml"))

    @given(st.sampled_from(sorted(GOOD)), st.text(max_size=20))
    def test_any_text(self, name: str, text: str) -> None:
        """Any text is a value or one clear line."""
        try:
            load_settings({name: [text]}, {})
        except SettingsError as error:
            self.assertEqual(len(str(error).splitlines()), 1)
            self.assertTrue(str(error).startswith("--"))


class SizeTests(SettingsTestCase):
    def test_sizes(self) -> None:
        """Bytes, with a unit; a rate is none, and neither is nothing."""
        for text, size in (
            ("1", 1),
            ("10k", 10_000),
            ("1.5 MB", 1_500_000),
            ("4096G", 4096 * 10**9),
        ):
            settings = load_settings({"guest-upload-limit": [text]}, {})
            self.assertEqual(settings.guest_upload_limit_bytes, size)
        for text in ("0", "0.5", "-1", "", "1M/s", "5000G", "many", "nan"):
            self.assertIn("guest-upload-limit", self.refused({"guest-upload-limit": [text]}))


class TogetherTests(SettingsTestCase):
    def test_one_folder(self) -> None:
        """The state folder is not the share folder."""
        line = self.refused({"share": ["/srv/x"], "state": ["/srv/y/../x"]})
        self.assertIn("two folders", line)

    def test_state_in_share(self) -> None:
        """Nor does it lie inside, where its files would be shared; hidden ones are not."""
        self.assertIn("inside", self.refused({"share": ["/srv"], "state": ["/srv/state"]}))
        for state in ("/srv/.state", "/srv/.x/state", "/srv2/state"):
            settings = load_settings({"share": ["/srv"], "state": [state]}, {})
            self.assertEqual(settings.state, Path(state))

    def test_share_in_state(self) -> None:
        """The other way round there is no harm."""
        settings = load_settings({"share": ["/srv/state/share"], "state": ["/srv/state"]}, {})
        self.assertEqual(settings.share, Path("/srv/state/share"))

    def test_one_port(self) -> None:
        """Chunks and the local API need two ports; UDP and TCP may share a number."""
        self.assertIn("differ", self.refused({"port": ["6000"], "control-port": ["6000"]}))
        self.assertIn("differ", self.refused({"port": ["5002"]}))
        load_settings({"port": ["5001"], "beacon-port": ["5000"]}, {})

    def test_guests(self) -> None:
        """Their page has a port of its own; what they send is not shared on by itself."""
        guest = {"guest": ["yes"]}
        self.assertIn("differ", self.refused({**guest, "guest-port": ["5000"]}))
        self.assertIn("differ", self.refused({**guest, "guest-port": ["5002"]}))
        load_settings({"guest-port": ["5000"]}, {})
        line = self.refused({**guest, "share": ["/srv"], "guest-inbox": ["/srv/x/.."]})
        self.assertIn("shared on", line)
        inside = load_settings({**guest, "share": ["/srv"]}, {})
        self.assertEqual(inside.inbox, Path("/srv/Inbox"))
