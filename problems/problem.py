"""A problem, the tests that judge it, and a named set of problems."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from itertools import takewhile
from typing import Any, Literal, get_args

from rltf.config import is_user_name
from rltf.problems.long_integers import with_long_integers
from rltf.problems.special_judges import INTERACTIVE, is_interactive

Kind = Literal["stdin", "call", "assert"]
CHECKERS = {
    "standard": "line by line, token by token, floats within the tolerance",
    "tokens": "line ends do not count either, nor how a number is written",
    "codecontests": "as `tokens`, and letter case does not count: CodeContests' own harness compares so",
    "apps_compat": "the rules behind published figures of APPS, known to be too lenient",
}
"""Rules that compare expected and actual output, by name (`executor.checkers`)."""


SITES = {
    "apps": "the imports of the APPS harness; an argument that is a dictionary of numbers as texts has numbers as keys",
    "leetcode": "what a `class Solution` finds imported on LeetCode, and recursion of 50,000 levels",
    "livecodebench": "the imports of LiveCodeBench's harness, and recursion of 50,000 levels",
}
"""What programs may count on before their first line, by name (`executor.sites`)."""


MAX_TIME_LIMIT_S = 3600
MAX_MEMORY_LIMIT_MB = 2**20
"""Bounds of a problem's own limits: beyond them they are mistakes, and would not fit into what an executor sets limits
with."""


def _require_text(what: str, *texts: str) -> None:
    """Raises ValueError for a text that UTF-8 cannot hold: JSON can write half of a surrogate pair, which no tokenizer
    takes.
    """
    for text in texts:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{what} must be text that UTF-8 can hold") from None


def hash_of(suite_json: bytes) -> str:
    """Content hash of tests (`TestSuite.to_json`): BLAKE2b, 16 bytes, hex."""
    return blake2b(suite_json, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class TestSuite:
    """All that an executor needs to judge a program: tests and limits, no statement and no solutions.

    Inputs and outputs are JSON values, so a suite survives `to_json` / `from_json` unchanged.
    """

    __test__ = False  # the name starts with Test: keeps pytest from collecting it

    kind: Kind
    """stdin: a whole program, text in, text out; call: a function's arguments and return value; assert: statements
    about it."""
    fn_name: str | None
    """call: the function, or the method of a class `Solution`; assert: the function under test if the data names it."""
    inputs: tuple[Any, ...]
    """stdin: one string per test; call: one list of positional arguments per test; assert: empty."""
    outputs: tuple[Any, ...]
    """stdin: the expected text; call: the expected return value; assert: empty."""
    asserts: tuple[str, ...] = ()
    """assert: the source of one test each."""
    setup: str = ""
    """assert: code that runs before the tests and beside the program's names (imports, helpers, a `check` function)."""
    time_limit_s: float | None = None
    """CPU seconds per test; None: the executor's own limit."""
    memory_limit_mb: int | None = None
    """Memory in MiB; None: the executor's own limit."""
    checker: str = "standard"
    """The rule that compares expected and actual output where there is no `checker_code`: one of CHECKERS, or
    `module:name` of the user's files."""
    way: Literal["", "split", "together"] = ""
    """assert: whether the program has a process of its own or shares one with the tests (docs/executor.md); empty: what
    their text asks for."""
    tolerance: float | None = None
    """By how much a float may differ, absolute or relative, whichever allows more; None: the checker's own."""
    site: str = ""
    """Whose conventions programs may count on, one of SITES; empty: nobody's, but of a `class Solution` LeetCode's."""
    prelude: str = ""
    """Import statements, one per line, that programs find done: those of the code that they are to begin with."""
    checker_code: str = ""
    """stdin and call, where several answers are right: source of `check(input, expected, output)`, which says whether
    one is accepted (`problems.special_judges`)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a suite that no executor could judge by."""
        if self.kind not in get_args(Kind):
            raise ValueError(f"unknown kind of tests {self.kind!r}")
        if len(self.inputs) != len(self.outputs):
            raise ValueError(f"{len(self.inputs)} inputs but {len(self.outputs)} outputs")
        if self.count == 0:
            raise ValueError("there are no tests")
        if "" in self.asserts:
            raise ValueError(f"number {self.asserts.index('') + 1} of its tests is empty: every program would pass it")
        if self.kind == "stdin" and not all(isinstance(text, str) for text in (*self.inputs, *self.outputs)):
            raise ValueError("inputs and outputs of a stdin problem must be strings")
        if self.kind == "call" and not (self.fn_name and all(isinstance(arguments, list) for arguments in self.inputs)):
            raise ValueError("a call-based problem needs fn_name and one list of arguments per test")
        if self.time_limit_s is not None and not 0 < self.time_limit_s <= MAX_TIME_LIMIT_S:
            raise ValueError(f"time_limit_s must be more than 0 and at most {MAX_TIME_LIMIT_S:,}")
        if self.memory_limit_mb is not None and not 0 < self.memory_limit_mb <= MAX_MEMORY_LIMIT_MB:
            raise ValueError(f"memory_limit_mb must be more than 0 and at most {MAX_MEMORY_LIMIT_MB:,}")
        if self.checker not in CHECKERS and not is_user_name(self.checker):
            raise ValueError(f"unknown checker {self.checker!r}, known: {', '.join(CHECKERS)}")
        if self.site and self.site not in SITES:
            raise ValueError(f"unknown site {self.site!r}, known: {', '.join(SITES)}")
        if self.way not in ("", "split", "together"):
            raise ValueError(f"unknown way of judging {self.way!r}: split or together")
        if self.tolerance is not None and not 0 <= self.tolerance < 1:
            raise ValueError("tolerance must be at least 0 and less than 1")
        if self.checker_code and self.kind == "assert":
            raise ValueError("checker_code is for inputs and outputs: assert statements compare by themselves")

    def __hash__(self) -> int:
        """Hash by content: the generated one would fail on the lists inside."""
        return hash(self.content_hash)

    @property
    def count(self) -> int:
        """Number of tests."""
        return len(self.asserts) if self.kind == "assert" else len(self.inputs)

    @property
    def rule(self) -> str:
        """Name of what compares outputs: the checker, or `checker_code`."""
        return "checker_code" if self.checker_code else self.checker

    @property
    def content_hash(self) -> str:
        """`hash_of` of `to_json`: equal for equal tests and limits, in every process and on every machine."""
        return hash_of(self.to_json())

    def to_json(self) -> bytes:
        """Canonical ASCII JSON.

        Fields in a fixed order; the key order of dicts among the arguments is kept, programs can see it.
        """
        record: dict[str, Any] = {
            "kind": self.kind,
            "fn_name": self.fn_name,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "asserts": self.asserts,
            "setup": self.setup,
            "time_limit_s": self.time_limit_s,
            "memory_limit_mb": self.memory_limit_mb,
            "checker": self.checker,
        }
        if self.tolerance is not None:
            record["tolerance"] = self.tolerance
        if self.checker_code:
            record["checker_code"] = self.checker_code
        texts = (("site", self.site), ("prelude", self.prelude), ("way", self.way))
        record |= {name: text for name, text in texts if text}
        return with_long_integers(json.dumps, record, separators=(",", ":")).encode("ascii")

    @staticmethod
    def from_json(data: bytes) -> TestSuite:
        """Inverse of `to_json`. Raises ValueError when the bytes are not a test suite."""
        record = with_long_integers(json.loads, data)
        if not isinstance(record, dict):
            raise ValueError("a test suite must be a JSON object")
        try:
            return TestSuite(
                kind=record["kind"],
                fn_name=record["fn_name"],
                inputs=tuple(record["inputs"]),
                outputs=tuple(record["outputs"]),
                asserts=tuple(record["asserts"]),
                setup=record["setup"],
                time_limit_s=record["time_limit_s"],
                memory_limit_mb=record["memory_limit_mb"],
                checker=record["checker"],
                way=record.get("way", ""),
                tolerance=record.get("tolerance"),
                site=record.get("site", ""),
                prelude=record.get("prelude", ""),
                checker_code=record.get("checker_code", ""),
            )
        except KeyError as error:
            raise ValueError(f"a test suite needs the field {error}") from None
        except TypeError as error:
            raise ValueError(f"a field of the test suite has the wrong type: {error}") from None


@dataclass(frozen=True, slots=True)
class Problem:
    """One programming problem."""

    id: str
    """Unique over the sets of a run, for example `train/0001`, `mbpp/11`, `starter/call/add-3/sum`."""
    question: str
    """The statement."""
    starter_code: str
    """Code that the program is to begin with; empty if there is none."""
    suite: TestSuite
    """The tests."""
    solutions: tuple[str, ...]
    """Reference programs. Those of `starter` are for tests and checks only: no training step sees them."""
    difficulty: str
    """The data set's own word, `unknown` if it has none."""
    prompt_style: str
    """Format in which the problem is shown to a model, one of `problems.prompts.STYLES`."""
    shown_tests: int = 3
    """Of the style mbpp: assert statements that the model is shown, the first ones."""
    examples: tuple[int, ...] = ()
    """Positions in the suite, from 0, of the tests that the statement shows or the data set calls public."""
    demonstrations: tuple[Problem, ...] = field(default=(), compare=False, repr=False)
    """Problems of the same data set that a few-shot prompt shows with their first solution."""

    def __post_init__(self) -> None:
        """Raise ValueError for texts that cannot be shown to a model, or say nothing, and for examples that are no
        tests.
        """
        if not self.question.strip():
            raise ValueError("its question is empty")
        if self.suite.kind == "stdin" and is_interactive(self.question):
            raise ValueError(INTERACTIVE)
        _require_text("id", self.id)
        _require_text("question", self.question)
        _require_text("starter_code", self.starter_code)
        _require_text("solutions", *self.solutions)
        if not set(self.examples) <= set(range(self.suite.count)):
            raise ValueError(f"example_tests must be positions of its {self.suite.count} tests, counted from 0")

    @property
    def example_tests(self) -> tuple[int, ...]:
        """Positions of the tests that the model may know: its examples, and those that a prompt may show
        (`shown_tests`).
        """
        return tuple(sorted({*self.examples, *range(len(self.shown_asserts))}))

    @property
    def shown_asserts(self) -> tuple[str, ...]:
        """The first `shown_tests` of a list of asserts, which a prompt may show."""
        return tuple(takewhile(lambda test: test.startswith("assert"), self.suite.asserts[: self.shown_tests]))


@dataclass(frozen=True, slots=True)
class Skipped:
    """A problem that could not be used."""

    id: str
    """Id, or the place in the file."""
    reason: str
    """What is wrong with it, one sentence without a full stop."""
    place: str = ""
    """The place in the file, where the id is another."""

    @property
    def where(self) -> str:
        """Place and id."""
        return f"{self.place}, {self.id}" if self.place and self.place != self.id else self.id

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class UnreadFields:
    """Fields of a record that nobody reads (`problems.fields`)."""

    id: str
    """Of the problem."""
    place: str
    """The place in the file, or the folder."""
    fields: Mapping[str, str]
    """Names, each with what was probably meant, or empty for a data set's own."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of several sets that are used together."""

    name: str
    """Its SPEC."""
    ids: frozenset[str]
    """Of its problems."""
    weight: int
    """Its share of the visits, beside the others' weights; 0: none has one, and all problems are visited alike."""


@dataclass(frozen=True)
class ProblemSet:
    """The problems of one SPEC, in the order of the data."""

    name: str
    """The SPEC as it was written."""
    problems: tuple[Problem, ...]
    """Usable problems; ids are unique."""
    skipped: tuple[Skipped, ...] = ()
    """Problems of the data that could not be used, to be counted and shown."""
    unread: tuple[UnreadFields, ...] = ()
    """Records with fields that nobody reads, usable or not."""
    parts: tuple[Part, ...] = ()
    """The sets that it was put together from; empty for one SPEC."""

    def __len__(self) -> int:
        """Number of usable problems."""
        return len(self.problems)

    def __iter__(self) -> Iterator[Problem]:
        """Iterate over the usable problems."""
        return iter(self.problems)

    @property
    def shares(self) -> list[tuple[int, list[str]]]:
        """Weight and ids of each part that has a problem left; empty where no part has a weight."""
        found = [(part.weight, [problem.id for problem in self if problem.id in part.ids]) for part in self.parts]
        return [(weight, ids) for weight, ids in found if weight and ids]

    def sample(self, count: int | None) -> ProblemSet:
        """At most `count` of the problems (None: all), drawn at random but the same in every run, in the order of the
        data.

        Data sets are often sorted, APPS by difficulty, so the first ones would be of one kind.
        """
        if count is None or count >= len(self):
            return self
        chosen = sorted(random.Random("sample").sample(range(len(self)), count))
        return replace(self, problems=tuple(self.problems[index] for index in chosen))

    @cached_property
    def by_id(self) -> dict[str, Problem]:
        """Problems by id, and by the last part of the id (`0001` for `train/0001`) where only one problem has it."""
        last_parts: dict[str, list[Problem]] = {}
        for problem in self.problems:
            last_parts.setdefault(problem.id.rsplit("/", 1)[-1], []).append(problem)
        short = {name: problems[0] for name, problems in last_parts.items() if len(problems) == 1}
        return short | {problem.id: problem for problem in self.problems}
