"""`peershare`: the entry point.  Reads the command line and the settings, then runs the client.

Kept light: `peershare --help` imports neither Twisted nor rich.  Not for: the client (`run`).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peershare.client.arguments import Options

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `peershare`; returns its exit status."""
    _end_quietly()
    _open_missing_descriptors()
    from peershare.client.arguments import parse_arguments

    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        if sys.stdout.closed or error.filename is not None:
            raise
        return _unwritten(error)
    return status


def _unwritten(error: OSError) -> int:
    """Nobody reads stdout, which is no news, or its disk is full; Python is not to try again."""
    if not isinstance(error, BrokenPipeError):
        print(f"peershare: cannot write to stdout: {error.strerror}", file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return _FAILED


def _end_quietly() -> None:
    """Until a command knows better, Ctrl-C is no traceback: nothing has begun, nothing is lost.

    What is imported takes a while, and is imported after this.  A SIGINT that is ignored stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))


def _run(options: Options) -> int:
    if options.command == "demo":
        from peershare.client.demo import run_demo

        signal.signal(signal.SIGINT, signal.default_int_handler)  # it cleans up behind itself
        return run_demo(sys.stdout)
    if options.command == "completion":
        from peershare.client.completion import completion_script

        sys.stdout.write(completion_script(options.shell))
        return 0
    from peershare.errors import SettingsError
    from peershare.settings import load_settings

    try:
        settings = load_settings(options.flags, os.environ, options.config)
    except SettingsError as error:
        print(f"peershare: {error}", file=sys.stderr)
        return _USAGE
    if options.command == "doctor":
        from peershare.doctor.command import run_doctor

        return run_doctor(options, settings)
    if options.command == "complete":
        from peershare.client.lookup import names_of

        names = names_of(options.shell, options.names[0], settings.state)
        text = "".join(f"{name}\n" for name in names)
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        return 0
    from peershare.client.run import run

    return run(options, settings)


def _open_missing_descriptors() -> None:
    """A closed stdin, stdout or stderr is the null device, lest a socket gets its number."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - as long as we live
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(main())
