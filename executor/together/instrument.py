"""Finds the assertions of test code and puts questions in their place."""

from __future__ import annotations

import ast
import math
from collections.abc import Collection
from typing import Any

from rltf.executor.plaindata import TYPES
from rltf.executor.together.assertions import SURE_CALLS, Assertions, marker, shown_argument, text_of
from rltf.executor.together.constants import asserts, called
from rltf.executor.together.sites import SLOT, Site

_RAISES = {"assertRaises", "assertRaisesRegex", "raises"}
_SWALLOW = {"suppress", "assertWarns", "assertWarnsRegex", "assertLogs", "warns"}
_ANY_EXCEPTION = {"Exception", "BaseException", "AssertionError"}


class Instrument(ast.NodeTransformer):
    """One pass over the tests; `sites` are those found, `statements` where the assert statements stand."""

    def __init__(self, program_names: Collection[str], bound: Collection[str], called: Collection[str]) -> None:
        """What the tests have of the program, what they bind themselves, and functions that every run of them calls."""
        self.sites: list[Site] = []
        self.statements: dict[tuple[int, int, int], int] = {}
        self.text = 0
        """Number of the text that is being looked at."""
        self._assertions = Assertions(program_names, bound)
        self._called = called
        self._runs_until, self._conditional, self._protected = math.inf, 0, 0
        self._depends: tuple[int, ...] = ()
        self._own_methods: set[str] = set()

    # where a statement stands

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Notes which methods are the class's own."""
        before = self._own_methods
        self._own_methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
        self.generic_visit(node)
        self._own_methods = before
        return node

    def _function(self, node: Any) -> ast.AST:
        if any("expectedFailure" in ast.unparse(decorator) for decorator in node.decorator_list):
            return node
        before = self._runs_until, self._conditional, self._protected, self._depends
        self._runs_until = min(self._runs_until, _runs_until(node)) if node.name in self._called else 0
        self._conditional = self._protected = 0
        self._depends = ()
        self.generic_visit(node)
        self._runs_until, self._conditional, self._protected, self._depends = before
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def _branches(self, node: Any) -> ast.AST:
        self._conditional += 1
        self.generic_visit(node)
        self._conditional -= 1
        return node

    visit_If = visit_While = visit_Match = visit_For = visit_AsyncFor = _branches

    def visit_Try(self, node: ast.Try) -> ast.AST:
        """Asks whether a handler is reached, where the test fails unless it is."""
        caught = self._caught(node)
        self._protected += bool(node.handlers)
        node.body = self._block(node.body)
        self._protected -= bool(node.handlers)
        self._conditional += 1
        depends = self._depends
        if caught is not None:
            self._depends = (*depends, caught)
        for handler in node.handlers:
            handler.body = self._block(handler.body)
        self._depends = depends
        node.orelse = self._block(node.orelse)
        self._conditional -= 1
        node.finalbody = self._block(node.finalbody)
        if caught is None:
            return node
        name = f"__caught_{caught}__"
        node.handlers[0].body.insert(0, ast.Expr(ast.Call(ast.Name(name, ast.Load()), [], [])))
        node.handlers[0].type = marker(caught)
        return _with(f"__check__.caught({caught})", name, [node])

    def visit_TryStar(self, node: ast.TryStar) -> ast.AST:
        """Its handlers may come to nothing."""
        self._protected += 1
        node.body = self._block(node.body)
        self._protected -= 1
        self._conditional += 1
        for handler in node.handlers:
            handler.body = self._block(handler.body)
        node.orelse = self._block(node.orelse)
        self._conditional -= 1
        node.finalbody = self._block(node.finalbody)
        return node

    def _caught(self, node: ast.Try) -> int | None:
        """A site for "this exception came", where the test fails unless it does."""
        kind = node.handlers[0].type if node.handlers else None
        if kind is None or not any(map(_fails, [*node.body, *node.orelse])):
            return None
        source = ast.unparse(kind)
        if source in _ANY_EXCEPTION or not all(map(_only_looks, node.handlers[0].body)):
            return None
        return self._add(Site("caught", 0, source, shown=SLOT, expected=_exceptions(kind)), node)

    def _block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for statement in statements:
            made = self.visit(statement)
            found += made if isinstance(made, list) else [made]
        return found

    def visit_With(self, node: ast.With) -> ast.AST:
        """Asks whether a block raises what it has to."""
        swallows = False
        for item in node.items:
            call = item.context_expr
            if isinstance(call, ast.Call) and called(call) in _RAISES and call.args and _is_raises_context(call):
                item.context_expr = self._raises(call, node)
                swallows = True
            swallows = swallows or (isinstance(call, ast.Call) and called(call) in _SWALLOW)
        self._protected += 1
        self._conditional += swallows
        node.body = self._block(node.body)
        self._protected -= 1
        self._conditional -= swallows
        return node

    def _raises(self, call: ast.Call, node: ast.stmt) -> ast.expr:
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        pattern = call.args[1] if called(call) == "assertRaisesRegex" and len(call.args) > 1 else named.get("match")
        rest = f", {ast.unparse(pattern)}" if pattern is not None else ", None"
        kind = ast.unparse(call.args[0])
        expected = None if kind in _ANY_EXCEPTION else _exceptions(call.args[0])
        site = Site(
            "raises",
            0,
            f"{kind}{rest}, True",
            shown=f"{SLOT}, None, True" if expected else "",
            negated=f"{kind}{rest}, False",
            expected=expected,
        )
        number = self._add(site, node)
        return ast.Call(_attribute("raises"), [ast.Constant(number), marker(number)], [])

    # assertions

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Looks at what is compared outside of assertions as well."""
        return self._assertions.watch.visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST | list[ast.stmt]:
        """Asks what an assert statement asserts."""
        if isinstance(node.test, ast.Constant):
            return node  # what is reached only when something went wrong, or says nothing
        sites = self._assertions.of_test(node.test, message=text_of(node.msg))
        return [self._question(site, node) for site in sites]

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        """Asks what a call of an assertion asserts."""
        call = node.value
        if not isinstance(call, ast.Call) or not (asserts(call) or called(call) in _RAISES):
            return node
        name = called(call)
        of_case = (
            isinstance(call.func, ast.Attribute)
            and isinstance(call.func.value, ast.Name)
            and call.func.value.id == "self"
            and name not in self._own_methods
        )
        if name in _RAISES and len(call.args) > 1 and not _is_raises_context(call) and (of_case or name == "raises"):
            first = 2 if name == "assertRaisesRegex" else 1
            context = self._raises(ast.Call(call.func, call.args[:first], []), node)
            body = ast.Expr(ast.Call(call.args[first], call.args[first + 1 :], call.keywords))
            return [ast.copy_location(ast.With([ast.withitem(context)], [body]), node)]
        if of_case:
            sites = self._assertions.of_method(name, call)
            if sites is not None:
                return [self._question(site, node) for site in sites]
        return [self._holds(call, node)] if asserts(call) else node

    def _holds(self, call: ast.Call, node: ast.stmt) -> ast.stmt:
        """A call that raises AssertionError where what it asserts is not so."""
        source = self._assertions.watch.source(call)
        shown = shown_argument(call) if called(call) in SURE_CALLS else None
        site = Site("holds", 0, source, negated=f"(__c__.negate(), {source})")
        if shown is not None:
            site.shown, site.expected = shown
        number = self._add(site, node)
        return _with(
            f"__check__.holds{'_strict' if self._protected else ''}({number})", "__c__", [ast.Expr(marker(number))]
        )

    def _question(self, site: Site, node: ast.stmt) -> ast.stmt:
        number = self._add(site, node)
        method = "__check__.strict" if self._protected else "__check__"
        return _with(f"{method}({number})", "__c__", [ast.Expr(marker(number))])

    def _add(self, site: Site, node: ast.stmt) -> int:
        place = (self.text, node.lineno, node.col_offset)
        site.statement = self.statements.setdefault(place, len(self.statements))
        site.required = not self._conditional and node.lineno < self._runs_until
        site.depends = self._depends
        self.sites.append(site)
        return len(self.sites) - 1


def _exceptions(node: ast.expr) -> tuple[type, ...]:
    """The builtin exceptions that a handler names; empty where it names others."""
    kinds = node.elts if isinstance(node, ast.Tuple) else [node]
    found = tuple(TYPES[kind.id] for kind in kinds if isinstance(kind, ast.Name) and kind.id in TYPES)
    return found if len(found) == len(kinds) else ()


def _is_raises_context(call: ast.Call) -> bool:
    """Whether a call gives a context manager rather than calling something itself."""
    return len(call.args) == (2 if called(call) == "assertRaisesRegex" else 1)


def _fails(statement: ast.stmt) -> bool:
    """Whether a statement is there to fail the test when it is reached."""
    if isinstance(statement, ast.Assert):
        return isinstance(statement.test, ast.Constant) and not statement.test.value
    if isinstance(statement, ast.Raise):
        raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
        return isinstance(raised, ast.Name) and raised.id == "AssertionError"
    return (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and called(statement.value) == "fail"
    )


def _only_looks(statement: ast.stmt) -> bool:
    """Whether a statement of a handler leaves nothing behind that later ones could miss."""
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Call) or asserts(statement.value)
    return isinstance(statement, ast.Pass | ast.Assert | ast.Return | ast.Continue)


def _runs_until(node: Any) -> float:
    """The line up to which a function runs whenever it is called: what it raises before that fails the test anyway."""
    marks = "".join(map(ast.unparse, node.decorator_list))
    if "skip" in marks or "xfail" in marks:
        return 0
    leaving = [
        inner.lineno
        for inner in ast.walk(node)
        if isinstance(inner, ast.Return) or (isinstance(inner, ast.Attribute) and inner.attr in ("skipTest", "skip"))
    ]
    return min(leaving, default=math.inf)


def _attribute(name: str) -> ast.expr:
    return ast.Attribute(ast.Name("__check__", ast.Load()), name, ast.Load())


def _with(manager: str, name: str, body: list[ast.stmt]) -> ast.stmt:
    item = ast.withitem(ast.parse(manager, mode="eval").body, ast.Name(name, ast.Store()))
    return ast.fix_missing_locations(
        ast.copy_location(
            ast.With([item], body), body[0] if hasattr(body[0], "lineno") else ast.Pass(lineno=1, col_offset=0)
        )
    )
