"""Test code made ready to run beside a program: what becomes of each kind of assertion."""

from __future__ import annotations

import ast
import random
from typing import Any

import pytest

from rltf.executor.suites import make_ready
from rltf.executor.together.literals import NoLiteral, altered, source_of, value_of
from rltf.executor.together.plan import Plan
from rltf.executor.together.reading import Malformed, read
from rltf.executor.together.sites import Comparison
from rltf.problems.problem import TestSuite
from rltf.problems.test_code import units_of, without_last


def plan_of(*asserts: str, setup: str = "", entry: str | None = None) -> Plan:
    plan = make_ready(TestSuite("assert", entry, (), (), asserts, setup, way="together")).plan
    assert plan is not None
    return plan


def value(text: str) -> Any:
    return value_of(ast.parse(text, mode="eval").body)


VALUES = [0, 7, -3, 10**30, 0.0, 2.5, float("inf"), True, "", "ab1", "?", b"", b"ab", (1, "a"), [], [[1], None], {1, 2}]
VALUES += [set(), {"a": 1}, {}, 1 + 2j, frozenset({3}), [None], ("x",), [True, False]]


@pytest.mark.parametrize("expected", VALUES, ids=repr)
def test_an_altered_value_is_another_of_its_type(expected: Any) -> None:
    for seed in range(30):
        other = altered(expected, random.Random(seed))
        assert type(other) is type(expected) and other != expected
        assert value(source_of(other)) == other


def test_an_altered_number_is_out_of_tolerance() -> None:
    assert all(abs(altered(1.5, random.Random(seed), 3.0) - 1.5) > 3 for seed in range(50))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("-1", -1), ("set()", set()), ("float('inf')", float("inf")), ("2 * 3 + 1", 7), ("{'a': (1,)}", {"a": (1,)})],
)
def test_literals(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize("text", ["x", "f(1)", "[x]", "10 ** 10 ** 10", "'a' * 10", "{**x}", "{[]}", "1 / 0"])
def test_no_literals(text: str) -> None:
    with pytest.raises(NoLiteral):
        value(text)


@pytest.mark.parametrize(
    ("test", "plain", "expected"),
    [
        ("assert f([1]) == [2]", "__c__(f([1]))", [2]),
        ("assert [2] == f([1])", "__c__(f([1]))", [2]),
        ("assert f(1) is None", "__c__(f(1))", None),
        ("assert abs(f(1) - 0.5) < 1e-6", "__c__(f(1))", 0.5),
        ("import math\nassert math.isclose(f(1), 0.5)", "__c__(f(1))", 0.5),
        ("assert isinstance(f(1), (int, str))", "__c__(__check__.kinds(f(1)))", (int, str)),
        ("assert type(f(1)) is dict", "__c__(type(__check__.seen(f(1))))", dict),
        ("expected = {'a': 1}\nassert f(1) == expected", "__c__(f(1))", {"a": 1}),
        ("for given, wanted in [(1, 2)]:\n    assert f(given) == wanted", "__c__(f(given))", 2),
        ("for wanted in (5,):\n    assert f(1) == wanted", "__c__(f(1))", 5),
        ("for key, wanted in {'a': 3}.items():\n    assert f(key) == wanted", "__c__(f(key))", 3),
    ],
)
def test_what_a_test_compares_with_stays_outside(test: str, plain: str, expected: Any) -> None:
    plan = plan_of(test)
    (site,) = plan.sites
    assert (site.plain, site.expected, site.rich) == (plain, expected, False)
    shown = str(plan.job("", [0], {}, random.Random(0), {}))
    assert repr(expected) not in shown.replace("(given)", "") or expected is None


def test_every_row_of_a_table_is_its_own_question_of_one_statement() -> None:
    plan = plan_of(
        "check(f)", setup="CASES = [(1, 2), (2, 3)]\ndef check(c):\n    for a, b in CASES:\n        assert c(a) == b\n"
    )
    assert [site.expected for site in plan.sites] == [2, 3]
    assert plan.statements == 1 and all(site.required for site in plan.sites)


@pytest.mark.parametrize(
    ("test", "text"),
    [
        ("assert f(1) is x", "__c__.truth(not (f(1) is x))"),
        ("assert not f(1) > f(2)", "__c__.truth(f(1) > f(2))"),
        ("assert f(1) == f(2)", "__c__.truth(not ((f(1)) == (f(2))))"),
    ],
)
def test_where_nothing_is_expected_by_value_the_truth_is_negated(test: str, text: str) -> None:
    (site,) = plan_of(test, setup="x = 1").sites
    assert site.rich and site.text("altered", random.Random(0)) == text


def test_exceptions_that_have_to_come() -> None:
    setup = "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n"
    setup += (
        "        with self.assertRaises(ValueError):\n            f(1)\n        self.assertRaises(KeyError, f, 2)\n"
    )
    plan = plan_of('T("test_a").debug()', setup=setup)
    assert [site.kind for site in plan.sites] == ["raises", "raises"]
    assert plan.text.units == (["case", "T", "test_a"],) and not plan.afresh
    for seed in range(20):
        name = plan.sites[0].text("altered", random.Random(seed)).partition(",")[0]
        assert not issubclass(getattr(__import__("builtins"), name), ValueError)


def test_computed_expectations_can_be_given() -> None:
    setup = (
        "def check(c):\n    total = 0\n    for n in range(9):\n        total += n\n    assert c(range(9)) == total\n"
    )
    plan = plan_of("check(f)", setup=setup)
    (site,) = plan.sites
    assert site.computed and "total" in plan.text.setup and "total" not in plan.lean.setup
    job = plan.job("", [0], {0: "altered"}, random.Random(0), {0: [36]})
    assert "given()" in job["setup"] and job["given"][0] != [36] and "total" not in job["setup"]


def test_a_loop_variable_that_is_used_again_stays() -> None:
    setup = "def check(c):\n    n = 3\n    total = n + 1\n    assert c(n) == total\n    assert c([n]) == 1\n"
    assert "n = 3" in plan_of("check(f)", setup=setup).lean.setup


@pytest.mark.parametrize(
    ("asserts", "setup", "way"),
    [
        (("assert f(1) == 2",), "", "call"),
        (("assert sorted(f([2, 1])) == [1, 2]",), "", "split"),
        (("check(f)",), "def check(c):\n    assert c([1]) == 2\n", "split"),
        (("check(f)",), "def check(f):\n    assert f([1]) == 2\n", "split"),
        (("check(Solution().f)",), "def check(c):\n    assert c(x=[1]) == 2\n", "split"),
        (("assert f(lambda: 1) == 2",), "", "together"),
        (("assert f(range(3)) == 2",), "", "together"),
        (("xs = [1]\nf(xs)\nassert xs == [2]",), "", "together"),
        (("assert V(1) == V(1)",), "", "together"),
        (("assert V(1) == 1",), "", "together"),
        (("assert f(1).x == 1",), "", "together"),
        (("assert isinstance(f(1), int)",), "", "together"),
        (("try:\n    f(1)\n    assert False\nexcept E:\n    pass",), "", "together"),
        (("import io, sys\nsys.stdout = io.StringIO()\nf(1)\nassert sys.stdout.getvalue() == 'a'",), "", "together"),
    ],
)
def test_the_way_that_tests_take(asserts: tuple[str, ...], setup: str, way: str) -> None:
    assert make_ready(TestSuite("assert", "f", (), (), asserts, setup)).mode == way


def test_the_data_set_may_name_the_way() -> None:
    suite = TestSuite("assert", None, (), (), ("assert f(lambda: 1) == 2",), way="split")
    assert make_ready(suite).mode == "split" and TestSuite.from_json(suite.to_json()) == suite
    with pytest.raises(ValueError, match="unknown way"):
        TestSuite("assert", None, (), (), ("assert f(1)",), way="apart")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("compare", "given", "expected", "holds"),
    [
        (Comparison("=="), [1, True], [1, 1], True),
        (Comparison("=="), (1,), [1], False),
        (Comparison("is"), True, 1, False),
        (Comparison("in"), 1, (1, 2), True),
        (Comparison("in", swapped=True), [1, 2], 2, True),
        (Comparison("<", wanted=False), 3, 2, True),
        (Comparison("close", absolute=0.1, strict=True), 1.1, 1.0, False),
        (Comparison("close", places=2), 1.004, 1.0, True),
        (Comparison("close", relative=1e-6, absolute=1e-12), [0.1 + 0.2], [0.3], True),
        (Comparison("kinds"), ["bool", "int", "object"], (int,), True),
        (Comparison("kinds"), ["int", "str", "dict", "object"], (int,), False),
    ],
)
def test_the_judge_compares_as_the_test_would(compare: Comparison, given: Any, expected: Any, holds: bool) -> None:
    assert compare.holds(given, expected) is holds


@pytest.mark.parametrize(
    "report",
    [
        b"[7,1]\x1e",
        b"nonsense\x1e",
        b"[0]\x1e",
        b"[" * 100_000 + b"\x1e",
        b"[-1,-5]\x1e\n",
        b"[-1,1]\x1e[0,1]\x1e",
        b"[true,1]\x1e",
    ],
)
def test_a_report_that_no_harness_wrote(report: bytes) -> None:
    with pytest.raises(Malformed):
        read(report, plan_of("assert f(1) == 2").sites, 1, frozenset())


def test_test_code_says_which_tests_it_has() -> None:
    code = "import unittest\nclass A(unittest.TestCase):\n    def test_b(self): pass\n    def test_a(self): pass\n"
    code += "class B(A):\n    def test_c(self): pass\nclass TestD:\n    def test_e(self): pass\ndef test_f(): pass\ndef helper(): pass\n"
    a, b = ['A("test_a").debug()', 'A("test_b").debug()'], [f'B("test_{name}").debug()' for name in "abc"]
    assert units_of(code) == (*a, *b, "TestD().test_e()", "test_f()")
    assert without_last("def check(c): pass\n\ncheck(f)\n", "check(f)") == "def check(c): pass\n\n"


@pytest.mark.parametrize(
    ("test", "sure"),
    [
        ("assert f(1) == [2]", True),
        ("assert f(1) != [2]", False),
        ("assert not f(1) != [2]", True),
        ("assert f(1) != deque([2])", False),
        ("assert not np.allclose(f(1), [2.0])", False),
        ("assert f(1) == array('i', [2])", True),
    ],
)
def test_an_altered_expectation_is_one_that_fails_a_right_program(test: str, sure: bool) -> None:
    (site,) = plan_of(test).sites
    texts = {site.text("altered", random.Random(seed)) for seed in range(8)}
    assert (site.negated not in texts) == sure and not any(
        "array(('i')" in text or "array('j'" in text for text in texts
    )


def test_parameters_of_lambdas_keep_no_computation_alive() -> None:
    setup = "def check(c):\n    total = 0\n    for n in range(5):\n        total += n\n    assert c(lambda n: n * n) == total\n"
    assert "total += n" not in plan_of("check(f)", setup=setup).lean.setup
