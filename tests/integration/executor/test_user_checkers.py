"""A checker of the user's in the sandbox's judge, where a program would see what it is not to see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rltf.config import ExecutorConfig
from rltf.config.user_code import NO_CODE, UserCode
from rltf.executor.judge import InfrastructureFailure
from rltf.executor.sandbox_judge import SandboxJudge
from tests.support.executor_suites import call_suite, stdin_suite

CHECKERS = """
import os

def pid(expected, actual):
    return actual.strip() != str(os.getpid())  # another process than the program's

def any_order(expected, actual):
    expected.sort()
    return isinstance(actual, list) and sorted(actual) == expected

def raises(expected, actual):
    raise ValueError("not mine")

def unsure(expected, actual):
    return 1
"""


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "mine.py").write_text(CHECKERS)
    UserCode.read(tmp_path).install()
    yield
    NO_CODE.install()


def test_it_decides_in_the_executors_process_and_its_failure_is_no_verdict() -> None:
    lines, pairs = stdin_suite(("", "SECRET\n"), ("", "SECRET\n")), call_suite("f", ([1], [2, 1]), ([2], [1, 2]))
    parent = "import os\nprint(os.getppid())\n"
    finds = "import sys\nprint('mine' in sys.modules)\nprint('SECRET' in str(sys.modules))\n"
    work = [
        (replace(lines, checker="mine:pid"), "import os\nprint(os.getpid())\n"),
        (replace(lines, checker="mine:pid"), parent),
        (replace(pairs, checker="mine:any_order"), "def f(x):\n    return [1, 2]\n"),
        (replace(pairs, checker="mine:any_order"), "def f(x):\n    return [1]\n"),
        (replace(lines, checker="mine:raises"), "print()\n"),
        (replace(pairs, checker="mine:unsure"), "def f(x):\n    return x\n"),
        (stdin_suite(("", "False\nFalse\n")), finds),
        (replace(lines, checker="mine:raises"), "print(1 / 0)\n"),
    ]
    with SandboxJudge.from_config(ExecutorConfig(), 1) as judge:
        found = judge.grade(work)
        assert judge.restarts == 0
    said = [one.reason if isinstance(one, InfrastructureFailure) else one.outcome for one in found]
    assert said[:4] == ["pass", "pass", "pass", "failure"] and said[6:] == ["pass", "runtime_error"]
    assert said[4].startswith("checker mine:raises failed for an output: ")
    assert said[4].endswith("mine.py, line 12: ValueError: not mine")
    assert said[5].endswith("mine.py, line 14) gave 1 for an output, not True or False")
