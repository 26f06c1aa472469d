"""A machine on the lab's network that runs classic peers only: the scripts in `classic/`.

Not for: what they do; each script says it of itself, and its flags are passed through.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.lab.network import BROADCAST, Network
from tests.lab.processes import LabProcess, read_text

_SCRIPTS = Path(__file__).with_name("classic")


def script_command(script: str, *flags: str) -> list[str]:
    """The command line of one of the classic scripts, in a bare Python."""
    return [sys.executable, "-I", "-S", str(_SCRIPTS / f"{script}.py"), *flags]


def split(data: bytes, pattern: str, folder: Path, first: int = 1) -> None:
    """Cut bytes into the five chunk files of a classic share folder.

    `pattern` is the dialect of the names, such as `forest.png_{}`; `first` the first number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(data) // 5)
    for index in range(5):
        part = data[index * size : (index + 1) * size]
        (folder / pattern.format(first + index)).write_bytes(part)


class ClassicHost:
    """One such machine; `folder` is its disk, `folder/chunks` what it shares."""

    def __init__(self, network: Network, number: int, folder: Path) -> None:
        self._network = network
        self._number = number
        self._started = 0
        self._uploader: LabProcess | None = None
        self._folder = folder
        self.chunks = folder / "chunks"
        self.chunks.mkdir(parents=True)
        self.processes: list[LabProcess] = []

    @property
    def address(self) -> str:
        """Its address."""
        return self._network.address(self._number)

    def announce(self, *flags: str) -> LabProcess:
        """Start to announce the chunk files."""
        flags = ("--folder", str(self.chunks), "--to", BROADCAST, *flags)
        return self._start("announcer", *flags)

    def listen(self, *flags: str) -> LabProcess:
        """Start to listen; the dictionary is written to `dictionary`."""
        return self._start("listener", "--dictionary", str(self.dictionary), *flags)

    def upload(self, *flags: str) -> LabProcess:
        """Start to serve the chunk files."""
        self._uploader = self._start("uploader", "--folder", str(self.chunks), *flags)
        return self._uploader

    def lose(self, process: LabProcess) -> None:
        """End one of them for good, as when its user goes home."""
        self.processes.remove(process)
        process.kill()

    def fetch(self, content: str, *flags: str) -> LabProcess:
        """Fetch one content by the dictionary; `fetched` is where it goes."""
        arguments = ["--dictionary", str(self.dictionary), "--content", content]
        arguments += ["--output", str(self.fetched(content))]
        return self._run("client", *arguments, *flags)

    def told(self, name: str) -> bool:
        """Whether its listener has been told this name by anybody, in either form of file."""
        return bool(self.known(name))

    def known(self, name: str) -> list[str]:
        """The addresses that its listener has for a name, in either form of file."""
        text = read_text(self.dictionary)
        if text.startswith("{"):
            try:
                return list(json.loads(text).get(name, ()))
            except ValueError:  # read in the middle of a write
                return []
        for line in text.splitlines():
            if line.startswith(f"{name}: "):
                return line.removeprefix(f"{name}: ").split(", ")
        return []

    def asked(self) -> list[str]:
        """The names that its uploader was asked for."""
        lines = self._uploader.lines() if self._uploader else []
        told = [line for line in lines if line.startswith("asked for ")]
        return [line.removeprefix("asked for ").rpartition(" by ")[0] for line in told]

    @property
    def dictionary(self) -> Path:
        """The text file that its listener writes and its client reads."""
        return self._folder / "content_dictionary.txt"

    def fetched(self, content: str) -> Path:
        """The file that a fetch of this content makes."""
        return self._folder / content.replace("{}", "whole")

    def _start(self, script: str, *flags: str) -> LabProcess:
        """Start one that is to live as long as the story."""
        process = self._run(script, *flags)
        self.processes.append(process)
        process.wait_for_line("ready")
        return process

    def _run(self, script: str, *flags: str) -> LabProcess:
        self._started += 1
        name = f"classic-{self._number}-{self._started}-{script}"
        namespace = self._network.host(self._number)
        return self._network.start(namespace, name, script_command(script, *flags), self._folder)
