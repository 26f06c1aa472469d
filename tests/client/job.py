"""A program: runs a command as the foreground job of its terminal, as a shell does.

    python job.py COMMAND…

When the job stops it says `[stopped]`, and continues it after a line of input.  It ends with the
job's exit status.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios


def main() -> int:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(sys.argv[1], sys.argv[1:])
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        os.tcsetpgrp(0, os.getpgrp())
        os.write(1, b"[stopped]\r\n")
        os.read(0, 100)
        os.tcsetpgrp(0, child)
        os.killpg(child, signal.SIGCONT)


if __name__ == "__main__":
    sys.exit(main())
