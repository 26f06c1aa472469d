"""The command line of `peershare`: flags, commands and their help.

Not for: judging settings (`peershare.settings` does), or doing anything.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

from peershare import __version__
from peershare.client.flags import (
    FLAG_PREFIX,
    Parser,
    address,
    common_flags,
    count,
    limit,
    listening_flags,
    moment,
    patient_flags,
    seconds,
)
from peershare.client.patience import DEFAULT_GIVE_UP_SECONDS
from peershare.options import OPTIONS

SHELLS = ("bash", "zsh", "fish")
DEFAULT_HISTORY_LINES = 50
MOST_HISTORY_LINES = 10_000
# They work on downloads, named or all.
STEERING = ("pause", "resume", "cancel")
# They are about a service that runs; without one they begin none.
STEERED = (*STEERING, "status", "limits", "open", "guest")
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
    since: float | None = None  # Unix seconds
    direction: str = ""  # of `history`: "download", "upload" or both
    sequential: bool = False
    source: str = ""  # of `get`: the address whose content is meant
    classic: bool = False
    everything: bool = False  # `--all`
    once: bool = False
    seconds: float | None = None  # how long `doctor` listens
    print_link: bool = False
    limits: dict[str, float | None] = field(default_factory=dict)  # those to be changed
    shell: str = ""  # of `completion`; of `complete` what is to be completed
    json: bool = False
    config: str | None = None
    flags: dict[str, list[str]] = field(default_factory=dict)


def parse_arguments(arguments: Sequence[str]) -> Options:
    """Read a command line.  Raises SystemExit: 2 for wrong usage, 0 for --help and --version."""
    parser = make_parser()
    found = vars(parser.parse_args(arguments))
    command = found.get("command") or "prompt"
    if command == "prompt" and found.get("json"):
        parser.error("--json goes with a command: get, list, peers, status, verify or history …")
    names = list(found.get("names", ()))
    if command != "share":  # which takes paths, whatever they are made of
        names = [_readable(name) for name in names]
    _check_names(parser, command, names, everything=found.get("everything", False))
    since = found.get("since")
    most = DEFAULT_HISTORY_LINES if since is None else MOST_HISTORY_LINES
    return Options(
        command=command,
        names=tuple(names),
        output=found.get("output"),
        wait_seconds=found.get("wait"),
        give_up_seconds=found.get("give_up", DEFAULT_GIVE_UP_SECONDS),
        limit=(found.get("limit") or most) if command == "history" else 0,
        since=since,
        direction=found.get("direction") or "",
        sequential=found.get("sequential", False),
        source=found.get("source", ""),
        classic=found.get("classic", False),
        everything=found.get("everything", False),
        once=found.get("once", False),
        seconds=found.get("seconds"),
        print_link=found.get("print_link", False),
        limits={name: found[name] for name in ("upload", "download") if name in found},
        shell=found.get("shell", ""),
        json=found.get("json", False),
        config=found.get("config"),
        flags={
            key.removeprefix(FLAG_PREFIX): value
            for key, value in found.items()
            if key.startswith(FLAG_PREFIX)
        },
    )


def flags_of(options: Options) -> tuple[str, ...]:
    """The settings and options of a `get`, to be given to another one."""
    words = ["--sequential"] if options.sequential else []
    for name, value in (("output", options.output), ("config", options.config)):
        words += [f"--{name}", value] if value is not None else []
    for option in OPTIONS:
        for value in options.flags.get(option.name, ()):
            words += [f"--{option.name}", value] if option.metavar else [f"--{option.name}"]
    return tuple(words)


def _check_names(parser: Parser, command: str, names: list[str], *, everything: bool) -> None:
    """End with status 2 where the names are not what the command wants."""
    if command in ("list", "verify") and len(names) > 1:
        parser.error(f"{command} takes one name at most (a * may have to be quoted)")
    if not all(names) and command != "complete":
        parser.error("an empty name names nothing")
    if command in STEERING and bool(names) == everything:
        parser.error(f"{command} takes names of downloads, or --all")


def _readable(name: str) -> str:
    """An argument whose bytes were no UTF-8 cannot be a name: it is refused as what it looks."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def make_parser() -> Parser:
    """The whole command line; what it knows is what completion and the man page tell of."""
    common, patient = common_flags(), patient_flags()
    parser = Parser(
        prog="peershare",
        description="Fetch files from the other machines of the local network, and share yours."
        "  Without a command there is a prompt.",
        epilog=_STATUSES,
        parents=[common, patient],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"peershare {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def add(name: str, text: str, *parents: Parser) -> Parser:
        return commands.add_parser(
            name, help=text, description=text, parents=[*parents], allow_abbrev=False
        )

    _add_get(add("get", "download contents by name or id", common, patient))
    listed = add("list", "list what is on the network", common, listening_flags())
    listed.add_argument(
        "names", nargs="*", metavar="PATTERN", help="a name in which * stands for anything"
    )
    add("peers", "list who is on the network", common, listening_flags())
    status = add("status", "show the downloads and the peers as they change", common)
    status.add_argument("--once", action="store_true", help="show them as they are, and end")
    for name, text in (
        ("pause", "hold downloads; what is there of them is kept and shared"),
        ("resume", "go on with downloads that were paused"),
        ("cancel", "end downloads; their part files are kept for next time"),
    ):
        _add_steering(add(name, text, common))
    _add_limits(add("limits", "show how fast the service may be, or change it", common))
    _add_open(add("open", "open the page of the service in a browser", common))
    add("guest", "show the link of the guest page, as a QR code too, and what guests sent", common)
    share = add("share", "put files into the share folder", common)
    share.add_argument("names", nargs="+", metavar="FILE", help="a file")
    verify = add("verify", "hash what is shared anew, and tell what changed", common)
    verify.add_argument("names", nargs="*", metavar="NAME", help="a file (default: all)")
    _add_history(add("history", "show past downloads and uploads, newest first", common))
    _add_doctor(add("doctor", "find out why others cannot be seen, and what to do", common))
    completion = add("completion", "print what makes a shell complete this command")
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help=" or ".join(SHELLS))
    complete = commands.add_parser("complete", parents=[common])  # for the shells; in no help
    complete.add_argument("shell", choices=("contents", "downloads", "shares"))
    complete.add_argument("names", nargs=1)
    add("demo", "show it all with four services of its own on 127.0.0.2-5")
    return parser


def _add_get(get: Parser) -> None:
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
        "--from",
        dest="source",
        type=address,
        metavar="ADDRESS",
        default=argparse.SUPPRESS,
        help="where a name is ambiguous: the content that this address has",
    )
    get.add_argument(
        "--classic",
        action="store_true",
        help="where a name is ambiguous: the unverified one of the classic protocol",
    )
    get.add_argument(
        "--sequential",
        action="store_true",
        help="fetch the bytes in their order, as far as that is possible (slower for a crowd)",
    )


def _add_steering(steering: Parser) -> None:
    """Which downloads."""
    steering.add_argument(
        "names",
        nargs="*",
        metavar="DOWNLOAD",
        help="its name or its id, as status shows them",
    )
    steering.add_argument(
        "--all", dest="everything", action="store_true", help="every one that this can be done to"
    )


def _add_limits(limits: Parser) -> None:
    """How fast, in each direction."""
    for flag, name in (("--up", "upload"), ("--down", "download")):
        limits.add_argument(
            flag,
            dest=name,
            type=limit,
            metavar="RATE",
            default=argparse.SUPPRESS,
            help=f"bytes per second for all {name}s together: 500k, 2M, 1G, or off",
        )


def _add_open(opening: Parser) -> None:
    opening.add_argument(
        "--print",
        dest="print_link",
        action="store_true",
        help="print the link, which is good once and for a minute, instead of opening it",
    )


def _add_doctor(doctor: Parser) -> None:
    doctor.add_argument(
        "--seconds",
        type=seconds,
        metavar="SECONDS",
        help="listen so long while nobody was heard (default 5; 65 hears every peer)",
    )


def _add_history(history: Parser) -> None:
    """Which lines of the logs."""
    history.add_argument(
        "--limit",
        type=count,
        metavar="N",
        help=f"at most so many lines (default {DEFAULT_HISTORY_LINES}, with --since all)",
    )
    history.add_argument(
        "--since",
        type=moment,
        metavar="TIME",
        help="what began after this: 2h, 3d, 2026-11-22, 2026-11-22T07:43",
    )
    history.add_argument(
        "--direction",
        metavar="DIRECTION",
        choices=("download", "upload"),
        help="only one of download and upload",
    )
