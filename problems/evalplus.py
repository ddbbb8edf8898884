"""HumanEval+ and MBPP+ (EvalPlus, Liu et al., arXiv 2305.01210): inputs without outputs, which the reference gives.

A record has task_id, prompt, entry_point, canonical_solution, base_input (of the original data set), plus_input, atol,
and contract and assertion, which are not used. What a call must return is asked of the reference, in the process of the
tests and never in the program's, and compared as EvalPlus compares. Of base_input every call is a test; the many calls
of plus_input are put together in groups, of which there are at most GROUPS.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from rltf.problems import humaneval, mbpp
from rltf.problems.evalplus_inputs import typed_arguments
from rltf.problems.evalplus_oracle import oracle
from rltf.problems.files import unix_lines
from rltf.problems.humaneval import completion, entry_point_of
from rltf.problems.problem import Problem, Skipped, TestSuite, UnreadFields
from rltf.problems.python_source import literal, parsed
from rltf.problems.records import Format, problems_of, rows_of, text
from rltf.problems.spec import Source, Spec

GROUPS = 20
_TIME_LIMITS_S = {"Mbpp/599": 60.0}
"""CPU seconds per test where the reference needs more than is usual: as many as EvalPlus gives a problem at most."""
_FIELDS = (
    "task_id",
    "prompt",
    "entry_point",
    "canonical_solution",
    "base_input",
    "plus_input",
    "atol",
    "contract",
    "assertion",
    "test",
    # of the hub's rows of MBPP+
    "code",
    "source_file",
    "test_imports",
    "test_list",
)


def load_humaneval(spec: Spec) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of a `humanevalplus` SPEC. Raises UserError when the file cannot be read."""
    yield from _load(spec, "evalplus/humanevalplus")


def load_mbpp(spec: Spec) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of an `mbppplus` SPEC. Raises UserError when the file cannot be read."""
    yield from _load(spec, "evalplus/mbppplus")


def _load(spec: Spec, hub: str) -> Iterator[Problem | Skipped | UnreadFields]:
    plus = spec.one_of("tests", ("base", "plus"), "plus") == "plus"
    yield from problems_of(spec, rows_of(spec, hub, "test"), Format("task_id", _FIELDS, partial(from_record, plus)))


def from_record(plus: bool, name: str, record: dict[str, Any]) -> Problem:
    """Problem of one record, judged by its base inputs and, with `plus`, by the others too.

    Raises ValueError with what is wrong with it.
    """
    if "base_input" not in record and "test" in record:
        return _from_hub(plus, name, record)
    entry_point = entry_point_of(record)
    number = re.fullmatch(r"Mbpp/(\d+)", name)
    base, more = (_calls(record, field, int(number[1]) if number else 0) for field in ("base_input", "plus_input"))
    reference = parsed("its reference", text(record, "prompt") + text(record, "canonical_solution"))
    tests = [f"_judge({entry_point}, {literal(arguments)})" for arguments in base]
    if plus:
        size = max(1, math.ceil(len(more) / GROUPS))
        tests += [_group(entry_point, more[start : start + size]) for start in range(0, len(more), size)]
    setup = oracle(entry_point, reference, _tolerance(record), of_mbpp=number is not None)
    # The reference is in these tests: they have a process of their own, where no program can ask it.
    suite = TestSuite("assert", entry_point, (), (), tuple(tests), setup, _TIME_LIMITS_S.get(name), way="split")
    return completion(name, record, suite, "evalplus" if number else "humaneval")


def _from_hub(plus: bool, name: str, record: dict[str, Any]) -> Problem:
    """Problem of a row of the hub, which has test code in place of inputs: it is run as it is."""
    if "code" not in record:
        if not plus:
            raise ValueError("its test code does not tell base from plus: tests=base needs the file of EvalPlus")
        return humaneval.from_record(name, record)
    problem = mbpp.from_record(f"Mbpp/{record['task_id']}", record)
    test = unix_lines(text(record, "test")).strip()
    parsed("its test", test)
    suite = problem.suite
    return replace(problem, suite=replace(suite, asserts=(*suite.asserts, test))) if plus else problem


def _group(entry_point: str, calls: list[list[Any]]) -> str:
    """One test of several calls."""
    listed = "".join(f"    {literal(arguments)},\n" for arguments in calls)
    return f"for _arguments in [\n{listed}]:\n    _judge({entry_point}, _arguments)"


def _calls(record: dict[str, Any], field: str, number: int) -> list[list[Any]]:
    """Arguments of each call, as Python values."""
    calls = record.get(field) or []
    if not isinstance(calls, list) or not all(isinstance(arguments, list) for arguments in calls):
        raise ValueError(f"{field} must be a list of lists of arguments")
    return [typed_arguments(number, arguments) for arguments in calls]


def _tolerance(record: dict[str, Any]) -> float:
    atol = record.get("atol") or 0
    if isinstance(atol, bool) or not isinstance(atol, int | float) or not 0 <= atol < 1:
        raise ValueError("atol must be a number from 0 to below 1")
    return atol


HUMANEVAL_PLUS = Source(
    "humanevalplus",
    "HumanEval+, the file of EvalPlus; `tests=base` leaves out what it adds",
    load_humaneval,
    ("tests", "ids"),
    path="FILE",
    hub=True,
)
MBPP_PLUS = Source(
    "mbppplus",
    "MBPP+, the file of EvalPlus; `tests=base` leaves out what it adds",
    load_mbpp,
    ("tests", "ids"),
    path="FILE",
    hub=True,
)
