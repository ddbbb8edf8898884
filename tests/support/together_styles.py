"""Functions, right and wrong ones, and the same tests of them in every style of test code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rltf.problems.jsonl import from_record
from rltf.problems.problem import Problem, TestSuite

Rows = list[tuple[tuple[Any, ...], Any]]

FUNCTIONS: dict[str, tuple[Rows, list[str], list[str]]] = {
    "gcd": (
        [((12, 8), 4), ((7, 3), 1), ((0, 5), 5), ((100, 75), 25)],
        [
            "import math\ndef gcd(a, b):\n    return math.gcd(a, b)\n",
            "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a\n",
            "from math import gcd\n",
            "gcd = lambda a, b: a if not b else gcd(b, a % b)\n",
        ],
        ["def gcd(a, b):\n    return 1\n", "def gcd(a, b):\n    return b - a\n"],
    ),
    "words": (
        [(("a b a",), {"a": 2, "b": 1}), (("",), {}), (("x",), {"x": 1})],
        [
            "from collections import Counter\ndef words(text):\n    return Counter(text.split())\n",
            "def words(text):\n    found = {}\n    for word in text.split():\n        found[word] = found.get(word, 0) + 1\n    return found\n",
            "from collections import defaultdict\ndef words(text):\n    found = defaultdict(int)\n    for word in text.split():\n        found[word] += 1\n    return found\n",
        ],
        ["def words(text):\n    return {word: 1 for word in text.split()}\n"],
    ),
    "evens": (
        [(([1, 2, 3, 4],), [2, 4]), (([],), []), (([1, 3],), []), (([-2, 0],), [-2, 0])],
        [
            "def evens(numbers):\n    return [n for n in numbers if n % 2 == 0]\n",
            "def evens(numbers):\n    return list(filter(lambda n: not n % 2, numbers))\n",
            "class Numbers(list):\n    pass\ndef evens(numbers):\n    return Numbers(n for n in numbers if n % 2 == 0)\n",
        ],
        [
            "def evens(numbers):\n    return [n for n in numbers if n % 2]\n",
            "def evens(numbers):\n    return (n for n in numbers if n % 2 == 0)\n",
        ],
    ),
    "mean": (
        [(([1, 2, 3, 4],), 2.5), (([10],), 10.0), (([0.5, 1.5],), 1.0)],
        [
            "def mean(numbers):\n    return sum(numbers) / len(numbers)\n",
            "import statistics\ndef mean(numbers):\n    return statistics.mean(numbers)\n",
            "from fractions import Fraction\ndef mean(numbers):\n    return sum(map(Fraction, numbers)) / len(numbers)\n",
            "import numpy as np\ndef mean(numbers):\n    return np.mean(numbers)\n",
        ],
        [
            "def mean(numbers):\n    return sum(numbers) // len(numbers)\n",
            "def mean(numbers):\n    return str(sum(numbers) / len(numbers))\n",
        ],
    ),
    "pair": (
        [((3, 1), (1, 3)), ((2, 2), (2, 2)), ((-1, -5), (-5, -1))],
        [
            "def pair(a, b):\n    return (a, b) if a <= b else (b, a)\n",
            "def pair(a, b):\n    return tuple(sorted((a, b)))\n",
            "from collections import namedtuple\nPair = namedtuple('Pair', 'low high')\ndef pair(a, b):\n    return Pair(min(a, b), max(a, b))\n",
            "from typing import NamedTuple\nclass Pair(NamedTuple):\n    low: int\n    high: int\ndef pair(a, b):\n    return Pair(*sorted([a, b]))\n",
        ],
        ["def pair(a, b):\n    return [min(a, b), max(a, b)]\n", "def pair(a, b):\n    return (a, b)\n"],
    ),
    "vowels": (
        [(("education",), {"e", "u", "a", "i", "o"}), (("sky",), set()), (("aa",), {"a"})],
        [
            "def vowels(text):\n    return set(text) & set('aeiou')\n",
            "def vowels(text):\n    return {letter for letter in text if letter in 'aeiou'}\n",
            "def vowels(text):\n    return frozenset('aeiou').intersection(text)\n",
        ],
        ["def vowels(text):\n    return sorted(set(text) & set('aeiou'))\n"],
    ),
    "prime": (
        [((7,), True), ((9,), False), ((2,), True), ((1,), False), ((97,), True)],
        [
            "def prime(n):\n    return n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))\n",
            "def prime(n):\n    if n < 2:\n        return False\n    d = 2\n    while d * d <= n:\n        if n % d == 0:\n            return False\n        d += 1\n    return True\n",
        ],
        ["def prime(n):\n    return True\n", "def prime(n):\n    return n % 2 == 1\n"],
    ),
    "title": (
        [(("hello world",), "Hello World"), (("",), ""), (("a",), "A")],
        [
            "def title(text):\n    return ' '.join(word.capitalize() for word in text.split(' '))\n",
            "def title(text):\n    return text.title()\n",
            "class Text(str):\n    pass\ndef title(text):\n    return Text(text.title())\n",
        ],
        ["def title(text):\n    return text.upper()\n", "def title(text):\n    return text\n"],
    ),
}


def _calls(name: str, rows: Rows) -> list[tuple[str, str]]:
    return [(f"{name}({', '.join(map(repr, arguments))})", repr(expected)) for arguments, expected in rows]


def _check(name: str, rows: Rows) -> dict[str, Any]:
    lines = [f"    assert {call} == {expected}, 'row'" for call, expected in _calls("candidate", rows)]
    return {"entry_point": name, "tests": "def check(candidate):\n" + "\n".join(lines) + "\n"}


def _table(name: str, rows: Rows) -> dict[str, Any]:
    code = f"CASES = {rows!r}\n\ndef check(candidate):\n    for arguments, expected in CASES:\n        assert candidate(*arguments) == expected\n"
    return {"entry_point": name, "tests": code}


def _collected(name: str, rows: Rows) -> dict[str, Any]:
    code = f"def check({name}):\n    given = {[row[0] for row in rows]!r}\n    wanted = {[row[1] for row in rows]!r}\n"
    code += f"    for n in range(len(given)):\n        result = {name}(*given[n])\n        assert result == wanted[n]\n"
    return {"entry_point": name, "tests": code}


def _case(name: str, rows: Rows) -> dict[str, Any]:
    code = f"import unittest\nfrom program_under_test import {name}\n\nclass NamedTest(unittest.TestCase):\n"
    for number, (call, expected) in enumerate(_calls(name, rows)):
        code += f"    def test_{number}(self):\n        self.assertEqual({call}, {expected})\n\n"
    code += f"    def test_all(self):\n        for arguments, expected in {rows!r}:\n            with self.subTest(arguments=arguments):\n"
    code += f"                self.assertEqual({name}(*arguments), expected)\n\nif __name__ == '__main__':\n    unittest.main()\n"
    return {"tests": code}


def _parametrized(name: str, rows: Rows) -> dict[str, Any]:
    code = f"import pytest\nimport program as p\n\n@pytest.mark.parametrize('arguments, expected', {rows!r})\n"
    return {
        "tests": code
        + f"def test_rows(arguments, expected):\n    assert p.{name}(*arguments) == expected\n\ndef test_first():\n    assert p.{name}(*{rows[0][0]!r}) == {rows[0][1]!r}\n"
    }


def _asserts(name: str, rows: Rows) -> dict[str, Any]:
    return {"tests": [f"result = {call}\nassert result == {expected}" for call, expected in _calls(name, rows)]}


def _script(name: str, rows: Rows) -> dict[str, Any]:
    return {
        "tests": "".join(f"assert {call} == {expected}\n" for call, expected in _calls(name, rows)),
        "entry_point": name,
    }


STYLES: dict[str, Callable[[str, Rows], dict[str, Any]]] = {
    "check": _check,
    "a table": _table,
    "two lists": _collected,
    "unittest": _case,
    "pytest": _parametrized,
    "asserts": _asserts,
    "a script": _script,
}


def suite_of(**fields: Any) -> TestSuite:
    problem = from_record("made", {"id": "made", "question": "q", "judge_way": "together", **fields})
    assert isinstance(problem, Problem), problem
    return problem.suite


def by_styles(wrong: bool) -> dict[str, tuple[TestSuite, str]]:
    found = {}
    for name, (rows, right_ones, wrong_ones) in FUNCTIONS.items():
        for style, make in STYLES.items():
            suite = suite_of(**make(name, rows))
            for number, program in enumerate(wrong_ones if wrong else right_ones):
                found[f"{name} {number}, {style}"] = suite, program
    return found
