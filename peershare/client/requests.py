"""What a line at the prompt asks for, and how it can be completed.  Pure.

A line is the name of a content unless it is one of the words below; `get NAME` is for names that
look like one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

ALONE = ("list", "peers", "status", "limits", "verify", "history", "help", "quit")
WITH_ARGUMENT = ("share", "get", "stop", "pause", "resume")

HELP = """\
NAME           download this content (get NAME for one that is called like a command);
               the first 8 or more digits of a content id will do as well
list [PATTERN] what is on the network, or of it what fits: *.png
peers          who is on the network
status         the downloads and the peers, with their rates
limits         how fast it may be (peershare limits changes it)
verify [NAME]  hash what is shared here anew, and tell what changed
history [N]    the last downloads and uploads
share PATH     put a file into the share folder
pause NAME     hold a download; resume NAME goes on with it
stop NAME      stop a download; its part file stays for next time
help           this
quit           end (so does Ctrl-D); what is running is finished first
Ctrl-C         end at once; part files stay for next time
Tab            complete a name, a command or a path"""


class Request(NamedTuple):
    """A command and its argument; a bare name is ("get", name)."""

    verb: str
    argument: str = ""


class Completion(NamedTuple):
    """The line as far as it is sure, and what it could become where it is not."""

    line: str
    choices: tuple[str, ...] = ()


def parse_line(line: str) -> Request | None:
    """Read a line; None for an empty one.  Spaces before or behind a name are a part of it."""
    command = line.strip()
    if not command:
        return None
    word, _, rest = line.lstrip().partition(" ")
    if word in WITH_ARGUMENT:
        argument = rest if rest.strip() else ""
        return Request(word, _unquoted(rest.strip()) if word == "share" else argument)
    if command in ALONE:
        return Request(command)
    if command == "exit":
        return Request("quit")
    number = rest.strip()
    if word == "history" and number.isascii() and number.isdigit():
        return Request("history", number)
    if word == "verify" or (word == "list" and "*" in rest):
        return Request(word, rest if word == "verify" else rest.strip())
    return Request("get", line)


def _unquoted(path: str) -> str:
    """A path as file managers drop it into a terminal: in quotes."""
    if len(path) >= 2 and path[0] == path[-1] and path[0] in "'\"":
        return path[1:-1]
    return path


def completion_part(line: str) -> tuple[str, str]:
    """Part a line into what stands fast (`share `, or nothing) and what is to be completed."""
    word, space, rest = line.partition(" ")
    if space and word in WITH_ARGUMENT:
        return f"{word} ", rest
    return "", line


def complete(line: str, words: Iterable[str]) -> Completion:
    """Complete the last part of a line by one of `words`, regardless of case."""
    fast, begun = completion_part(line)
    fitting = sorted({word for word in words if word.casefold().startswith(begun.casefold())})
    if not fitting:
        return Completion(line)
    if len(fitting) == 1:
        return Completion(fast + fitting[0])
    common = _common_start(fitting[0], fitting[-1])  # sorted: what these share all share
    if len(common) > len(begun):
        return Completion(fast + common)
    return Completion(line, tuple(fitting))


def _common_start(first: str, last: str) -> str:
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]
