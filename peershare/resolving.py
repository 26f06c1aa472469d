"""Which of the names that are told is the content that the user asks for.  Pure.

The classic world tells a file by its stem, by its whole name, or both; this is the one rule
that says what belongs together.  Not for: addresses' spellings, chunks, time.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Set

from msgspec import Struct

from peershare.content.names import display, folded, split_name
from peershare.errors import AmbiguousNameError

# Anyone can tell any number of names that fit; nobody reads more of them than this.
_MAX_CHOICES = 100


class Resolved(Struct, frozen=True):
    """The announced names that are the content; of two at one address the first one counts.

    `name` is what the content is called, as far as that is known; "" where nobody announces it.
    """

    bases: tuple[str, ...]
    extension: str
    name: str = ""


def normal(name: str) -> str:
    """The form in which names compare exactly: NFC, since macOS tells NFD."""
    return unicodedata.normalize("NFC", name)


def fitting(pattern: str) -> Callable[[str], bool]:
    """What tells of a `folded` name whether it fits a pattern, in which `*` is any text.

    Case is nothing.  It takes time in proportion to the name, whatever the pattern: each piece
    between two stars is looked for once, where it comes first.
    """
    beginning, *middle = folded(normal(pattern)).split("*")
    if not middle:
        return beginning.__eq__
    ending = middle.pop()
    pieces = tuple(filter(None, middle))

    def fits(name: str) -> bool:
        if not name.startswith(beginning) or not name.endswith(ending):
            return False
        at, end = len(beginning), len(name) - len(ending)
        for piece in pieces:
            at = name.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return at <= end

    return fits


def names_it(query: str, name: str) -> bool:
    """Whether a query names the file of this whole name, whatever the case or the normal form.

    A typed extension is part of the name: `report.docx` is never `report.pdf`, nor `report`; and
    `report.pdf` is not `report.pdf.exe`.  Without one, `report` may be any `report.EXT`.
    """
    wanted = folded(query)
    if folded(name) == wanted:
        return True
    return not split_name(query)[1] and folded(split_name(name)[0]) == wanted


def contents(query: str, told: Mapping[str, Set[str]]) -> tuple[Resolved, ...]:
    """Every content that a query may mean, among the names announced (as for `resolve`).

    With an extension, `forest.png` and the stem `forest` are one content, as the classic protocol
    makes no difference between them.  Without one, `forest` and each `forest.EXT` are several, and
    so are names that differ in case alone: their bytes can differ.  At most 100, by name.
    """
    query = normal(query)
    stem, extension = split_name(query)
    wanted = folded(query)
    if not extension:
        found = [_alone(name) for name in told if names_it(query, name)]
        return tuple(sorted(found, key=lambda each: each.name)[:_MAX_CHOICES])
    found = []
    longer: dict[str, list[str]] = {}
    for name in told:
        if folded(name) == wanted:
            longer.setdefault(split_name(name)[0], []).append(name)
    stems = {name for name in told if folded(name) == folded(stem)}
    for root in longer.keys() | stems:
        names = longer.get(root, [])
        if root not in stems or len(names) > 1:
            found += [_alone(name) for name in (*names, *({root} & stems))]
        elif names:
            found.append(Resolved((names[0], root), split_name(names[0])[1], names[0]))
        else:
            found.append(Resolved((root,), extension, root + extension))
    return tuple(sorted(found, key=lambda each: each.name)[:_MAX_CHOICES])


def _alone(name: str) -> Resolved:
    """One announced name as a content of its own."""
    return Resolved((name,), split_name(name)[1], name)


def resolve(query: str, told: Mapping[str, Set[str]]) -> Resolved:
    """Choose among the names told (each `normal`, with the addresses that tell it).

    With an extension, `forest.png` is the name itself, and where an address does not tell that,
    `forest`; never `forest.jpg`.  Without one, `forest` is the name itself and the one
    `forest.EXT` there is; where several are told, only the name itself; where one address
    tells both, they are two contents, and the name itself is meant.  If nothing fits, the same
    is tried without regard to case.  Raises `AmbiguousNameError` where several contents fit.
    """
    query = normal(query)
    found = _exactly(query, told)
    if found is None:
        spelling = _respelled(query, told)
        found = _exactly(spelling, told) if spelling else None
    return found or Resolved((), split_name(query)[1])


def _exactly(query: str, told: Mapping[str, Set[str]]) -> Resolved | None:
    stem, extension = split_name(query)
    if extension:
        names = tuple(name for name in (query, stem) if name in told)
        if names:
            return Resolved(names, extension)
    begin = query + "."
    longer = [n for n in told if n.startswith(begin) and split_name(n)[0] == query]
    if query in told:
        if len(longer) == 1 and told[query].isdisjoint(told[longer[0]]):
            return Resolved((query, longer[0]), split_name(longer[0])[1])
        return Resolved((query,), "")
    if not longer:
        return None
    return Resolved((_only(query, longer),), split_name(longer[0])[1])


def _respelled(query: str, told: Mapping[str, Set[str]]) -> str | None:
    """The query in the spelling of the one content that it fits without regard to case."""
    wanted = folded(query)
    fitting = {name for name in told if folded(name) == wanted}
    if not fitting:
        stems = (split_name(name) for name in told)
        fitting = {stem for stem, extension in stems if extension and folded(stem) == wanted}
    stem, extension = split_name(query)
    if not fitting and extension:
        wanted = folded(stem)
        fitting = {name + extension for name in told if folded(name) == wanted}
    return _only(query, fitting) if fitting else None


def _only(query: str, names: Set[str] | list[str]) -> str:
    choices = tuple(sorted(names)[:_MAX_CHOICES])
    if len(choices) > 1:
        shown = ", ".join(display(choice) for choice in choices[:10])
        raise AmbiguousNameError(f"{display(query)} fits several contents: {shown}", choices)
    return choices[0]
