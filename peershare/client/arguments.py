"""The command line of `peershare`: flags, commands and their help.

Not for: judging settings (`peershare.settings` does), or doing anything.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NoReturn

from peershare import __version__
from peershare.client.patience import DEFAULT_GIVE_UP_SECONDS, DEFAULT_WAIT_SECONDS
from peershare.options import OPTIONS

_FLAG_PREFIX = "setting_"
_STATUSES = (
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 several contents of one name, 130"
    " interrupted.  With several names it is the worst of theirs (130, 1, 2, 4, 3, 0).  Every"
    " option of the settings group is also a PEERSHARE_* variable and a key of the --config file;"
    " where a service runs on the state folder, its own settings hold."
)


@dataclass(frozen=True)
class Options:
    """What the user asked for; `command` is "prompt" where none was named.

    `flags` are the settings by option name; seconds are None where the command has a default
    of its own.
    """

    command: str
    names: tuple[str, ...] = ()  # of contents, the paths of `share`, the pattern of `list`
    output: str | None = None
    wait_seconds: float | None = None
    give_up_seconds: float = DEFAULT_GIVE_UP_SECONDS
    limit: int = 0
    sequential: bool = False
    json: bool = False
    config: str | None = None
    flags: dict[str, list[str]] = field(default_factory=dict)


def parse_arguments(arguments: Sequence[str]) -> Options:
    """Read a command line.  Raises SystemExit: 2 for wrong usage, 0 for --help and --version."""
    parser = _parser()
    found = vars(parser.parse_args(arguments))
    command = found.get("command") or "prompt"
    if command == "prompt" and found.get("json"):
        parser.error("--json goes with a command: get, list, peers, share, verify or history")
    names = [_readable(name) for name in found.get("names", ())]
    if command in ("list", "verify") and len(names) > 1:
        parser.error(f"{command} takes one name at most (a * may have to be quoted)")
    if not all(names):
        parser.error("an empty name names nothing")
    return Options(
        command=command,
        names=tuple(names),
        output=found.get("output"),
        wait_seconds=found.get("wait"),
        give_up_seconds=found.get("give_up", DEFAULT_GIVE_UP_SECONDS),
        limit=found.get("limit", 0),
        sequential=found.get("sequential", False),
        json=found.get("json", False),
        config=found.get("config"),
        flags={
            key.removeprefix(_FLAG_PREFIX): value
            for key, value in found.items()
            if key.startswith(_FLAG_PREFIX)
        },
    )


def _readable(name: str) -> str:
    """An argument whose bytes were no UTF-8 cannot be a name: it is refused as what it looks."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, not a page of usage."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> _Parser:
    common, patient = _common(), _patient()
    parser = _Parser(
        prog="peershare",
        description="Fetch files from the other machines of the local network, and share yours."
        "  Without a command there is a prompt.",
        epilog=_STATUSES,
        parents=[common, patient],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"peershare {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def add(name: str, text: str, *parents: _Parser) -> _Parser:
        return commands.add_parser(
            name, help=text, description=text, parents=[*parents], allow_abbrev=False
        )

    _add_get(add("get", "download contents by name or id", common, patient))
    listed = add("list", "list what is on the network", common, _listening())
    listed.add_argument(
        "names", nargs="*", metavar="PATTERN", help="a name in which * stands for anything"
    )
    add("peers", "list who is on the network", common, _listening())
    share = add("share", "put files into the share folder", common)
    share.add_argument("names", nargs="+", metavar="FILE", help="a file")
    verify = add("verify", "hash what is shared anew, and tell what changed", common)
    verify.add_argument("names", nargs="*", metavar="NAME", help="a file (default: all)")
    history = add("history", "show past downloads and uploads, newest first", common)
    history.add_argument(
        "--limit", type=_count, default=50, metavar="N", help="at most so many lines (default 50)"
    )
    add("demo", "show it all with four services of its own on 127.0.0.2-5")
    return parser


def _add_get(get: _Parser) -> None:
    """What `get` takes beside what others know too."""
    get.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="a name, or the first 8 or more digits of a content id; - reads them from stdin",
    )
    get.add_argument(
        "--output",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="the folder to download into (default: the share folder)",
    )
    get.add_argument(
        "--sequential",
        action="store_true",
        help="fetch the bytes in their order, as far as that is possible (slower for a crowd)",
    )


def _common() -> _Parser:
    """What every command knows: the settings, and --json."""
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--json", action="store_true", help="print JSON for programs")
    group = common.add_argument_group("settings")
    group.add_argument("--config", metavar="FILE", help="a TOML file with any of these settings")
    for option in OPTIONS:
        dest = _FLAG_PREFIX + option.name
        if option.metavar:
            action: Any = "append" if option.repeatable else _Last
            takes = {"action": action, "metavar": option.metavar}
        else:
            takes = {"action": "store_const", "const": ["yes"]}
        group.add_argument(f"--{option.name}", dest=dest, help=option.help, **takes)
    return common


def _patient() -> _Parser:
    """The two limits of a download."""
    patient = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    patient.add_argument(
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        help="how long to wait for a name that nobody has announced yet"
        f" (default {DEFAULT_WAIT_SECONDS:.0f})",
    )
    patient.add_argument(
        "--give-up",
        type=_seconds,
        metavar="SECONDS",
        help="give a name up after so long without progress"
        f" (default {DEFAULT_GIVE_UP_SECONDS:.0f})",
    )
    return patient


def _listening() -> _Parser:
    """How long to listen before telling what was heard."""
    listening = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    listening.add_argument(
        "--wait",
        type=_seconds,
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


def _seconds(text: str) -> float:
    seconds = float(text)
    if not isfinite(seconds) or seconds < 0:
        raise argparse.ArgumentTypeError(f"{text!r} are no seconds")
    return seconds


_seconds.__name__ = "seconds"  # argparse names it in its messages


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 10_000:
        raise argparse.ArgumentTypeError("a number from 1 to 10000 is needed")
    return count


_count.__name__ = "number"
