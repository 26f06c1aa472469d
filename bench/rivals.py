"""What a user would pick instead: nginx serving a file with sendfile, curl fetching it.

Rivals come from the distribution; where they are missing and we may, `apt-get` installs them.
Not for: peershare itself.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from services import cpu_seconds, wait_for

_CONFIGURATION = """\
worker_processes 1;
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
{user}
events {{ worker_connections 64; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{ listen {address}:{port}; root {root}; }}
}}
"""
_PORT = 8100
# servers lie where the path of ordinary users often does not lead
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))


class Nginx:
    """A server of the files in one folder; `stop` it in the end."""

    def __init__(self, home: Path, address: str, root: Path) -> None:
        """`home` gets its configuration and its logs."""
        self._home = home
        self._address = address
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._home.mkdir(parents=True)
        configuration = self._home / "nginx.conf"
        text = _CONFIGURATION.format(
            home=self._home,
            # as root it would drop to a user who may not read a folder of ours
            user="user root;" if os.geteuid() == 0 else "",
            address=self._address,
            port=_PORT,
            root=self._root,
        )
        configuration.write_text(text, encoding="utf-8")
        command = [shutil.which("nginx", path=_PATH) or "nginx", "-c", str(configuration)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(self._listens, "nginx")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def fetch(self, name: str, target: Path) -> tuple[float, float]:
        """Fetch a file with curl; seconds by the clock, and curl's processor time."""
        url = f"http://{self._address}:{_PORT}/{name}"
        return timed("curl", "--silent", "--fail", "--output", str(target), url)

    @property
    def cpu_seconds(self) -> float:
        """Processor time that its processes used so far."""
        if self._process is None:
            raise RuntimeError("nginx is not running")
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return sum(map(cpu_seconds, (pid, *map(int, children))))

    def _listens(self) -> bool:
        try:
            socket.create_connection((self._address, _PORT), timeout=1).close()
        except OSError:
            return False
        return True


def timed(*command: str) -> tuple[float, float]:
    """Run a program; seconds by the clock, and the processor time that it used."""
    before, begun = os.times(), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.monotonic() - begun, os.times()
    used = after.children_user - before.children_user
    return seconds, used + after.children_system - before.children_system


def install_rivals(*names: str) -> None:
    """Make sure that these programs are here, which are the only ones of packages of their names.

    Ends the program where that cannot be.
    """
    missing = [name for name in names if shutil.which(name, path=_PATH) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SystemExit(f"please install {' and '.join(missing)} first")
    print(f"installing {' and '.join(missing)}", flush=True)
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run(["apt-get", "update", "-qq"], **quiet)
    command = ["apt-get", "install", "-qq", "--no-install-recommends", *missing]
    subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, **quiet)
