"""One case, as text: `python -m tests.faults NativeDownload 17 EIO`; all calls without a case."""

from __future__ import annotations

import sys

from tests.faults import downloads, putting, services
from tests.faults.driver import Operation, record
from tests.faults.steps import Kind

_MODULES = (downloads, putting, services)


def main(name: str, at: str = "", kind: str = "EIO") -> None:
    """Run it."""
    operation: type[Operation] = next(getattr(m, name) for m in _MODULES if hasattr(m, name))
    if not at:
        for number, step in enumerate(record(operation).steps):
            sys.stdout.write(f"{number:4} {step.name:12} {step.where}  {step.site}\n")
        return
    played = operation(sys.stdout).play(int(at), Kind[kind])
    sys.stdout.write("\n".join(["", *played.problems, ""]))


if __name__ == "__main__":
    main(*sys.argv[1:])
