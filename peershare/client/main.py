"""`peershare`: the entry point.  Reads the command line and the settings, then runs the client.

Kept light: `peershare --help` imports neither Twisted nor rich.  Not for: the client (`run`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from peershare.client.arguments import Options, parse_arguments
from peershare.errors import SettingsError
from peershare.settings import load_settings

_USAGE, _INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `peershare`; returns its exit status."""
    _open_missing_descriptors()
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(options: Options) -> int:
    if options.command == "demo":
        from peershare.client.demo import run_demo

        return run_demo(sys.stdout)
    if options.command == "completion":
        from peershare.client.completion import completion_script

        sys.stdout.write(completion_script(options.shell))
        return 0
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
        sys.stdout.write("".join(f"{name}\n" for name in names))
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


if __name__ == "__main__":
    sys.exit(main())
