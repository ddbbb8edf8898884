"""The executor's verdicts beside those that public data sets come with: references that must pass, programs with a
known status and line.

    python -m benchmarks.real_data [--only NAME ..] [--sample N] [--data FOLDER] [--humaneval FILE] [--lanes N] [--json
    FILE]

FOLDER (default: ../shared/data beside the project) holds the data sets (CONTRIBUTING.md says which); one that is absent
is left out by name. Each disagreement is either explained by a rule that is checked against the program's own results,
or listed as unexplained; the exit code is 1 if one is.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import os
import platform
import random
import re
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rltf.buffer.records import Feedback
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.problems import load_problems
from rltf.problems.problem import TestSuite

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
TIME_LIMIT_S, MEMORY_LIMIT_MB = 4.0, 1024
MODULE = re.compile(r"\b(collections|bisect|heapq|itertools|functools|operator)\.")
STATUS = {"pass": "pass", "failure": "wrong", "runtime_error": "runtime_error", "compile_error": "compile_error"}


@dataclass(frozen=True, slots=True)
class Item:
    """A program and what is known of it."""

    name: str
    suite: TestSuite
    program: str
    status: str
    """pass, wrong, runtime_error, compile_error, timeout, or "not pass" where no more is known."""
    error: str | None = None
    """Exception class, where it is known."""
    line: int | None = None
    """Line, where it is known."""
    calls: frozenset[str] = frozenset()
    """debugbench: names by which the label-maker passed arguments."""
    tests: tuple[str, ...] = ()
    """Per test, where it is known: PASS, WRONG, TIMEOUT or ERR with a class; or one CRASH where the program did not
    load."""


Explain = Callable[[Item, Feedback], str]
"""Why a verdict differs, as far as that can be checked; empty where nothing explains it."""


@dataclass
class Compared:
    """One data set's row."""

    name: str
    programs: int = 0
    agree: int = 0
    """Same status, and same class, line and results of single tests where those are known."""
    lines: int = 0
    """Programs whose line is known, and the same here."""
    lines_known: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    seconds: float = 0.0


def compare(name: str, items: Iterable[Item], judge: SandboxJudge, explain: Explain) -> Compared:
    """Judges every item and compares."""
    items = list(items)
    row = Compared(name, programs=len(items))
    start = time.monotonic()
    for item, result in zip(items, judge.grade([(item.suite, item.program) for item in items]), strict=True):
        if not isinstance(result, Feedback):
            row.unexplained.append(f"{item.name}: not judged: {result.reason}")
            continue
        same_line = item.line is None or item.line == result.line
        row.lines_known += item.line is not None
        row.lines += item.line is not None and same_line
        if _same(item, result) and same_line:
            row.agree += 1
        elif reason := explain(item, result):
            row.explained[reason] += 1
        else:
            known = (item.status, item.error, item.line, *item.tests)
            tests = " ".join(test.error_type or test.outcome for test in result.tests)
            here = (status(result), result.error_type, result.line, result.message)
            row.unexplained.append(f"{item.name}: {known}, here {here}, {tests}")
    row.seconds = time.monotonic() - start
    return row


def status(feedback: Feedback) -> str:
    """An outcome in the words of the data sets."""
    return "timeout" if feedback.error_type == "TimeLimit" else STATUS[feedback.outcome]


def _same(item: Item, feedback: Feedback) -> bool:
    if item.status == "not pass":
        return feedback.outcome != "pass"
    if item.tests and item.tests[0].startswith("CRASH"):  # before the first test, which here is each test's own
        return all(test.error_type == item.tests[0].removeprefix("CRASH ") for test in feedback.tests)
    if item.tests:
        return list(item.tests) == _words(feedback)
    return item.status == status(feedback) and (item.error is None or item.error == feedback.error_type)


def _words(feedback: Feedback) -> list[str]:
    """Results of single tests as refactory writes them; nothing runs after a time limit."""
    words = []
    for test in feedback.tests:
        if test.error_type == "TimeLimit":
            return [*words, "TIMEOUT"]
        words.append({"pass": "PASS", "failure": "WRONG"}.get(test.outcome, f"ERR {test.error_type}"))
    return words


def _nothing(item: Item, feedback: Feedback) -> str:
    return ""


def first_failing(feedback: Feedback) -> tuple[str, str | None]:
    """Status and class of the first test that does not pass, which is where many harnesses stop."""
    for test in feedback.tests:
        if test.outcome not in ("pass", "not_run"):
            return "timeout" if test.error_type == "TimeLimit" else STATUS[test.outcome], test.error_type
    return "pass", None


def stops_at_first(item: Item, feedback: Feedback) -> str:
    """The label is that of the first test that fails; here a later test, which raises, counts more."""
    if (
        item.status == "wrong"
        and status(feedback) in ("runtime_error", "timeout")
        and first_failing(feedback)[0] == "wrong"
    ):
        return "label of the first test that fails; a later one raises"
    return ""


def in_one_namespace(item: Item, feedback: Feedback) -> str:
    """The label-maker ran all tests of a program in one namespace; here each begins afresh, with what the program
    itself defines.
    """
    if item.status == "wrong" and feedback.outcome == "pass":
        together = replace(item.suite, asserts=("\n".join(item.suite.asserts),))
        with SandboxJudge(1, TIME_LIMIT_S, MEMORY_LIMIT_MB) as judge:
            (result,) = judge.grade([(together, item.program)])
        if isinstance(result, Feedback) and result.outcome == "failure":
            return "a global variable of the program, changed by an earlier assert, fails a later one"
    if item.status == "timeout" and max(test.cpu_s for test in feedback.tests) > TIME_LIMIT_S / 2:
        return "it ends close to the limit"
    return stops_at_first(item, feedback)


def _zipped(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path) as lines:
        return [json.loads(line) for line in lines]


def _apps_layout(checker: str) -> Callable[[Path], Iterator[Item]]:
    def items(data: Path) -> Iterator[Item]:
        """1,900 problems in the APPS layout, all of their solutions."""
        with tempfile.TemporaryDirectory() as folder, tarfile.open(data / "apps_layout" / "dev.tar.gz") as archive:
            archive.extractall(folder, filter="data")
            for problem in load_problems(f"apps:{folder}/APPS_like,checker={checker}"):
                for number, solution in enumerate(problem.solutions):
                    yield Item(f"{problem.id} #{number}", problem.suite, solution, "pass")

    return items


def looser_makers(item: Item, feedback: Feedback) -> str:
    """The data set's maker compared word by word and numbers by value, as `tokens` does."""
    with SandboxJudge(1, TIME_LIMIT_S, MEMORY_LIMIT_MB) as judge:
        (result,) = judge.grade([(replace(item.suite, checker="tokens"), item.program)])
    passes = isinstance(result, Feedback) and result.outcome == "pass"
    return f"accepted by `tokens`, the maker's rule: {feedback.message[:60]!r}" if passes else ""


def _references(spec: str) -> Iterator[Item]:
    for problem in load_problems(spec):
        for number, solution in enumerate(problem.solutions):
            yield Item(f"{problem.id} #{number}", problem.suite, solution, "pass")


def mbpp(data: Path) -> Iterator[Item]:
    """The 974 references of the full file."""
    return _references(f"mbpp:{data / 'mbpp' / 'mbpp.jsonl'}")


def mbpp_sanitized(data: Path) -> Iterator[Item]:
    """The 427 references of the sanitized file."""
    return _references(f"mbpp:{data / 'mbpp' / 'sanitized-mbpp.json'}")


def _verified(name: str) -> Callable[[Path], Iterator[Item]]:
    def items(data: Path) -> Iterator[Item]:
        """References of the problems that the data set's maker verified."""
        file = data / name / "dev.jsonl.gz"
        verified = {row["id"] for row in _zipped(file) if row["verified"]}
        return (item for item in _references(f"jsonl:{file}") if item.name.rpartition(" ")[0] in verified)

    return items


PUBLISHED = {"True": "pass", "False": "wrong", "-1": "runtime_error", "-2": "compile_error"}


def _rltf(checker: str) -> Callable[[Path], Iterator[Item]]:
    def items(data: Path) -> Iterator[Item]:
        """83 programs that a model wrote for five APPS problems, with the results that RLTF published."""
        with tempfile.TemporaryDirectory() as folder, tarfile.open(data / "rltf_apps" / "train5.tar.gz") as archive:
            archive.extractall(folder, filter="data")
            root = Path(folder) / "rltf_apps" / "APPS"
            for problem in load_problems(f"apps:{root},split=train,checker={checker}"):
                for number, row in enumerate(json.loads((root / problem.id / "gen_solutions.json").read_text())):
                    label = "timeout" if row["error_type"] == "timeoutexception" else PUBLISHED[str(row["result"])]
                    yield Item(f"{problem.id} #{number}", problem.suite, row["code"], label)

    return items


def apps_semantics(item: Item, feedback: Feedback) -> str:
    """Where the APPS harness runs a program otherwise than Python does."""
    if feedback.outcome == "compile_error" and "outside function" in feedback.message:
        return "the harness ran programs inside a function, where `return` is allowed"
    if item.status == "compile_error" and feedback.outcome == "runtime_error" and item.suite.kind == "call":
        return "the harness counts an exception at import as a compile error"
    return ""


def mbpp_labeled(data: Path) -> Iterator[Item]:
    """4,298 programs that nine models wrote for MBPP, with status, exception and deepest line."""
    problems = load_problems(f"mbpp:{data / 'mbpp' / 'mbpp.jsonl'}").by_id
    for row in _zipped(data / "gen_samples" / "mbpp_labeled.jsonl.gz"):
        known = row["status"] in ("runtime_error", "compile_error")
        name = f"{row['task']} {row['src']}"
        suite = problems["mbpp/" + row["task"].removeprefix("MBPP/")].suite
        yield Item(
            name, suite, row["code"], row["status"], row["error"] if known else None, row["line"] if known else None
        )


def refactory(data: Path) -> Iterator[Item]:
    """3,035 student programs for three small tasks, with the result of every test."""
    suites = {}
    for number, question in json.loads((data / "refactory" / "dev_questions.json").read_text()).items():
        asserts = tuple(f"assert {call} == {expected}" for call, expected in question["tests"])
        suites[int(number)] = TestSuite("assert", None, (), (), asserts, time_limit_s=1.0), question["glob"]
    for row in _zipped(data / "refactory" / "dev.jsonl.gz"):
        suite, before = suites[row["question"]]
        tests = tuple(row["per_test"])
        label = "pass" if row["passed"] else "timeout" if "TIMEOUT" in tests else "wrong"
        yield Item(f"{row['question']} {row['file']}", suite, before + row["code"], label, tests=tests)


def debugbench(data: Path) -> Iterator[Item]:
    """638 LeetCode programs with an injected bug, and the same without it, with what running them shows.

    Problems about trees and lists have no plain tests: theirs are the data set's check functions, with its helpers
    before the program.
    """
    suites = {problem.id: problem.suite for problem in load_problems(f"jsonl:{data / 'leetcode' / 'dev.jsonl.gz'}")}
    checks = {row["task_id"]: row for row in _zipped(data / "leetcode" / "raw_asserts_dev.jsonl.gz")}
    for row in _zipped(data / "debugbench" / "dev.jsonl.gz"):
        suite, check = suites.get("leetcode/" + row["slug"]), checks[row["slug"]]
        helpers = ""
        if suite is None:
            suite = TestSuite("assert", None, (), (), (f"check({check['entry_point']})",), setup=check["test"])
            helpers = check["prompt"].rstrip() + "\n"
        for kind in ("buggy", "correct"):
            label, error, line = row[f"res_{kind}"]
            shifted = None if line is None else line + helpers.count("\n")
            names = _keywords(check["test"])
            yield Item(f"{row['id']} {kind}", suite, helpers + row[kind], label, error, shifted, calls=names)


def _keywords(test: str) -> frozenset[str]:
    calls = [node for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Call)]
    return frozenset(keyword.arg for call in calls for keyword in call.keywords if keyword.arg)


def site_names(item: Item, feedback: Feedback) -> str:
    """Where the label-maker's harness called a program otherwise than the site, and this judge, do."""
    lines = item.program.splitlines()
    if item.error == "NameError" and item.line and MODULE.search(lines[item.line - 1]):
        return "the label-maker's harness had no modules imported by name; the site has, and so has the judge"
    if item.error in ("TypeError", "AttributeError") and item.line is None and feedback.outcome != "compile_error":
        function = re.escape(item.suite.fn_name or "")
        found = re.search(rf"^( *)def {function}\(([^)]*)\)", item.program, re.MULTILINE)
        if found and not found.group(1):
            return "the method is outside of its class, where the label-maker did not look"
        if found and not item.calls <= set(re.findall(r"\w+", found.group(2))):
            return "the label-maker passed arguments by names that the program does not have"
    return stops_at_first(item, feedback)


def humaneval(file: Path) -> Iterator[Item]:
    """The 164 canonical solutions of HumanEval, and each problem's prompt alone, which must not pass."""
    for row in _zipped(file):
        suite = TestSuite("assert", row["entry_point"], (), (), (f"check({row['entry_point']})",), setup=row["test"])
        yield Item(row["task_id"], suite, row["prompt"] + row["canonical_solution"], "pass")
        yield Item(row["task_id"] + " without a body", suite, row["prompt"] + "    pass\n", "not pass")


SETS: dict[str, tuple[Callable[[Path], Iterator[Item]], Explain]] = {
    "apps_layout, standard": (_apps_layout("standard"), looser_makers),
    "apps_layout, tokens": (_apps_layout("tokens"), _nothing),
    "mbpp": (mbpp, _nothing),
    "mbpp_sanitized": (mbpp_sanitized, _nothing),
    "leetcode": (_verified("leetcode"), looser_makers),
    "codecontests": (_verified("codecontests"), looser_makers),
    "taco_test": (_verified("taco_test"), looser_makers),
    "rltf_apps, apps_compat": (_rltf("apps_compat"), _nothing),
    "rltf_apps, standard": (_rltf("standard"), apps_semantics),
    "mbpp_labeled": (mbpp_labeled, in_one_namespace),
    "refactory": (refactory, _nothing),
    "debugbench": (debugbench, site_names),
}
"""Every data set: its items, and what explains a disagreement."""


def main() -> int:
    """Entry point; the exit code is 1 when a disagreement has no explanation, 2 when there is no data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"some of: {'; '.join(SETS)}")
    parser.add_argument("--sample", type=int, metavar="N", help="only N programs of each set, drawn with a fixed seed")
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER")
    parser.add_argument("--humaneval", type=Path, metavar="FILE", help="HumanEval.jsonl.gz, which is compared as well")
    parser.add_argument("--lanes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    sets = {name: entry for name, entry in SETS.items() if not options.only or name in options.only}
    if options.humaneval:
        sets["humaneval"] = (lambda _: humaneval(options.humaneval), _nothing)
    console = Console(soft_wrap=True, highlight=False)
    rows = []
    with SandboxJudge(options.lanes, TIME_LIMIT_S, MEMORY_LIMIT_MB) as judge:
        for name, (items, explain) in sets.items():
            try:
                chosen = list(items(options.data))
            except FileNotFoundError as error:
                console.print(f"{name} is left out: {error.filename} is absent", markup=False)
                continue
            if options.sample and options.sample < len(chosen):
                chosen = random.Random(0).sample(chosen, options.sample)
            rows.append(compare(name, chosen, judge, explain))
            console.print(f"{name}: {rows[-1].agree} of {rows[-1].programs} in {rows[-1].seconds:.0f} s", markup=False)
        python = judge.python_version
    if not rows:
        return 2
    show(rows, python, console)
    if options.json:
        options.json.write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n")
    return 1 if any(row.unexplained for row in rows) else 0


def show(rows: list[Compared], python: str, console: Console) -> None:
    """Prints the table, and each disagreement that nothing explains."""
    columns = ("data set", "programs", "agree", "lines", "explained", "unexplained")
    table = Table(*columns, title=f"Python {python}, {platform.machine()}")
    for row in rows:
        lines = f"{row.lines} / {row.lines_known}" if row.lines_known else ""
        explained = row.explained.total() or ""
        table.add_row(*map(str, (row.name, row.programs, row.agree, lines, explained, len(row.unexplained))))
    console.print(table)
    for row in rows:
        for reason, count in row.explained.items():
            console.print(f"{row.name}: {count}: {reason}", markup=False)
        for sentence in row.unexplained:
            console.print(f"{row.name}: unexplained: {sentence}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
