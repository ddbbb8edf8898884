"""The command `check-data`: what is wrong with a data set's problems, and how much time its tests need.

A record that could not be loaded is told with the reason, and so is a field that nobody reads. Every reference solution
runs twice: once with a lane per core, then with four per core and another hash seed. A program that solves nothing must
not pass. CPU limits are calibrated from the references that pass. Problems are checked some at a time, and what is
found is handed over as it comes: a check that was broken off goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from rich.console import Console

from rltf.buffer.records import Feedback
from rltf.config import ExecutorConfig
from rltf.executor.grading import EXECUTOR_VERSION
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.executor.protocol import LaneFailure
from rltf.executor.suites import ReadySuite, make_ready
from rltf.executor.trivial_programs import could_pass, trivial_programs
from rltf.problems.fields import hinted
from rltf.problems.problem import Problem, ProblemSet, Skipped, TestSuite
from rltf.problems.quarantine import ProblemCheck, Status
from rltf.telemetry.console import counted, progress

FACTOR, MIN_LIMIT_S = 10.0, 0.1
"""A test may use so many times what the slowest reference needs, and at least so much: calibrated = max(least, factor x
slowest)."""
TIGHT = 0.5
"""A limit of which a reference needs more than this share is too tight."""
LONGER = 5.0
"""A reference that runs into the limit is given so many times as much, once, to say what it needs."""
LOAD = 4
"""Lanes per core in the second run."""
OTHER_HASH_SEED = 1
AT_ONCE = 100
"""Problems that are checked together."""
MAX_NAMED = 3
SEVERAL_ANSWERS = "several answers may be right"
"""What the reason begins with where references disagree."""
_NO_MODULE = re.compile(r"No module named '(\w+)")
_NO_SORTED = re.compile(r"name 'Sorted(?:List|KeyList|Dict|Set)' is not defined")

Advance = Callable[[int], None]


@dataclass
class _Findings:
    """One problem's."""

    problem: Problem
    key: str
    ready: ReadySuite | None = None
    unusable: str = ""
    """Why there is no ready suite."""
    unjudged: str = ""
    """Why one of its programs could not be judged."""
    checker_fails: str = ""
    """Why the problem's own checker could not say whether an output is accepted."""
    first: list[Feedback] = field(default_factory=list)
    second: list[Feedback] = field(default_factory=list)
    longer: list[Feedback] = field(default_factory=list)
    """With more time, of the references that all ran into the limit."""
    together: list[Feedback] = field(default_factory=list)
    """With the tests in the program's process, of a problem whose tests are usually kept apart."""
    passing: list[str] = field(default_factory=list)
    """Programs that solve nothing and pass."""
    bad: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def note(self, failure: InfrastructureFailure) -> None:
        """One of its programs has no verdict."""
        if failure.of_problem:
            self.checker_fails = self.checker_fails or failure.reason
        else:
            self.unjudged = self.unjudged or failure.reason

    @property
    def limit_s(self) -> float:
        """The limit in force when it was checked."""
        return self.first[0].time_limit_s


def check_data(
    problems: ProblemSet,
    config: ExecutorConfig,
    lanes: int,
    console: Console,
    before: Mapping[str, ProblemCheck] | None = None,
) -> Iterator[list[ProblemCheck]]:
    """Checks every problem, in the order of the set, then come the records that could not be loaded: some at a time.

    What is being done, and how long it will take, goes to the console. `before`: what an earlier check of the same
    problems found, by id; a problem whose tests, references and limits are still the same is not checked again.

    Raises LaneFailure when the sandbox does not start, or no program of many could be judged: that says nothing of the
    data.
    """
    unread = {one.id: one.fields for one in problems.unread}
    known: dict[str, ProblemCheck] = {}
    for problem in problems:
        found = (before or {}).get(problem.id)
        if found is not None and found.key == _key(problem, config):
            known[problem.id] = found
    todo = [problem for problem in problems if problem.id not in known]
    references = sum(len(problem.solutions) for problem in todo)
    if known:
        console.print(f"{counted(len(known), 'problem')} checked by an earlier run that was broken off", markup=False)
    if todo:
        console.print(
            f"{counted(references, 'reference solution')} of {counted(len(todo), 'problem')}: {lanes} at a time, then "
            f"{LOAD * lanes} at a time and with another hash seed",
            markup=False,
        )
    with _Judges(config, lanes) as judges, progress(console, "checking", 2 * references + len(todo)) as advance:
        for start in range(0, len(problems), AT_ONCE):
            part = problems.problems[start : start + AT_ONCE]
            begun = [
                _begun(problem, hinted(unread.get(problem.id, {})), _key(problem, config))
                for problem in part
                if problem.id not in known
            ]
            _run(begun, judges, advance)
            checked = known | {one.problem.id: _concluded(one) for one in begun}
            yield [checked[problem.id] for problem in part]
    if problems.skipped:
        yield [_not_loaded(skipped) for skipped in problems.skipped]


def _key(problem: Problem, config: ExecutorConfig) -> str:
    """Hash of all that a problem's check depends on."""
    judging = (config.time_limit_s, config.memory_limit_mb, config.judge, config.python, config.packages)
    parts = (problem.suite.content_hash, problem.solutions, judging, EXECUTOR_VERSION, sys.version_info[:3])
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


class _Judges:
    """The two that check: each is started when it is first asked for."""

    def __init__(self, config: ExecutorConfig, lanes: int) -> None:
        self._config, self._lanes = config, lanes
        self._stack = ExitStack()
        self._started: dict[bool, Judge] = {}

    def get(self, loaded: bool) -> Judge:
        """The judge with a lane per core, or the `loaded` one."""
        if loaded not in self._started:
            judge = (
                Judge.from_config(self._config, LOAD * self._lanes, OTHER_HASH_SEED)
                if loaded
                else Judge.from_config(self._config, self._lanes)
            )
            self._started[loaded] = self._stack.enter_context(judge)
        return self._started[loaded]

    def __enter__(self) -> _Judges:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]


def _run(found: Sequence[_Findings], judges: _Judges, advance: Advance) -> None:
    """Runs the references, and the programs that solve nothing, of the problems whose tests can be used."""
    usable = [one for one in found if one.ready is not None]
    advance(sum(2 * len(one.problem.solutions) + 1 for one in found if one.ready is None))
    if not usable:
        return
    judge = judges.get(loaded=False)
    references = [(one, program) for one in usable for program in one.problem.solutions]
    for one, feedback in _graded(judge, references, advance):
        one.first.append(feedback)
    _run_together(judge, usable)
    _run_constants(judge, usable)
    advance(len(usable))
    late = [one for one in usable if one.first and all(feedback.error_type == "TimeLimit" for feedback in one.first)]
    if late:
        _run_longer(judge, late)
    if all(one.unjudged for one in usable) and len(usable) > 1:
        raise LaneFailure(f"none of {len(usable)} problems' programs could be judged: {usable[0].unjudged}")
    for one, feedback in _graded(judges.get(loaded=True), references, advance):
        one.second.append(feedback)


def _begun(problem: Problem, remarks: list[str], key: str) -> _Findings:
    try:
        return _Findings(problem, key, ready=make_ready(problem.suite), remarks=remarks)
    except ValueError as error:
        return _Findings(problem, key, unusable=str(error), remarks=remarks)


def _not_loaded(skipped: Skipped) -> ProblemCheck:
    reason = f"{skipped.place}: {skipped.reason}" if skipped.place else skipped.reason
    return ProblemCheck(skipped.id, "", "skipped", (reason,), None, EXECUTOR_VERSION)


def _ready(one: _Findings) -> ReadySuite:
    assert one.ready is not None
    return one.ready


def _graded(
    judge: Judge, work: Sequence[tuple[_Findings, str]], advance: Advance = lambda number: None
) -> Iterator[tuple[_Findings, Feedback]]:
    """Verdicts in the order of `work`; of a problem one of whose programs gets none, that is noted."""
    results = judge.grade([(one.problem.suite, program) for one, program in work], advance)
    for (one, _), result in zip(work, results, strict=True):
        if isinstance(result, InfrastructureFailure):
            one.note(result)
    for (one, _), result in zip(work, results, strict=True):
        if isinstance(result, Feedback) and not one.unjudged:
            yield one, result


def _run_constants(judge: Judge, usable: Sequence[_Findings]) -> None:
    tried = [
        (one, constant)
        for one in usable
        for constant in trivial_programs(_ready(one))
        if could_pass(_ready(one), constant)
    ]
    results = judge.grade([(one.problem.suite, constant.program) for one, constant in tried])
    for (one, constant), result in zip(tried, results, strict=True):
        if isinstance(result, InfrastructureFailure):
            one.note(result)
        elif result.outcome == "pass":
            one.passing.append(constant.shown)


def _run_together(judge: Judge, usable: Sequence[_Findings]) -> None:
    """The references of problems that are judged apart from their tests, once more in one process with them."""
    others = [one for one in usable if _ready(one).mode == "split" and not one.problem.suite.way]
    suites = {id(one): replace(one.problem.suite, way="together") for one in others}
    work = [(one, program) for one in others for program in one.problem.solutions]
    results = judge.grade([(suites[id(one)], program) for one, program in work])
    for (one, _), result in zip(work, results, strict=True):
        if isinstance(result, Feedback):
            one.together.append(result)


def _run_longer(judge: Judge, late: list[_Findings]) -> None:
    longer = {id(one): replace(one.problem.suite, time_limit_s=LONGER * one.limit_s) for one in late}
    work: list[tuple[_Findings, TestSuite, str]] = [
        (one, longer[id(one)], program) for one in late for program in one.problem.solutions
    ]
    results = judge.grade([(suite, program) for _, suite, program in work])
    for (one, *_), result in zip(work, results, strict=True):
        if isinstance(result, Feedback):
            one.longer.append(result)


def _concluded(one: _Findings) -> ProblemCheck:
    """Status and reasons from what was found."""
    problem = one.problem
    limit: float | None = None
    if one.ready is None:
        one.bad.append("its tests cannot be used: " + one.unusable)
    elif one.unjudged:
        reasons = (f"could not be judged: {one.unjudged}", *one.remarks)
        return ProblemCheck(problem.id, problem.suite.content_hash, "unjudged", reasons, None, EXECUTOR_VERSION)
    elif one.checker_fails:
        one.bad.append(one.checker_fails)
    elif not problem.solutions:
        one.remarks.append("it has no reference solution: only programs that solve nothing were tried")
    else:
        limit = _judge_references(one)
    if one.passing:
        one.bad.append(f"{' and '.join(one.passing[:MAX_NAMED])} {'passes' if len(one.passing) == 1 else 'pass'}")
    _compare_ways(one)
    packages = _missing(one.first)
    if packages:
        one.remarks.append(f"programs may not import {' and '.join(packages)} here, which it needs")
    status: Status = "quarantined" if one.bad else "warned" if one.remarks else "ok"
    version = one.first[0].executor_version if one.first else EXECUTOR_VERSION
    reasons = (*one.bad, *one.remarks)
    return ProblemCheck(problem.id, problem.suite.content_hash, status, reasons, limit, version, packages, one.key)


def _compare_ways(one: _Findings) -> None:
    """Adds for which references the two ways of judging test code disagree, and what cannot be proved of them."""
    pairs = zip(one.first, one.together, strict=False)
    unlike = [
        f"#{number} {_described(apart)}, {_described(together)} together with its tests"
        for number, (apart, together) in enumerate(pairs, 1)
        if apart.outcome != together.outcome
    ]
    if unlike:
        one.remarks.append("the ways of judging disagree: " + "; ".join(unlike[:MAX_NAMED]))
    plan = one.ready.plan if one.ready is not None else None
    if plan is not None and plan.sites and all(site.rich and not site.shown for site in plan.sites):
        one.remarks.append("its tests expect no values: of their assertions only the truth can be altered")


def _missing(feedbacks: Sequence[Feedback]) -> tuple[str, ...]:
    """Packages that references, or test code, wanted to import and could not."""
    found: set[str] = set()
    for feedback in feedbacks:
        message = feedback.message or ""
        if feedback.error_type in ("ModuleNotFoundError", "ImportError"):
            found.update(_NO_MODULE.findall(message))
        elif feedback.error_type == "NameError" and _NO_SORTED.search(message):
            found.add("sortedcontainers")  # which LeetCode imports for a program
    return tuple(sorted(found - set(sys.stdlib_module_names)))


def _judge_references(one: _Findings) -> float | None:
    """Adds what the references' runs say; the calibrated limit, None where no reference passes."""
    total = len(one.first)
    passed = [feedback for feedback in one.first if feedback.outcome == "pass"]
    failed = [
        f"#{number} {_described(feedback)}"
        for number, feedback in enumerate(one.first, 1)
        if feedback.outcome != "pass"
    ]
    if one.longer:
        needed = [max(test.cpu_s for test in feedback.tests) for feedback in one.longer if feedback.outcome == "pass"]
        needs = f"{min(needed):.2g} s are needed" if needed else f"{LONGER:g} times as much is not enough"
        one.bad.append(f"too slow: no reference ends within {one.limit_s:g} s of CPU time per test, {needs}")
    elif not passed:
        one.bad.append(f"no reference passes ({total} tried): " + "; ".join(failed[:MAX_NAMED]))
    elif failed:
        one.remarks.append(f"{len(failed)} of {total} references fail: " + "; ".join(failed[:MAX_NAMED]))
    if several := _several_answers(one.first):
        (one.remarks if passed else one.bad).append(several)
    unlike = [
        f"#{number} {_described(first)}, then {_described(second)}"
        for number, (first, second) in enumerate(zip(one.first, one.second, strict=True), 1)
        if [test.outcome for test in first.tests] != [test.outcome for test in second.tests]
    ]
    if unlike:
        one.bad.append(
            f"flaky: {len(unlike)} of {total} references not the same twice: " + "; ".join(unlike[:MAX_NAMED])
        )
    if not passed:
        return None
    slowest = max(test.cpu_s for feedback in passed for test in feedback.tests)
    if slowest > TIGHT * one.limit_s:
        one.remarks.append(
            f"limit too tight: the slowest reference needs {slowest:.2g} of {one.limit_s:g} s of CPU time per test"
        )
    return min(one.limit_s, max(MIN_LIMIT_S, math.ceil(100 * FACTOR * slowest) / 100))


def _several_answers(found: Sequence[Feedback]) -> str:
    """A sentence where references fail the same test with answers that differ from each other too: all may be right.

    What they gave is told apart by the shortened values of the messages.
    """
    given: dict[int, dict[str, int]] = {}
    for number, feedback in enumerate(found, 1):
        if feedback.outcome == "failure" and feedback.checker != "checker_code":
            outcomes = [test.outcome for test in feedback.tests]
            given.setdefault(outcomes.index("failure"), {}).setdefault(feedback.message, number)
    for place, answers in sorted(given.items()):
        if len(answers) > 1:
            numbers = " and ".join(f"#{number}" for number in list(answers.values())[:MAX_NAMED])
            return f"{SEVERAL_ANSWERS}: references {numbers} differ in test {place + 1}; it may need a checker_code"
    return ""


def _described(feedback: Feedback) -> str:
    if feedback.outcome == "pass":
        return "pass"
    place = next((number for number, test in enumerate(feedback.tests, 1) if test.outcome == feedback.outcome), 0)
    where = f" at line {feedback.line}" if feedback.line else ""
    message = f" ({feedback.message[:80]})" if feedback.message else ""
    return f"{feedback.error_type or feedback.outcome} in test {place}{where}{message}"
