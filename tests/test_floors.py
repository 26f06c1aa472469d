"""The floors of the house: who may import whom, and what no module may do.

The rules are checked on the syntax of the sources, and the rules themselves on small sources
that break them.  A new module has to be given a floor here before the suite passes.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "peershare"
PLUGIN = ROOT / "twisted" / "plugins" / "peershare_plugin.py"

# Which block from whom.
SCHEDULING = tuple(
    f"download.swarm.{name}"
    for name in (
        *("scheduler", "order", "machine", "rarity", "windows", "giver", "givers", "flights"),
        "budget",
    )
)
# Lowest first.  A name stands for the module and, if it is a package, for all in it, unless a
# longer name says otherwise.
FLOORS = (
    (
        *("errors", "status", "settings", "options", "content", "throttle", "links", "pace"),
        *("admission", "timers", "metering"),
    ),
    ("wire",),
    (
        *("dictionary", "pairs", "resolving", "identity", "library", "ledger", "state"),
        *("neighbours", "holdings", "stock", "shelves", "serving.steering"),
        *("download.plan", "download.rounds", "download.machine", *SCHEDULING),
    ),
    (
        *("announcer", "discovery", "beacons", "hearing", "catalogues", "neighbourhood"),
        *("uploader", "serving", "sending", "udp", "refusals", "download", "guest"),
    ),
    ("node", "wiring", "listening", "overview", "listing", "news", "offering", "hello"),
    ("control",),
    ("tap", "client", "doctor", "__main__"),
)
# These do no input or output and know no reactor: bytes and values in, values out.
PURE = (
    *("content", "wire", "dictionary", "pairs", "resolving", "throttle", "pace", "admission"),
    *("errors", "status", "settings", "options", "links", "download.plan", "download.rounds"),
    *("download.machine", "neighbours", "holdings", "stock", "shelves", "serving.steering"),
    *("doctor.judging", "doctor.allowing", "doctor.checks", "doctor.evidence", "doctor.rulesets"),
    *SCHEDULING,
    *("guest.request", "guest.ranges", "guest.naming", "guest.multipart", "guest.qr"),
)
# Where the wall clock is handed out; durations are measured with the reactor's.
WALL_CLOCK = ("node", "tap", "client", "doctor.command")
MAX_FUNCTION_LINES = 50


def within(name: str, names: tuple[str, ...]) -> bool:
    """Whether a module is one of these, or in one of these packages."""
    return any(name == other or name.startswith(f"{other}.") for other in names)


def floor_of(name: str) -> int | None:
    """The floor of a module named from `peershare.` on; the longest name that fits decides."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        for floor, names in enumerate(FLOORS):
            if ".".join(parts[:length]) in names:
                return floor
    return None


def imported(tree: ast.AST, package: str) -> Iterator[tuple[str, int]]:
    """Every module (or name in a module) that is imported anywhere, and the line it is on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from at_import(child)


def modules_of_ours(target: str) -> Iterator[str]:
    """The modules that importing this touches, as `floor_of` names them."""
    path = target.removeprefix("peershare.")
    if target == path:
        return
    place = PACKAGE.joinpath(*path.split("."))
    if place.is_dir() or place.with_suffix(".py").is_file():
        yield path
    elif "." in path:
        yield path.rpartition(".")[0]


def complaints(source: str, name: str, package: bool = False) -> list[str]:
    """What is wrong with the source of the module `peershare.NAME`; empty if nothing is."""
    tree = ast.parse(source)
    found: list[str] = []
    if not ast.get_docstring(tree):
        found.append("has no docstring")
    own = f"peershare.{name}" if package else f"peershare.{name}".rpartition(".")[0]
    found += _wrong_imports(tree, name, own)
    found += _wrong_names(tree, name)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                found.append(f"has a function of {length} lines: {node.name}")
    return found


def _wrong_imports(tree: ast.AST, name: str, package: str) -> Iterator[str]:
    floor = floor_of(name)
    if floor is None:
        yield "is on no floor: give it one in tests/test_floors.py"
        return
    for target, line in imported(tree, package):
        for other in modules_of_ours(target):
            other_floor = floor_of(other)
            if other_floor is not None and other_floor > floor:
                yield f"line {line}: imports {other}, which lives above it"
        if f"{target}.".startswith("twisted.internet.") and within(name, PURE):
            yield f"line {line}: imports {target}, and is to be pure"
        if target in {"twisted.internet.*", "time.*"}:
            yield f"line {line}: imports names that cannot be seen"
        if target == "time.time" and not within(name, WALL_CLOCK):
            yield f"line {line}: takes the wall clock, which is not for durations"
    at_start = ast.Module([n for n in at_import(tree) if isinstance(n, ast.stmt)], [])
    for target, line in imported(at_start, package):
        if f"{target}.".startswith("twisted.internet.reactor."):
            yield f"line {line}: imports the global reactor at module level"
            break


def _wrong_names(tree: ast.AST, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(
            node.value, ast.Name | ast.Attribute
        ):
            continue
        spelled = ast.unparse(node)
        if spelled == "time.time" and not within(name, WALL_CLOCK):
            yield f"line {node.lineno}: takes the wall clock, which is not for durations"
        if spelled == "twisted.internet.reactor":
            yield f"line {node.lineno}: takes the global reactor"


def sources() -> Iterator[tuple[str, Path]]:
    """Every module below `peershare`, by its name from there on; the package itself is none."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            yield name, path


class HouseTests(SynchronousTestCase):
    def test_every_module(self) -> None:
        """No module of the package breaks a rule."""
        found = [
            f"peershare.{name} {complaint}"
            for name, path in sources()
            for complaint in complaints(path.read_text(), name, path.name == "__init__.py")
        ]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_there_are_modules(self) -> None:
        """The check looks at the modules that there are."""
        names = {name for name, _ in sources()}
        self.assertTrue({"errors", "content.names", "wire", "tap"} <= names)

    def test_top(self) -> None:
        """The package itself imports nothing of its own, so that anybody may ask its version."""
        source = (PACKAGE / "__init__.py").read_text()
        ours = [target for target, _ in imported(ast.parse(source), "peershare")]
        self.assertEqual([target for target in ours if target.startswith("peershare")], [])

    def test_plugin(self) -> None:
        """The plugin file names a ServiceMaker and imports nothing else: all of twistd reads it."""
        tree = ast.parse(PLUGIN.read_text())
        targets = [target for target, _ in imported(tree, "twisted.plugins")]
        self.assertEqual(targets, ["twisted.application.service.ServiceMaker"])
        self.assertFalse((PLUGIN.parent / "__init__.py").exists())
        self.assertFalse((PLUGIN.parent.parent / "__init__.py").exists())

    def test_nothing_installs_a_reactor(self) -> None:
        """Every module can be imported without choosing a reactor, its dependencies included."""
        names = [f"peershare.{name}" for name, _ in sources()]
        script = (
            "import importlib, sys\n"
            "for name in sys.argv[1:]:\n"
            "    importlib.import_module(name)\n"
            "    assert 'twisted.internet.reactor' not in sys.modules, name\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, *names],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_floors_name_modules(self) -> None:
        """No floor, and no exception to a rule, is left over from a module that is gone."""
        names = {name for name, _ in sources()}
        listed = {name for floor in FLOORS for name in floor} | {*PURE, *WALL_CLOCK}
        self.assertEqual(listed - names, set())


class ComplaintsTests(SynchronousTestCase):
    """The rules notice what they are there for."""

    def complain(self, body: str, name: str = "content.names") -> str:
        return "\n".join(complaints(f'"""Doc."""\n{body}\n', name))

    def test_fine(self) -> None:
        """A source that keeps all the rules is not complained about."""
        body = "import time\nfrom peershare.errors import Reason\nnow = time.monotonic()"
        self.assertEqual(self.complain(body), "")

    def test_upward_import(self) -> None:
        """Each way to import from a higher floor is noticed, inside a function too."""
        for body in (
            "from peershare.wire.request import encode_request",
            "import peershare.wire.request",
            "import peershare.wire",
            "from peershare import wire",
            "from peershare.wire import request as r",
            "from ..wire import request",
            "from ..wire.request import encode_request",
            "from .. import wire",
            "def f():\n    from peershare.wire import request",
            "if TYPE_CHECKING:\n    from peershare.wire import request",
        ):
            self.assertIn("lives above it", self.complain(body), body)

    def test_allowed_imports(self) -> None:
        """The same floor and lower ones may be imported."""
        for body in (
            "from peershare.content.chunks import chunk_size",
            "from .chunks import chunk_size",
            "from . import chunks",
            "from peershare import errors, __version__",
        ):
            self.assertEqual(self.complain(body), "", body)
        self.assertEqual(self.complain("from peershare.wire import request", "uploader"), "")

    def test_longest_name(self) -> None:
        """A part of a package can live lower than the rest of it."""
        body = "from peershare.download.plan import ChunkPlan"
        self.assertEqual(self.complain(body, "library.files"), "")
        body = "from peershare.download.session import ChunkSession"
        self.assertIn("lives above it", self.complain(body, "library.files"))
        self.assertIn("lives above it", self.complain(body, "download.plan"))

    def test_package(self) -> None:
        """In the `__init__` of a package a single dot is the package itself."""
        source = '"""Doc."""\nfrom .request import encode_request\n'
        self.assertEqual(complaints(source, "wire", package=True), [])
        source = '"""Doc."""\nfrom ..node import Node\n'
        self.assertIn("lives above it", complaints(source, "wire", package=True)[0])

    def test_no_floor(self) -> None:
        """A module that nobody gave a floor is noticed."""
        self.assertIn("on no floor", self.complain("", "cellar"))

    def test_pure(self) -> None:
        """A pure room that knows a reactor, or anything of its package, is noticed."""
        for body in (
            "from twisted.internet.defer import Deferred",
            "from twisted.internet import defer",
            "import twisted.internet.task",
            "import twisted.internet",
        ):
            self.assertIn("is to be pure", self.complain(body), body)
            self.assertEqual(self.complain(body, "uploader"), "")
        self.assertEqual(self.complain("from twisted.logger import Logger"), "")

    def test_global_reactor(self) -> None:
        """The reactor is imported where it is used, or not at all."""
        for body in (
            "from twisted.internet import reactor",
            "import twisted.internet.reactor",
            "from twisted.internet import defer, reactor as r",
            "if True:\n    from twisted.internet import reactor",
            "try:\n    pass\nfinally:\n    from twisted.internet import reactor",
            "class A:\n    from twisted.internet import reactor",
        ):
            self.assertIn("global reactor", self.complain(body, "tap"), body)
        body = "def f():\n    from twisted.internet import reactor\n    return reactor"
        self.assertEqual(self.complain(body, "tap"), "")
        body = "import twisted.internet\ntwisted.internet.reactor.callLater(1, f)"
        self.assertIn("global reactor", self.complain(body, "tap"))
        self.assertIn("cannot be seen", self.complain("from twisted.internet import *", "tap"))

    def test_wall_clock(self) -> None:
        """The wall clock is taken where it is handed out and nowhere else."""
        for body in (
            "import time\nstart = time.time()",
            "import time\nclock = time.time",
            "from time import time",
            "from time import time as now",
            "def f():\n    import time\n    return time.time()",
        ):
            self.assertIn("wall clock", self.complain(body, "uploader"), body)
            self.assertEqual(self.complain(body, "tap"), "")
        self.assertIn("cannot be seen", self.complain("from time import *", "uploader"))

    def test_docstring(self) -> None:
        """A module without a docstring is noticed."""
        self.assertEqual(complaints("x = 1\n", "errors"), ["has no docstring"])

    def test_sizes(self) -> None:
        """Functions over 50 lines, wherever they are, are noticed; a module has no cap."""
        self.assertEqual(complaints('"""Doc."""\n' + "x = 1\n" * 900, "errors"), [])
        for start in ("def f():\n", "class A:\n async def f():\n", "def g():\n  def f():\n"):
            body = start + "    x = 1\n" * (MAX_FUNCTION_LINES - start.count("def f"))
            self.assertNotIn(": f", self.complain(body))
            self.assertIn("function of 51 lines: f", self.complain(body + "    x = 1\n"))
