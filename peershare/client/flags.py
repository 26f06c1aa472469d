"""What several commands of the command line share: groups of flags, and the types of their values.

Not for: the commands themselves (`arguments`).
"""

from __future__ import annotations

import argparse
import time
from ipaddress import IPv4Address
from math import isfinite
from typing import Any, NoReturn

from peershare.client.patience import DEFAULT_GIVE_UP_SECONDS, DEFAULT_WAIT_SECONDS
from peershare.client.since import since_when
from peershare.options import OPTIONS

FLAG_PREFIX = "setting_"
_RATE = next(option for option in OPTIONS if option.name == "upload-limit")


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, not a page of usage."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def common_flags() -> Parser:
    """What every command knows: the settings, and --json."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--json", action="store_true", help="print JSON for programs")
    group = common.add_argument_group("settings")
    group.add_argument("--config", metavar="FILE", help="a TOML file with any of these settings")
    for option in OPTIONS:
        dest = FLAG_PREFIX + option.name
        if option.metavar:
            action: Any = "append" if option.repeatable else _Last
            takes = {"action": action, "metavar": option.metavar}
        else:
            takes = {"action": "store_const", "const": ["yes"]}
        group.add_argument(f"--{option.name}", dest=dest, help=option.help, **takes)
    return common


def patient_flags() -> Parser:
    """The two limits of a download."""
    patient = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    patient.add_argument(
        "--wait",
        type=seconds,
        metavar="SECONDS",
        help="how long to wait for a name that nobody has announced yet"
        f" (default {DEFAULT_WAIT_SECONDS:.0f})",
    )
    patient.add_argument(
        "--give-up",
        type=seconds,
        metavar="SECONDS",
        help="give a name up after so long without progress"
        f" (default {DEFAULT_GIVE_UP_SECONDS:.0f})",
    )
    return patient


def listening_flags() -> Parser:
    """How long to listen before telling what was heard."""
    listening = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    listening.add_argument(
        "--wait",
        type=seconds,
        metavar="SECONDS",
        help="listen for so long first (default 3 where no service runs; 65 hears every peer)",
    )
    return listening


class _Last(argparse.Action):
    """Keep the last value given, as a list of one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, [values])


def seconds(text: str) -> float:
    """A time that is none of the past, in seconds."""
    value = float(text)
    if not isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} are no seconds")
    return value


seconds.__name__ = "seconds"  # argparse names it in its messages


def count(text: str) -> int:
    """A number of lines."""
    value = int(text)
    if not 1 <= value <= 10_000:
        raise argparse.ArgumentTypeError("a number from 1 to 10000 is needed")
    return value


count.__name__ = "number"


def moment(text: str) -> float:
    """A moment of the past, as Unix seconds: see `since_when`."""
    try:
        return since_when(text, time.time())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def address(text: str) -> str:
    """The address of a peer."""
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no IPv4 address") from None


def limit(text: str) -> float | None:
    """Bytes per second as the options of the service take them; None for `off`."""
    if text.strip().lower() == "off":
        return None
    try:
        rate: float = _RATE.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}; or off") from None
    return rate
