"""What an assertion of a test asks of a program, and what it expects."""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from rltf.executor.plaindata import TYPES
from rltf.executor.together.constants import called
from rltf.executor.together.literals import NoLiteral, source_of, value_of
from rltf.executor.together.sites import SLOT, SYMBOLS, Comparison, Site

_EQUAL = (
    "assertEqual assertEquals assertListEqual assertTupleEqual assertDictEqual assertSetEqual assertMultiLineEqual"
).split()
_COMPARES: dict[str, tuple[type[ast.cmpop], bool]] = {
    **dict.fromkeys(_EQUAL, (ast.Eq, True)),
    "assertNotEqual": (ast.Eq, False),
    "assertIs": (ast.Is, True),
    "assertIsNot": (ast.Is, False),
    "assertIn": (ast.In, True),
    "assertNotIn": (ast.In, False),
    "assertGreater": (ast.Gt, True),
    "assertGreaterEqual": (ast.GtE, True),
    "assertLess": (ast.Lt, True),
    "assertLessEqual": (ast.LtE, True),
}
"""Methods of unittest that compare two values."""
SURE_CALLS = {
    "assert_array_equal",
    "assert_equal",
    "assert_allclose",
    "assert_almost_equal",
    "assert_array_almost_equal",
    "assertCountEqual",
    "assertSequenceEqual",
    "isclose",
    "allclose",
    "array_equal",
    "assert_called_with",
    "assert_called_once_with",
}
"""Functions that say whether two values are equal: another expected one turns what they say."""
_MAKERS = set("array Counter deque Fraction Decimal date datetime timedelta OrderedDict frozenset bytearray".split())
"""Makers of values that are equal when their arguments are."""


class Watch(ast.NodeTransformer):
    """Has a look at what the program gave, where tests compare it or hand it on: is it equal to everything?"""

    def __init__(self, program: Collection[str]) -> None:
        """`program`: names that have to do with the program."""
        self._program = program

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        """Looks at both sides."""
        self.generic_visit(node)
        if any(isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for operator in node.ops):
            node.left = self._seen(node.left)
            node.comparators = [self._seen(side) for side in node.comparators]
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Looks at both sides of a difference."""
        self.generic_visit(node)
        if isinstance(node.op, ast.Sub):
            node.left, node.right = self._seen(node.left), self._seen(node.right)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Looks at arguments, but not at the program's own."""
        self.generic_visit(node)
        if not _mentions(node.func, self._program):
            node.args = [self._seen(argument) for argument in node.args]
        return node

    def _seen(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Call | ast.Name | ast.Attribute | ast.Subscript) and _mentions(node, self._program):
            return ast.Call(ast.Attribute(ast.Name("__check__", ast.Load()), "seen", ast.Load()), [node], [])
        return node

    def source(self, node: ast.expr) -> str:
        """The expression's text with these looks in it."""
        return ast.unparse(self.visit(copy.deepcopy(node)))


class Assertions:
    """Makes sites of assertions."""

    def __init__(self, program: Collection[str], bound: Collection[str]) -> None:
        """`program`: names that have to do with the program, `bound`: those that the tests bind themselves."""
        self._program, self._bound = set(program), set(bound)
        self.watch = Watch(self._program)

    def of_method(self, name: str, call: ast.Call) -> list[Site] | None:
        """Those of a call of unittest's method of this name; None where it has to be made as it is."""
        arguments = call.args
        if any(isinstance(argument, ast.Starred) for argument in arguments):
            return None
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        message = text_of(named.get("msg"))
        if name in _COMPARES and len(arguments) >= 2:
            operator, wanted = _COMPARES[name]
            compare = ast.Compare(arguments[0], [operator()], [arguments[1]])
            return self.of_test(compare, wanted, message or text_of(arguments[2:3]))
        if name in ("assertTrue", "assertFalse") and arguments:
            return self.of_test(arguments[0], name == "assertTrue", message or text_of(arguments[1:2]))
        if name in ("assertIsNone", "assertIsNotNone") and arguments:
            compare = ast.Compare(arguments[0], [ast.Is()], [ast.Constant(None)])
            return self.of_test(compare, name == "assertIsNone", message)
        if name in ("assertIsInstance", "assertNotIsInstance") and len(arguments) >= 2:
            asked = ast.Call(ast.Name("isinstance", ast.Load()), list(arguments[:2]), [])
            return self.of_test(asked, name == "assertIsInstance", message)
        if name == "assertAlmostEqual" and len(arguments) >= 2:
            site = self._almost(call, named)
            return None if site is None else [replace(site, message=message)]
        return None

    def _almost(self, call: ast.Call, named: dict[str | None, ast.expr]) -> Site | None:
        """`assertAlmostEqual(value, literal, places or delta)`."""
        try:
            places = value_of(call.args[2] if len(call.args) > 2 else named.get("places", ast.Constant(None)))
            delta = value_of(named.get("delta", ast.Constant(None)))
            expected = value_of(call.args[1])
        except NoLiteral:
            return None
        if places is not None and type(places) is not int or isinstance(delta, str | list | tuple | dict):
            return None
        compare = (
            Comparison("close", absolute=delta)
            if delta is not None
            else Comparison("close", places=places if places is not None else 7)
        )
        given = ast.unparse(call.args[0])
        rest = f", delta={delta!r}" if delta is not None else f", places={compare.places}"
        truth = f"__check__.almost(({given}), {SLOT}{rest})"
        return _value_site(given, truth, compare, expected)

    def of_test(self, test: ast.expr, wanted: bool = True, message: str = "") -> list[Site]:
        """Those of an assertion that something is, or is not, so; what is joined by `and` has one each."""
        while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, wanted = test.operand, not wanted
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And if wanted else ast.Or):
            return [part for value in test.values for part in self.of_test(value, wanted, message)]
        site = None
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            site = self._compared(test, wanted)
        elif isinstance(test, ast.Call):
            site = self._called(test, wanted)
        return [replace(site or self._truth(test, wanted), message=message)]

    def _compared(self, test: ast.Compare, wanted: bool) -> Site | None:
        symbol = SYMBOLS[type(test.ops[0])]
        left, right = test.left, test.comparators[0]
        near = self._near(left, symbol, right, wanted) or self._approx(left, symbol, right, wanted)
        if near is not None:
            return near
        for given, expected, swapped in ((left, right, False), (right, left, True)):
            try:
                value = self._literal(expected)
            except (NoLiteral, RecursionError):
                continue
            if symbol in ("is", "is not") and not (value is None or isinstance(value, bool | type)):
                return None
            source = self.watch.source(given)
            shown = f"__check__.seen({source})"
            sides = (SLOT, shown) if swapped else (shown, SLOT)
            truth = f"{sides[0]} {symbol} {sides[1]}"
            return _value_site(
                source, truth if wanted else f"not ({truth})", Comparison(symbol, wanted, swapped), value
            )
        if symbol not in ("==", "!="):
            return None
        for given, expected in ((left, right), (right, left)):
            made = _maker(expected)
            if made is not None:
                truth, value = f"({ast.unparse(given)}) {symbol} {made[0]}", made[1]
                return _truth_site(truth, wanted, value, sure=wanted == (symbol == "=="))
        return self._pair(left, right, symbol, wanted)

    def _literal(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id in TYPES and node.id not in self._bound | self._program:
            return TYPES[node.id]
        return value_of(node)

    def _near(self, left: ast.expr, symbol: str, right: ast.expr, wanted: bool) -> Site | None:
        """`abs(value - literal) < literal`."""
        if symbol not in ("<", "<=") or not isinstance(left, ast.Call) or called(left) not in ("abs", "fabs"):
            return None
        difference = left.args[0] if len(left.args) == 1 else None
        if not isinstance(difference, ast.BinOp) or not isinstance(difference.op, ast.Sub):
            return None
        try:
            most = value_of(right)
        except NoLiteral:
            return None
        if not isinstance(most, int | float):
            return None
        for given, expected in ((difference.left, difference.right), (difference.right, difference.left)):
            try:
                value = value_of(expected)
            except NoLiteral:
                continue
            if not isinstance(value, int | float | complex):
                return None
            compare = Comparison("close", wanted, absolute=most, strict=symbol == "<")
            source = ast.unparse(given)
            truth = f"abs(__check__.seen({source}) - {SLOT}) {symbol} {most!r}"
            return _value_site(source, truth if wanted else f"not ({truth})", compare, value)
        return None

    def _approx(self, left: ast.expr, symbol: str, right: ast.expr, wanted: bool) -> Site | None:
        """`value == pytest.approx(literal)`."""
        if symbol != "==" or not isinstance(right, ast.Call) or called(right) != "approx" or not right.args:
            return None
        try:
            value = value_of(right.args[0])
            named = {keyword.arg: value_of(keyword.value) for keyword in right.keywords}
        except NoLiteral:
            return None
        absolute = named.get("abs")
        relative = named.get("rel", 1e-6 if absolute is None else 0.0)
        if not isinstance(relative, int | float) or not isinstance(absolute, int | float | None):
            return None
        compare = Comparison("close", wanted, relative=relative, absolute=1e-12 if absolute is None else absolute)
        shown = ast.unparse(ast.Call(right.func, [marker(-1), *right.args[1:]], right.keywords)).replace(
            marker_name(-1), SLOT
        )
        source = ast.unparse(left)
        truth = f"({source}) == {shown}"
        return _value_site(source, truth if wanted else f"not ({truth})", compare, value)

    def _pair(self, left: ast.expr, right: ast.expr, symbol: str, wanted: bool) -> Site:
        if _mentions(right, self._program) and not _mentions(left, self._program):
            left, right = right, left
        one, other = ast.unparse(left), ast.unparse(right)
        truth = f"({one}) {symbol} ({other})"
        opposite = f"not ({truth})"
        return Site(
            "pair",
            0,
            f"__c__.pair(({one}), ({other}))",
            shown=f"__c__.truth({'' if wanted else 'not '}(({one}) {symbol} __c__.given()))",
            negated=f"__c__.truth({opposite if wanted else truth})",
            compare=Comparison(symbol, wanted),
            computed=_mentions(left, self._program) and not _mentions(right, self._program),
            reads=tuple(part.id for part in ast.walk(right) if isinstance(part, ast.Name)),
        )

    def _called(self, test: ast.Call, wanted: bool) -> Site | None:
        name = called(test)
        if name == "isinstance" and len(test.args) == 2:
            try:
                kinds = test.args[1].elts if isinstance(test.args[1], ast.Tuple) else [test.args[1]]
                expected = tuple(self._literal(kind) for kind in kinds)
            except (NoLiteral, RecursionError):
                return None
            if all(isinstance(kind, type) for kind in expected):
                asked = f"__check__.kinds({ast.unparse(test.args[0])})"
                return Site(
                    "value", 0, f"__c__({asked})", compare=Comparison("kinds", wanted), expected=expected, rich=False
                )
        if name == "isclose" and len(test.args) == 2 and isinstance(test.func, ast.Attribute):
            site = self._isclose(test, wanted)
            if site is not None:
                return site
        if name in SURE_CALLS and len(test.args) >= 2:
            shown = shown_argument(test)
            if shown is not None:
                return _truth_site(shown[0], wanted, shown[1], sure=wanted)
        return None

    def _isclose(self, test: ast.Call, wanted: bool) -> Site | None:
        if not isinstance(test.func, ast.Attribute) or ast.unparse(test.func.value) != "math":
            return None
        try:
            value = value_of(test.args[1])
            named = {keyword.arg: value_of(keyword.value) for keyword in test.keywords}
        except NoLiteral:
            return None
        if not isinstance(value, int | float):
            return None
        compare = Comparison("close", wanted, relative=named.get("rel_tol", 1e-9), absolute=named.get("abs_tol", 0.0))
        shown = shown_argument(test, 1)
        assert shown is not None
        return _value_site(ast.unparse(test.args[0]), shown[0] if wanted else f"not {shown[0]}", compare, value)

    def _truth(self, test: ast.expr, wanted: bool) -> Site:
        """Of any other expression. What a call of the program returns is its own affair, the rest has to be proved."""
        site = _truth_site(self.watch.source(test), wanted)
        root: ast.expr = test.func if isinstance(test, ast.Call) else test
        while isinstance(root, ast.Attribute | ast.Call):
            root = root.func if isinstance(root, ast.Call) else root.value
        bare = isinstance(test, ast.Call) and isinstance(root, ast.Name) and root.id in self._program
        return replace(site, rich=not bare)


def _value_site(given: str, truth: str, compare: Comparison, expected: Any) -> Site:
    return Site(
        "value",
        0,
        f"__c__({given})",
        shown=f"__c__.truth({truth})",
        negated=f"__c__.truth(not ({truth.replace(SLOT, source_of(expected))}))",
        compare=compare,
        expected=expected,
        rich=False,
    )


def _truth_site(truth: str, wanted: bool, expected: Any = None, sure: bool = True) -> Site:
    """`truth` has SLOT for an expected value, if there is one; `sure`: another one makes the assertion fail."""
    said = truth if wanted else f"not ({truth})"
    opposite = f"not ({truth})" if wanted else truth
    known = SLOT in truth
    value = source_of(expected) if known else ""
    return Site(
        "truth",
        0,
        f"__c__.truth({said.replace(SLOT, value)})",
        shown=f"__c__.truth({said})" if known and sure else "",
        negated=f"__c__.truth({opposite.replace(SLOT, value)})",
        expected=expected,
    )


def _maker(node: ast.expr) -> tuple[str, Any] | None:
    """Source with SLOT and value of the literal argument of a call that makes a value."""
    if not isinstance(node, ast.Call) or called(node) not in _MAKERS or not node.args:
        return None
    typed = called(node) == "array" and isinstance(node.args[0], ast.Constant)  # arrays of other types may be equal
    return shown_argument(node, 1 if typed else 0)


def shown_argument(call: ast.Call, place: int | None = None) -> tuple[str, Any] | None:
    """Source of a call with SLOT in the place of a literal argument, and the argument's value."""
    places = [1, 0] if place is None else [place]
    for number in places:
        argument = call.args[number] if number < len(call.args) else None
        if argument is None:
            continue
        inner = _maker(argument) if place is None and isinstance(argument, ast.Call) else None
        try:
            value = inner[1] if inner is not None else value_of(argument)
        except (NoLiteral, RecursionError):
            continue
        arguments = [*call.args[:number], marker(-1), *call.args[number + 1 :]]
        source = ast.unparse(ast.Call(call.func, arguments, call.keywords))
        return source.replace(marker_name(-1), inner[0] if inner is not None else SLOT), value
    return None


def _mentions(node: ast.expr, names: Collection[str]) -> bool:
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))


def text_of(node: ast.expr | list[ast.expr] | None) -> str:
    """A test's message, where it is a constant."""
    if isinstance(node, list):
        node = node[0] if node else None
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def marker_name(number: int) -> str:
    """The name that stands in the tests' text for what a site asks."""
    return f"__SITE_{number}__" if number >= 0 else "__SITE__"


def marker(number: int) -> ast.expr:
    """The same as an expression."""
    return ast.Name(marker_name(number), ast.Load())
