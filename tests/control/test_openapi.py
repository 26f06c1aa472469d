"""The document of the API: it is valid, and says of every route what the table says."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

import peershare.control
from peershare.control.messages import PROBLEMS, StartDownload
from peershare.control.route import Access
from peershare.control.routes import ROUTES, document
from tests.control.http import ServiceTestCase

CONTROL = Path(peershare.control.__file__).parent


def references(value: Any) -> set[str]:
    """Every `$ref` and every target of a discriminator in a document."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if not isinstance(value, dict):
        return set()
    found = {value["$ref"]} if "$ref" in value else set()
    found |= set(value.get("discriminator", {}).get("mapping", {}).values())
    return found.union(*map(references, value.values()))


def raised(source: str) -> set[tuple[int, str]]:
    """The status and code of every `problem(…)` and `ProblemError(…, ApiError(…))` in a source."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        told = node.args[:2] if node.func.id in ("problem", "ProblemError") else []
        if len(told) < 2 or not isinstance(told[0], ast.Constant):
            continue
        code = told[1].args[0] if isinstance(told[1], ast.Call) else told[1]
        if isinstance(code, ast.Constant):
            found.add((told[0].value, code.value))
    return found


class DocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = msgspec.json.decode(bytes(document()))
        self.schemas = self.document["components"]["schemas"]

    def test_valid(self) -> None:
        """It is what the schema of OpenAPI 3.1 asks for."""
        try:
            from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
        except ImportError:
            self.skipTest("schemathesis, which brings the schema, is not installed")
        complaints = [str(error) for error in OPENAPI_31_VALIDATOR.iter_errors(self.document)]
        self.assertEqual(complaints, [])

    def test_every_route(self) -> None:
        """Every route of the table is in it, and nothing else."""
        described = {
            (method.upper(), path)
            for path, methods in self.document["paths"].items()
            for method in methods
        }
        self.assertEqual(described, {(route.method, route.path) for route in ROUTES})

    def test_statuses(self) -> None:
        """Each route's success and each of its problems is there under its status."""
        for route in ROUTES:
            responses = self.operation(route.method, route.path)["responses"]
            codes = (*route.common_problems, *route.problems)
            expected = {str(route.status), *(str(PROBLEMS[code][0]) for code in codes)}
            expected |= {"304"} if route.cached else set()
            self.assertEqual(set(responses), expected, route.path)
            for code in codes:
                self.assertIn(f"`{code}`", responses[str(PROBLEMS[code][0])]["description"])

    def test_bodies(self) -> None:
        """A body is required where the table names one, and its bounds are told."""
        for route in ROUTES:
            operation = self.operation(route.method, route.path)
            self.assertEqual("requestBody" in operation, route.takes_body, route.path)
        start = self.operation("POST", "/api/downloads")["requestBody"]["content"]
        name = StartDownload.__name__
        reference = {"schema": {"$ref": f"#/components/schemas/{name}"}}
        self.assertEqual(start, {"application/json": reference})
        self.assertFalse(self.schemas[name]["additionalProperties"])
        self.assertEqual(self.schemas[name]["required"], ["name"])

    def test_parameters(self) -> None:
        """Parameters of paths and addresses are told with their bounds and what they are for."""
        history = self.operation("GET", "/api/history")["parameters"]
        limit = next(parameter for parameter in history if parameter["name"] == "limit")
        self.assertEqual(limit["schema"]["maximum"], 10_000)
        pause = self.operation("POST", "/api/downloads/{id}/pause")["parameters"]
        self.assertEqual([(p["name"], p["in"]) for p in pause], [("id", "path")])
        for route in ROUTES:
            for parameter in self.operation(route.method, route.path)["parameters"]:
                self.assertTrue(parameter["description"], route.path)
                self.assertEqual(
                    parameter["in"] == "path", f"{{{parameter['name']}}}" in route.path
                )

    def test_whole_replies(self) -> None:
        """What is always sent is told as required, also where the Struct has a default for it."""
        status = self.schemas["NodeStatus"]
        self.assertEqual(set(status["required"]), set(status["properties"]))
        self.assertEqual(self.schemas["ApiError"]["required"], ["error", "message"])

    def test_pairs(self) -> None:
        """A tuple of equal items is told as an array of so many."""
        pair = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "number"}}
        self.assertEqual(self.schemas["NodeStatus"]["properties"]["rates"]["items"], pair)

    def test_security(self) -> None:
        """What needs no token says so, and nothing else does."""
        for route in ROUTES:
            security = self.operation(route.method, route.path)["security"]
            self.assertEqual(security == [], route.access is Access.OPEN, route.path)

    def test_references(self) -> None:
        """Every reference leads to a schema that is there, and every schema is referred to."""
        prefix = "#/components/schemas/"
        found = {reference.removeprefix(prefix) for reference in references(self.document)}
        self.assertEqual(found | {"Event"}, set(self.schemas))

    def test_identifiers(self) -> None:
        """Each operation has a name of its own that a program can have as well."""
        names = [self.operation(route.method, route.path)["operationId"] for route in ROUTES]
        self.assertEqual(len(set(names)), len(names))
        self.assertTrue(all(re.fullmatch(r"[a-zA-Z]+", name) for name in names), names)

    def operation(self, method: str, path: str) -> Any:
        return self.document["paths"][path][method.lower()]


class ProblemsTests(SynchronousTestCase):
    def test_all_are_told(self) -> None:
        """Every problem that the package can raise is in the table, under its status."""
        for source in sorted(CONTROL.rglob("*.py")):
            for status, code in raised(source.read_text()):
                self.assertIn(code, PROBLEMS, source.name)
                self.assertEqual(PROBLEMS[code][0], status, (source.name, code))

    def test_what_is_seen(self) -> None:
        """The check sees both ways to make a problem."""
        source = 'problem(400, "a", "x")\nProblemError(409, ApiError("b", y, choices=z))\nf(1, "c")'
        self.assertEqual(raised(source), {(400, "a"), (409, "b")})


class ServedTests(ServiceTestCase):
    async def test_served(self) -> None:
        """It is served like any other answer."""
        answer = await self.ask("GET", "/api/openapi.json")
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.json["openapi"], "3.1.0")
        self.assertEqual(answer.body, bytes(document()))
