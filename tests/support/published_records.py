"""A record of each published format, made up."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from typing import Any


def packed(value: object, protocol: int = 4) -> str:
    """As LiveCodeBench packs its private tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()


def stdin_test(given: str, expected: str) -> dict[str, str]:
    """A test of LiveCodeBench."""
    return {"input": given, "output": expected, "testtype": "stdin"}


HUMANEVAL_PROMPT = '''from typing import List


def total(values: List[int]) -> int:
    """ Sum of the values.
    >>> total([1, 2])
    3
    """
'''
HUMANEVAL: dict[str, Any] = {
    "task_id": "HumanEval/0",
    "prompt": HUMANEVAL_PROMPT,
    "entry_point": "total",
    "canonical_solution": "    return sum(values)\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1, 2]) == 3\n",
}
MBPP_PLUS_PROMPT = '"""\nWrite a function to add.\nassert add(1, 2) == 3\n"""\n'
MBPP_PLUS: dict[str, Any] = {
    "task_id": "Mbpp/1",
    "prompt": MBPP_PLUS_PROMPT,
    "entry_point": "add",
    "canonical_solution": "\ndef add(a, b):\n    return a + b\n",
    "base_input": [[1, 2], [3, 4]],
    "plus_input": [[number, float("inf")] for number in range(50)],
    "atol": 0,
    "contract": "\n    assert isinstance(a, int)\n",
    "assertion": "\nassert add(1, 2) == 3\n",
}
LIVECODEBENCH: dict[str, Any] = {
    "question_title": "Echo",
    "question_content": "Echo the number.",
    "platform": "atcoder",
    "question_id": "abc1_a",
    "contest_id": "abc1",
    "contest_date": "2024-03-01T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": json.dumps([stdin_test("1\n", "1\n")]),
    "private_test_cases": packed(json.dumps([stdin_test("2\n", "2\n"), stdin_test("é\n", "é\n")])),
    "metadata": "{}",
}
LIVECODEBENCH_FUNCTIONAL = LIVECODEBENCH | {
    "question_id": "3000",
    "platform": "leetcode",
    "difficulty": "hard",
    "contest_date": "2024-09-30T00:00:00",
    "starter_code": "class Solution:\n    def pick(self, values: List[int], k: int) -> List[int]:\n        ",
    "public_test_cases": json.dumps([{"input": "[1, 2]\n1", "output": "[1]", "testtype": "functional"}]),
    "private_test_cases": json.dumps([{"input": '["a"]\n0', "output": "[]", "testtype": "functional"}]),
    "metadata": json.dumps({"func_name": "pick"}),
}
