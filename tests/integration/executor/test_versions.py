"""Labels by exception class and line are the same on every interpreter at hand, and numpy is loaded only where it is
used.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems.problem import TestSuite
from tests.support.executor_suites import SUM, stdin_suite
from tests.support.interpreters import VERSIONS, interpreters
from tests.support.labelled_programs import CASES, ONE

MORE = [
    ("f'{a b}'\n", "compile_error", "SyntaxError", 1),
    ("x = f'{'\n", "compile_error", "SyntaxError", 1),
    ("x = '''abc\n\ny = 1\n", "compile_error", "SyntaxError", 1),
    ("x = 'abc\n", "compile_error", "SyntaxError", 1),
    ("x = (1,\n\ny = 2\n", "compile_error", "SyntaxError", 1),
    ("print 'a'\n", "compile_error", "SyntaxError", 1),
    ("for i in range(3)\n    pass\n", "compile_error", "SyntaxError", 1),
    ("def f():\n    yield\n    await x\n", "compile_error", "SyntaxError", 3),
    ("def f():\n    from math import *\n", "compile_error", "SyntaxError", 2),
    ("def f(a, a): pass\n", "compile_error", "SyntaxError", 1),
    ("x = 08\n", "compile_error", "SyntaxError", 1),
    ("x = “a”\n", "compile_error", "SyntaxError", 1),
    ("print(1)\0\n", "compile_error", "SyntaxError", None),
    ("print('\ud800')\n", "compile_error", "SyntaxError", None),
    ("(" * 300 + ")" * 300 + "\n", "compile_error", "SyntaxError", 1),
    ("+".join(["1"] * 20000) + "\n", "compile_error", "RecursionError", None),
    ("def f():\nx = 1\n", "compile_error", "IndentationError", 2),
    ("if 1:\n    x = 1\n   y = 2\n", "compile_error", "IndentationError", 3),
    ("def f():\n    return eval('(')\n\nf()\n", "runtime_error", "SyntaxError", 2),
    ("import json\njson.loads('[' * 100000)\n", "runtime_error", "RecursionError", 2),
    ("class A:\n    def __getattr__(self, n): return getattr(self, n)\nA().x\n", "runtime_error", "RecursionError", 2),
    ("b'\\xff'.decode()\n", "runtime_error", "UnicodeDecodeError", 1),
    ("try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError from e\n", "runtime_error", "ValueError", 4),
    ("def f():\n    try:\n        1 / 0\n    finally:\n        [][1]\nf()\n", "runtime_error", "IndexError", 5),
    ("x = [\n  1,\n  1 / 0,\n]\n", "runtime_error", "ZeroDivisionError", 3),
    ("f = sorted([1, 'a'],\n  key=lambda v:\n    v + 1)\n", "runtime_error", "TypeError", 3),
    ("def f(x):\n    return (x.a\n            .b)\nf(1)\n", "runtime_error", "AttributeError", 2),
    ("exec('def f():\\n 1 / 0\\nf()')\n", "runtime_error", "ZeroDivisionError", 1),
    ("from functools import reduce\nreduce(lambda a, b: a / b, [1, 0])\n", "runtime_error", "ZeroDivisionError", 2),
    ("from math import nothing\n", "runtime_error", "ImportError", 1),
    ("raise KeyboardInterrupt\n", "runtime_error", "KeyboardInterrupt", 1),
]


@pytest.fixture(scope="module", params=VERSIONS)
def judge(request: pytest.FixtureRequest) -> Iterator[SandboxJudge]:
    path = interpreters().get(request.param)
    if path is None:
        pytest.skip(f"no Python {request.param} on this machine")
    with SandboxJudge(2, 1.0, 256, python=path) as judge:
        assert judge.python_version.startswith(request.param)
        yield judge


def test_labels_are_the_same_on_every_version(judge: SandboxJudge) -> None:
    slow = ("TimeLimit", "MemoryLimit", "OutputLimit")
    quick = [case for case in CASES if case[2] not in slow] + [case for case in CASES if case[2] in slow][::4] + MORE
    results = judge.grade([(ONE, program) for program, *_ in quick])
    assert [
        (program, r.outcome, r.error_type, r.line) for (program, *_), r in zip(quick, results, strict=True)
    ] == quick
    assert all(result.executor_version.endswith(f"Python {judge.python_version}") for result in results)


def test_numpy_is_loaded_in_a_lane_of_its_own() -> None:
    program = "import numpy as np\ninput()\nprint(np.array(input().split(), dtype=int).sum())\n"
    with SandboxJudge(1, 2.0, 512) as judge:
        (pair,) = judge._all
        assert judge.grade([(SUM, "input()\nprint(sum(map(int, input().split())))\n")])[0].outcome == "pass"
        assert pair.plain.layers and not pair.with_packages.layers  # not started: nothing has named numpy
        assert judge.grade([(SUM, program)])[0].outcome == "pass"
        assert pair.with_packages.layers == pair.plain.layers
        # The address space that numpy takes is not the program's, the limit holds all the same.
        suite = TestSuite("stdin", None, ("",), ("ok\n",), memory_limit_mb=64)
        fits, does_not = judge.grade(
            [(suite, f"import numpy\nx = numpy.ones({n} << 17)\nprint('ok')\n") for n in (32, 128)]
        )
        assert (fits.outcome, does_not.outcome, does_not.line) == ("pass", "runtime_error", 2)
        random = "import numpy as np\nprint(np.random.rand(), np.random.randint(10**6))\n"
        seen = judge.grade([(stdin_suite((str(n), "?"), (str(n), "?")), random) for n in range(2)])
        assert seen[0].message == seen[1].message
