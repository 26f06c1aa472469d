"""What `twistd peershare` runs: its options and the service they make.

The composition root of the service: here the real reactor meets the node.  Wrong values are
one clear line and exit status 1, before anything is started.  Not for: logic.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.python import usage

from peershare.errors import LocalError
from peershare.options import OPTIONS, Option
from peershare.settings import Settings, load_settings


def _is_default(number: int) -> bool:
    return signal.getsignal(number) is signal.default_int_handler


def _end(*_: object) -> None:
    """Python: Ctrl-C while nothing runs yet, and most of it is still being imported."""
    os._exit(130)


class Options(usage.Options):
    """The flags of `peershare.settings.OPTIONS`, and `--config`."""

    synopsis = "[options]"
    longdesc = (
        "Shares the files of a folder with the other machines of the local network."
        " Every option is also a PEERSHARE_* variable and a key of the --config file."
    )
    optParameters: Sequence[Sequence[Any]] = [
        ["config", None, None, "a TOML file with any of these settings"]
    ]
    settings: Settings

    def __init__(self) -> None:
        self.flags: dict[str, list[str]] = {}
        if Path(sys.argv[0]).name == "twistd" and _is_default(signal.SIGINT):
            signal.signal(signal.SIGINT, _end)  # until the reactor sees to it
        super().__init__()

    def parseOptions(self, options: Any = None) -> None:
        """Twisted: parse; a mistake ends the program with one line and status 1."""
        try:
            super().parseOptions(options)
            self.settings = load_settings(self.flags, os.environ, self["config"])
        except (usage.UsageError, LocalError) as error:
            raise SystemExit(f"twistd peershare: {error}") from None


def _collector(option: Option) -> Callable[..., None]:
    """The method by which Twisted hands over a flag, with its value if it takes one."""

    def collect(options: Options, value: str) -> None:
        options.flags.setdefault(option.name, []).append(value)

    def collect_flag(options: Options) -> None:
        collect(options, "yes")

    method = collect if option.metavar else collect_flag
    method.__doc__ = option.help
    return method


for _option in OPTIONS:
    setattr(Options, f"opt_{_option.name.replace('-', '_')}", _collector(_option))


def makeService(options: Options) -> IService:
    """The service: a node and its local API.  Ends the program if it cannot be made."""
    from twisted.internet import reactor

    from peershare.control.server import ControlService
    from peershare.node import make_node, use_monotonic_clock

    if signal.getsignal(signal.SIGINT) is _end:
        running: Any = reactor
        running.callWhenRunning(signal.signal, signal.SIGINT, running.sigInt)
    use_monotonic_clock(reactor)
    try:
        node = make_node(options.settings, reactor, resume=True)
    except LocalError as error:
        raise SystemExit(f"twistd peershare: {error}") from None
    service = MultiService()
    node.setServiceParent(service)
    control = ControlService(node, options.settings, reactor, remembered=True)
    control.setServiceParent(service)
    return service
