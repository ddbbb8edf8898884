"""Test code made ready to run beside a program: its assertions found, its text rewritten for each kind of run."""

from __future__ import annotations

import ast
import builtins
import copy
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from rltf.executor.plaindata import encode
from rltf.executor.test_names import bound_names, names_of
from rltf.executor.together.constants import written_out
from rltf.executor.together.dead_code import without
from rltf.executor.together.instrument import Instrument
from rltf.executor.together.literals import NoLiteral, altered
from rltf.executor.together.sites import Site
from rltf.problems.long_integers import with_long_integers
from rltf.problems.problem import TestSuite

Form = Literal["plain", "true", "altered"]
Values = Mapping[int, Sequence[Any]]
_MARKER = re.compile(r"__SITE_(\d+)__")
_KNOWN_PACKAGES = {"numpy", "pytest"}


@dataclass(frozen=True, slots=True)
class Text:
    """The tests' source, with markers in place of questions."""

    setup: str
    """Code before the tests."""
    units: tuple[list[str], ...]
    """Per test ["code", text] or ["case", class, method]."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The tests of a suite, for a process that has both them and the program."""

    text: Text
    lean: Text
    """The same without what computes expected values; they are given."""
    sites: tuple[Site, ...]
    statements: int
    """Number of assert statements."""
    names: tuple[str, ...]
    """What the tests take of the program."""
    entry: str | None
    """The one of them that it must have."""
    modules: tuple[str, ...]
    """Standard modules that the tests use unimported."""
    aliases: tuple[str, ...]
    """Names under which the tests import the program."""
    site: str
    prelude: str
    """See `TestSuite`."""
    afresh: bool
    """Whether each test has a new module of the program and of the setup."""
    by_statement: bool
    """Whether an assert statement counts as a test."""

    @property
    def rich_sites(self) -> list[int]:
        """Assertions whose truth would have to be taken on the program's word."""
        return [number for number, site in enumerate(self.sites) if site.rich]

    @property
    def required_sites(self) -> list[int]:
        """Assertions that no run goes by without."""
        return [number for number, site in enumerate(self.sites) if site.required]

    @property
    def expected_bytes(self) -> int:
        """Size of the values that are expected."""
        return sum(len(json.dumps(encode(site.expected))) for site in self.sites if site.kind == "value")

    def job(
        self, program: str, indices: Sequence[int], forms: Mapping[int, Form], random: Random, values: Values
    ) -> Any:
        """The process's job, with each assertion in the form given for its number, else the plain one.

        `values`: of assertions that compute what they expect, what that is each time.
        """
        given: dict[int, list[Any]] = {}
        texts = {number: site.plain for number, site in enumerate(self.sites)}
        for number, form in forms.items():
            site = self.sites[number]
            if number in values:
                listed = [_altered(value, random) if form == "altered" else value for value in values[number]]
                given[number] = [encode(value) for value in listed]
                texts[number] = site.shown
            else:
                texts[number] = site.text(form, random)
        computed = {number for number, site in enumerate(self.sites) if site.computed}
        chosen = self.lean if computed and computed <= given.keys() else self.text

        def fill(source: str) -> str:
            return _MARKER.sub(lambda found: texts[int(found[1])], source)

        return {
            "program": program.removeprefix("\ufeff"),
            "mode": "together",
            "setup": fill(chosen.setup),
            "units": [[unit[0], fill(unit[1]), *unit[2:]] for unit in (chosen.units[index] for index in indices)],
            "afresh": self.afresh,
            "names": self.names,
            "entry": self.entry,
            "site": self.site,
            "prelude": self.prelude,
            "aliases": self.aliases,
            "modules": self.modules,
            "given": given,
        }


def _altered(value: Any, random: Random) -> Any:
    try:
        return altered(value, random, 1.0)
    except NoLiteral:
        return random.randint(1, 9)


def make_plan(suite: TestSuite) -> Plan:
    """Raises ValueError for test code that does not compile, or cannot be written down again."""
    sources = [suite.setup, *suite.asserts]
    try:
        trees = [with_long_integers(ast.parse, source) for source in sources]
        entry = suite.fn_name
        names, modules = names_of(sources, trees, entry)
        aliases = _imported(trees)
        tainted = _tainted(trees, {*names, *_taken(trees, aliases)})
        written_out(trees)
        instrument = Instrument(tainted, bound_names(trees), _called(trees[1:]))
        cases = [_case(tree) for tree in trees[1:]]
        for number, tree in enumerate(trees):
            instrument.text = number
            if number == 0 or cases[number - 1] is None:
                instrument.visit(tree)
        text = _text(trees, cases)
        lean = _lean(trees, cases, instrument, tainted) if any(site.computed for site in instrument.sites) else text
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"test code does not compile: {error}") from None
    of_module = any(case is not None for case in cases) or _is_module_of_tests(suite, trees[0])
    return Plan(
        text=text,
        lean=lean,
        sites=tuple(instrument.sites),
        statements=len(instrument.statements),
        names=names,
        entry=entry if entry in names else None,
        modules=modules,
        aliases=aliases,
        site=suite.site,
        prelude=suite.prelude,
        afresh=not of_module,
        by_statement=len(cases) == 1 and not of_module,
    )


def _text(trees: list[ast.Module], cases: list[tuple[str, str] | None]) -> Text:
    texts = [ast.unparse(ast.fix_missing_locations(tree)) for tree in trees]
    units = [["code", text] if case is None else ["case", *case] for case, text in zip(cases, texts[1:], strict=True)]
    return Text(texts[0], tuple(units))


def _lean(
    trees: list[ast.Module], cases: list[tuple[str, str] | None], instrument: Instrument, tainted: set[str]
) -> Text:
    texts = {number: site.shown if site.computed else site.plain for number, site in enumerate(instrument.sites)}
    expected = {name for site in instrument.sites if site.computed for name in site.reads}
    kinds = {"raises", "caught"}  # of which the marker is not a whole expression
    texts = {number: text for number, text in texts.items() if instrument.sites[number].kind not in kinds}
    trees = copy.deepcopy(trees)
    without(trees, texts, expected, tainted)
    return _text(trees, cases)


def _called(units: list[ast.Module]) -> set[str]:
    """Names of functions and methods that the tests themselves are calls of."""
    nodes = [node for tree in units for node in ast.walk(tree)]
    found = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    found |= {node.id for node in nodes if isinstance(node, ast.Name)}
    return found | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _case(tree: ast.Module) -> tuple[str, str] | None:
    """Class and method of a test that reads `Class("method").debug()`."""
    call = tree.body[0].value if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "debug":
        return None
    made = call.func.value
    if isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and len(made.args) == 1:
        argument = made.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return made.func.id, argument.value
    return None


def _is_module_of_tests(suite: TestSuite, setup: ast.Module) -> bool:
    """Whether the tests are functions of one module, which is loaded once."""
    defined = {node.name for node in setup.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return all(re.match(r"[Tt]est\w*\(\)", text) and text.partition("(")[0] in defined for text in suite.asserts)


def _imported(trees: list[ast.Module]) -> tuple[str, ...]:
    """Modules that only the program can be: the tests import them, and nobody has them."""
    found: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    unknown = {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}
    return tuple(sorted(name for name in unknown if name.partition(".")[0] not in _KNOWN_PACKAGES and "." not in name))


def _taken(trees: list[ast.Module], aliases: Sequence[str]) -> set[str]:
    """Names under which the tests import what is the program's."""
    found: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and node.module in aliases:
            found.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.asname or alias.name for alias in node.names if alias.name in aliases)
    return found


def _tainted(trees: list[ast.Module], names: set[str]) -> set[str]:
    """The names, and those of the tests' that get their values from them; the parameter of `check` is one."""
    tainted = set(names)
    nodes = [node for tree in trees for node in ast.walk(tree)]
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and node.name == "check" and node.args.args:
            tainted.add(node.args.args[0].arg)
        elif isinstance(node, ast.FunctionDef) and any("fixture" in ast.unparse(one) for one in node.decorator_list):
            tainted.add(node.name)
    while True:
        before = len(tainted)
        for node in nodes:
            for source, target in _flows(node):
                if _uses(source, tainted):
                    tainted.update(_bases(target))
        if len(tainted) == before:
            return tainted


def _flows(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """From where a statement brings values to where."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield node.value, target
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
        yield node.value, node.target
    elif isinstance(node, ast.For | ast.comprehension):
        yield node.iter, node.target
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield node.context_expr, node.optional_vars
    elif isinstance(node, ast.Call):
        for argument in node.args:
            if isinstance(argument, ast.Name):
                yield node.func, argument  # which it may change


def _bases(target: ast.expr) -> Iterator[str]:
    """Variables that get a new value, or a changed one."""
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _bases(part)
    while isinstance(target, ast.Attribute | ast.Subscript | ast.Starred):
        target = target.value
    if isinstance(target, ast.Name) and target.id != "self" and not hasattr(builtins, target.id):
        yield target.id


def _uses(node: ast.expr, names: set[str]) -> bool:
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))
