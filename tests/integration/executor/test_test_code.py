"""Kinds of test code that went wrong: each with a right program and a wrong one, whatever way they are judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rltf.buffer.records import Feedback
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems.jsonl import from_record
from rltf.problems.problem import Problem

Kind = tuple[dict[str, Any], str, str]
"""Fields of the problem, a right program, a wrong one."""
KINDS: dict[str, Kind] = {
    "an entry point with a builtin's name": (
        {
            "entry_point": "max",
            "tests": "def check(candidate):\n    assert candidate([2, 9, 4]) == 2\n    assert candidate([7]) == 7\n",
        },
        "def max(xs):\n    return xs[0]\n",
        "largest = 1\n",
    ),
    "a builtin's name in a list of tests": (
        {"entry_point": "sorted", "tests": ["assert list(sorted((2, 1))) == [1, 2]"]},
        "def sorted(xs):\n    xs = list(xs)\n    xs.sort()\n    return xs\n",
        "y = 2\n",
    ),
    "a matrix that is changed in place": (
        {
            "entry_point": "flip",
            "tests": "def check(candidate):\n    grid = [[1, 2], [3, 4]]\n    candidate(grid)\n    assert grid[0] == [2, 1] and grid[1][0] == 4\n",
        },
        "def flip(grid):\n    for row in grid:\n        row.reverse()\n",
        "def flip(grid):\n    return [row[::-1] for row in grid]\n",
    ),
    "a dictionary that is changed in place": (
        {"tests": ["d = {'a': 1}\nadd(d, 'b')\nassert d == {'a': 1, 'b': 0}"]},
        "def add(d, key):\n    d.setdefault(key, 0)\n",
        "def add(d, key):\n    return {**d, key: 0}\n",
    ),
    "an object of the tests' own class": (
        {
            "entry_point": "area",
            "tests": "class Box:\n    def __init__(self, w, h):\n        self.w, self.h = w, h\n\ndef check(candidate):\n    assert candidate(Box(2, 3)) == 6\n",
        },
        "def area(box):\n    return box.w * box.h\n",
        "def area(box):\n    return box.w + box.h\n",
    ),
    "a date": (
        {"tests": ["import datetime\nassert weekday(datetime.date(2024, 2, 29)) == 'Thu'"]},
        "def weekday(day):\n    return day.strftime('%a')\n",
        "def weekday(day):\n    return 'Fri'\n",
    ),
    "a method as entry point": (
        {
            "entry_point": "Solution().join",
            "tests": "def check(candidate):\n    assert candidate(words=['a', 'b']) == 'a-b'\n    assert candidate(words=[]) == ''\n",
        },
        "class Solution:\n    def join(self, words: List[str]) -> str:\n        return '-'.join(words)\n",
        "class Solution:\n    def join(self, words: List[str]) -> str:\n        return ''.join(words)\n",
    ),
    "operators and equality of the program's class": (
        {
            "tests": [
                "a = money(3) + money(4)\nassert a == money(7)",
                "assert repr(money(2)) == 'M2' and hash(money(1)) == hash(money(1))",
                "assert money(1) < money(2)",
            ]
        },
        "class M:\n    def __init__(self, n):\n        self.n = n\n    def __add__(self, o):\n        return M(self.n + o.n)\n    def __eq__(self, o):\n        return self.n == o.n\n    def __lt__(self, o):\n        return self.n < o.n\n    def __hash__(self):\n        return self.n\n    def __repr__(self):\n        return f'M{self.n}'\n\ndef money(n):\n    return M(n)\n",
        "class M:\n    def __init__(self, n):\n        self.n = n\n    def __add__(self, o):\n        return M(self.n - o.n)\n    def __eq__(self, o):\n        return self.n == o.n\n\ndef money(n):\n    return M(n)\n",
    ),
    "a function that returns an object that equals a literal": (
        {"tests": ["assert ratio(3, 2) == 1.5", "assert ratio(4, 2) == 2"]},
        "from fractions import Fraction\ndef ratio(a, b):\n    return Fraction(a, b)\n",
        "def ratio(a, b):\n    return a // b\n",
    ),
    "an array is no list": (
        {"tests": ["assert double([1, 2]) == [2, 4]"]},
        "def double(xs):\n    return [2 * x for x in xs]\n",
        "import numpy as np\ndef double(xs):\n    return 2 * np.array(xs)\n",
    ),
    "a deque and a decimal": (
        {
            "entry_point": "last",
            "tests": "from collections import deque\nfrom decimal import Decimal\n\ndef check(candidate):\n    assert candidate([1, 2, 3], 2) == deque([2, 3])\n    assert candidate([Decimal('1.5')], 1)[0] == Decimal('1.5')\n",
        },
        "from collections import deque\ndef last(xs, n):\n    return deque(xs, maxlen=n)\n",
        "def last(xs, n):\n    return xs[-n:]\n",
    ),
    "how a subclass of a plain type is written": (
        {"tests": ["assert str(count('aab')) == \"Counter({'a': 2, 'b': 1})\""]},
        "from collections import Counter\ndef count(text):\n    return Counter(text)\n",
        "def count(text):\n    return {letter: text.count(letter) for letter in text}\n",
    ),
    "what a program prints": (
        {
            "entry_point": "table",
            "tests": "import contextlib, io\n\ndef check(candidate):\n    out = io.StringIO()\n    with contextlib.redirect_stdout(out):\n        candidate(2)\n    assert out.getvalue().split() == ['1', '2']\n",
        },
        "def table(n):\n    print(*range(1, n + 1), sep='\\n')\n",
        "def table(n):\n    return '\\n'.join(map(str, range(1, n + 1)))\n",
    ),
    "what a program reads": (
        {
            "tests": [
                "from unittest.mock import patch\nwith patch('builtins.input', side_effect=['4', '5']):\n    assert both() == 9"
            ]
        },
        "def both():\n    return int(input()) + int(input())\n",
        "def both():\n    return 9 - len(input())\n",
    ),
    "a seed that the tests set": (
        {"tests": ["import random\nrandom.seed(5)\nwanted = random.random()\nrandom.seed(5)\nassert roll() == wanted"]},
        "import random\ndef roll():\n    return random.random()\n",
        "def roll():\n    return 0.5\n",
    ),
    "a name that the tests define for the program": (
        {"setup": "LIMIT = 3", "tests": ["assert clip(9) == 3", "assert sorted([clip(1), clip(5)]) == [1, 3]"]},
        "def clip(x):\n    return min(x, LIMIT)\n",
        "def clip(x):\n    return x\n",
    ),
    "arguments of an exception": (
        {
            "entry_point": "take",
            "tests": "def check(candidate):\n    try:\n        candidate({}, 'k')\n    except LookupError as error:\n        assert error.args == ('k', 1) and type(error) is KeyError\n        return\n    assert False\n",
        },
        "def take(d, key):\n    if key not in d:\n        raise KeyError(key, 1)\n    return d[key]\n",
        "def take(d, key):\n    return d[key]\n",
    ),
    "an exception of a module": (
        {
            "tests": [
                "import json\ntry:\n    load('[')\nexcept json.JSONDecodeError:\n    pass\nelse:\n    raise AssertionError"
            ]
        },
        "import json\ndef load(text):\n    return json.loads(text)\n",
        "def load(text):\n    raise ValueError(text)\n",
    ),
    "has to be the same object": (
        {"entry_point": "chain", "tests": "def check(candidate):\n    xs = []\n    assert candidate(xs) is xs\n"},
        "def chain(xs):\n    return xs\n",
        "def chain(xs):\n    return list(xs)\n",
    ),
    "has to be another object": (
        {
            "entry_point": "clone",
            "tests": "def check(candidate):\n    xs = [[1]]\n    assert candidate(xs) == xs and candidate(xs) is not xs\n",
        },
        "def clone(xs):\n    return [list(x) for x in xs]\n",
        "def clone(xs):\n    return xs\n",
    ),
    "a parameter named like the function": (
        {
            "entry_point": "mul",
            "tests": "def check(mul):\n    assert mul(2, 3) == 6\n    assert mul(0, 3) == 0\n\ncheck(mul)\n",
        },
        "def mul(a, b):\n    return a * b\n",
        "def mul(a, b):\n    return a + b\n",
    ),
    "a local named like the function": (
        {"tests": ["def run():\n    size = len([1])\n    return size\nassert run() == 1 and size([1, 2]) == 2"]},
        "def size(xs):\n    return len(xs)\n",
        "def size(xs):\n    return 1\n",
    ),
    "context managers, item assignment, decorators": (
        {
            "tests": [
                "@logged\ndef add(a, b):\n    return a + b\nassert add(1, 2) == 3 and add.count == 1",
                "box = Box()\nbox['a'] = 1\nwith box as inner:\n    assert inner['a'] == 1\ndel box['a']\nassert 'a' not in box",
            ]
        },
        "def logged(fn):\n    def inner(*a):\n        inner.count += 1\n        return fn(*a)\n    inner.count = 0\n    return inner\n\nclass Box(dict):\n    def __enter__(self):\n        return self\n    def __exit__(self, *error):\n        return None\n",
        "def logged(fn):\n    fn.count = 0\n    return fn\n\nclass Box(dict):\n    def __enter__(self):\n        return self\n    def __exit__(self, *error):\n        return None\n",
    ),
    "tolerances": (
        {
            "entry_point": "root",
            "tests": "import math\n\ndef check(candidate):\n    assert abs(candidate(range(3)) - 1.7320508) < 1e-6\n    assert math.isclose(candidate(range(4)), 2.0, rel_tol=1e-9)\n",
        },
        "def root(xs):\n    return len(xs) ** 0.5\n",
        "def root(xs):\n    return round(len(xs) ** 0.5, 3)\n",
    ),
    "a unittest file": (
        {
            "tests": "import unittest\nfrom leap import leap_year\n\nclass LeapTest(unittest.TestCase):\n    def test_a(self):\n        self.assertIs(leap_year(2000), True)\n    def test_b(self):\n        self.assertIs(leap_year(1900), False)\n    def test_c(self):\n        with self.assertRaises(TypeError):\n            leap_year('x')\n"
        },
        "def leap_year(y):\n    if isinstance(y, str):\n        raise TypeError(y)\n    return y % 4 == 0 and (y % 100 != 0 or y % 400 == 0)\n",
        "def leap_year(y):\n    if isinstance(y, str):\n        raise TypeError(y)\n    return y % 4 == 0\n",
    ),
}


@pytest.fixture(scope="module")
def verdicts() -> Iterator[dict[str, Feedback]]:
    work = {}
    for name, (fields, right, wrong) in KINDS.items():
        problem = from_record(name, {"id": name, "question": "q", **fields})
        assert isinstance(problem, Problem), problem
        work |= {f"right, {name}": (problem.suite, right), f"wrong, {name}": (problem.suite, wrong)}
    with SandboxJudge(1, 4.0, 1024) as judge:
        results = judge.grade(list(work.values()))
    assert all(isinstance(result, Feedback) for result in results)
    yield {name: result for name, result in zip(work, results, strict=True) if isinstance(result, Feedback)}


@pytest.mark.parametrize("name", KINDS)
def test_the_right_program_passes_and_the_wrong_one_does_not(verdicts: dict[str, Feedback], name: str) -> None:
    right, wrong = verdicts[f"right, {name}"], verdicts[f"wrong, {name}"]
    assert (right.outcome, right.error_type, right.message) == ("pass", None, "")
    assert wrong.outcome in ("failure", "runtime_error") and wrong.error_type != "Cheating", wrong


def test_methods_and_statements_are_the_tests_that_count(verdicts: dict[str, Feedback]) -> None:
    case = verdicts["wrong, a unittest file"]
    assert [test.outcome for test in case.tests] == ["pass", "failure", "pass"] and case.passed == 2
    statements = verdicts["wrong, tolerances"]
    assert [test.outcome for test in statements.tests] == ["failure", "pass"]
    assert (statements.outcome, statements.line) == ("failure", None)


def test_the_line_of_an_error_is_one_of_the_program() -> None:
    problem = from_record("p", {"id": "p", "question": "q", "tests": ["assert f(lambda: 1 / 0) == 1"]})
    other = from_record("o", {"id": "o", "question": "q", "tests": ["assert f(lambda: 1) == 1"]})
    assert isinstance(problem, Problem) and isinstance(other, Problem)
    program = "def g(fn):\n    return fn()\n\ndef f(fn):\n    assert g(fn) == 5, 'five'\n    return 1\n"
    with SandboxJudge(1, 4.0, 1024) as judge:
        first, second = judge.grade([(problem.suite, program), (other.suite, program)])
    assert isinstance(first, Feedback) and isinstance(second, Feedback)
    assert (first.outcome, first.error_type, first.line) == ("runtime_error", "ZeroDivisionError", 2)
    assert (second.outcome, second.error_type, second.line) == ("runtime_error", "AssertionError", 5)
