"""The tasks: one or two operations and a reducer, in one of two forms, with ten tests each; made anew from a seed in
under a second.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rltf.problems.problem import Problem, TestSuite
from rltf.problems.starter import operations, reducers
from rltf.problems.starter.line_template import LineTemplate, fill
from rltf.problems.starter.operations import OPERATIONS, Operation
from rltf.problems.starter.reducers import REDUCERS, Form, Reducer, begin_line, finish_line

COUNTS = {"train": 3072, "heldout": 384}
"""Tasks of each split."""
CALL_SHARE = 0.8
"""Share of the tasks that ask for a function; the others ask for a program that reads and prints."""
ONE_OPERATION_SHARE = 0.4
"""Share of the tasks with one operation; the others have two."""
HELD_OUT_SHARE = {1: 0.25, 2: 0.15}
"""Share of the sequences of one and of two operations that only held-out tasks have."""
TIME_LIMIT_S = 1.0
"""CPU seconds per test: a right program takes microseconds, and one that hangs should not hold an executor for long."""

_SPLIT_SEED = "starter split 1"  # which sequences are held out does not depend on the run's seed
_DISTINCT_OUTPUTS = 4


@dataclass(frozen=True, slots=True)
class Task:
    """What a starter problem asks for, without its wording and tests."""

    form: Form
    steps: tuple[tuple[Operation, int], ...]
    """Operations in order, each with its constant (0 where it has none)."""
    reducer: Reducer

    @property
    def id(self) -> str:
        """For example `starter/call/add-3/sort/sum`: it says all of the task, and `from_id` reads it."""
        steps = [f"{operation.name}-{k}" if operation.constants else operation.name for operation, k in self.steps]
        return "/".join(["starter", self.form, *steps, self.reducer.name])

    @staticmethod
    def from_id(text: str) -> Task:
        """Inverse of `id`. Raises ValueError for a text that is no starter task's id."""
        try:
            source, form, *steps, reducer = text.split("/")
            if source != "starter" or form not in ("call", "stdin") or not steps:
                raise ValueError(text)
            parsed = []
            for step in steps:
                name, _, k = step.partition("-")
                parsed.append((operations.BY_NAME[name], int(k or 0)))
            task = Task(form, tuple(parsed), reducers.BY_NAME[reducer])  # type: ignore[arg-type]  # mypy does not narrow by `in`
        except (KeyError, ValueError):
            raise ValueError(f"{text!r} is not the id of a starter task") from None
        return task

    @property
    def sequence(self) -> tuple[str, ...]:
        """Names of the operations in order: what training and held-out tasks never share."""
        return tuple(operation.name for operation, _ in self.steps)

    def answer(self, xs: list[int]) -> Any:
        """The right answer for `xs`, by the trusted reference functions."""
        for operation, k in self.steps:
            xs = operation.apply(xs, k)
        return self.reducer.apply(xs)

    def lines(self) -> list[LineTemplate]:
        """Lines of a program for it, first to last, constants filled in."""
        steps = [
            LineTemplate(
                tuple(fill(variant, k) for variant in operation.line.right),
                tuple(fill(variant, k) for variant in operation.line.wrong),
                operation.line.wrong_probability,
            )
            for operation, k in self.steps
        ]
        return [begin_line(self.form), *steps, finish_line(self.form, self.reducer)]


def program_text(form: Form, lines: Sequence[str]) -> str:
    """Program of its lines: the body of a function is indented."""
    indent = "    " if form == "call" else ""
    return "\n".join([lines[0], *(indent + line for line in lines[1:])]) + "\n"


def reference_program(task: Task) -> str:
    """A right program for tests and checks, named so that the corpus never writes its like (its list is `values`, not
    `xs`).
    """
    text = program_text(task.form, [line.right[0] for line in task.lines()])
    return re.sub(r"\bxs\b", "values", text)


def starter_problems(split: str, seed: int) -> Iterator[Problem]:
    """Problems of a split (`train` or `heldout`), in a random order.

    The seed draws constants, wording, forms and tests.
    """
    rng = random.Random(f"starter {split} {seed}")
    one, two = _sequences(split)
    for task in itertools.islice(_tasks(rng, one, two), COUNTS[split]):
        yield _problem(task, rng)


def _sequences(split: str) -> tuple[list[tuple[Operation, ...]], list[tuple[Operation, ...]]]:
    """Sequences of one and of two operations that belong to a split."""
    rng = random.Random(_SPLIT_SEED)
    found = []
    for length in (1, 2):
        sequences: list[tuple[Operation, ...]] = list(itertools.permutations(OPERATIONS, length))
        rng.shuffle(sequences)
        held_out = round(HELD_OUT_SHARE[length] * len(sequences))
        found.append(sequences[:held_out] if split == "heldout" else sequences[held_out:])
    return found[0], found[1]


def _tasks(rng: random.Random, one: list[tuple[Operation, ...]], two: list[tuple[Operation, ...]]) -> Iterator[Task]:
    """Distinct sensible tasks; a sequence and reducer may come again with other constants or in the other form."""
    streams = [_candidates(rng, one), _candidates(rng, two)]
    seen: set[str] = set()
    while streams:
        stream = streams[0] if len(streams) == 2 and rng.random() < ONE_OPERATION_SHARE else streams[-1]
        task = next((task for task in stream if task.id not in seen and _is_sensible(task)), None)
        if task is None:
            streams.remove(stream)
        else:
            seen.add(task.id)
            yield task


def _candidates(rng: random.Random, sequences: list[tuple[Operation, ...]]) -> Iterator[Task]:
    combinations = list(itertools.product(sequences, REDUCERS))
    for _ in range(8):
        rng.shuffle(combinations)
        for sequence, reducer in combinations:
            form: Form = "call" if rng.random() < CALL_SHARE else "stdin"
            yield Task(
                form, tuple((step, rng.choice(step.constants) if step.constants else 0) for step in sequence), reducer
            )


def _is_sensible(task: Task) -> bool:
    """Whether each operation matters (sorting before a sum does not), and answers vary enough that none can
    be guessed.
    """
    answers = [task.answer(xs) for xs in _PROBES]
    if len({str(answer) for answer in answers}) < len(_PROBES) // 3:
        return False
    steps = tuple((operation.name, k) for operation, k in task.steps)
    for position in range(len(steps)):
        shorter = _answers_of(steps[:position] + steps[position + 1 :], task.reducer.name)
        if sum(other != answer for other, answer in zip(shorter, answers, strict=True)) < 3:
            return False
    return True


@functools.cache
def _answers_of(steps: tuple[tuple[str, int], ...], reducer: str) -> list[Any]:
    """For the probes; operations and reducer by name. What is left of two operations is asked for again and again."""
    task = Task("stdin", tuple((operations.BY_NAME[name], k) for name, k in steps), reducers.BY_NAME[reducer])
    return [task.answer(xs) for xs in _PROBES]


def _random_list(rng: random.Random, length: int) -> list[int]:
    return [rng.randint(-9, 12) for _ in range(length)]


_PROBES = [_random_list(random.Random(f"starter probe {n}"), n % 8 + 1) for n in range(16)]


def _test_inputs(task: Task, rng: random.Random) -> list[list[int]]:
    """Lists on which typical mistakes show: empty, one number, the constants and their neighbours, repeats, then random
    ones.
    """
    constants = [k for operation, k in task.steps if operation.constants] or [rng.randint(1, 6)]
    near = [k + d for k in constants for d in (0, 1, -1, 0)]
    rng.shuffle(near)
    repeated = _random_list(rng, 4)
    edges = [
        [],
        [rng.randint(1, 9)],
        [-rng.randint(2, 9), rng.randint(3, 9)],
        near,
        [*repeated, *repeated[::-1][1:], 0],
    ]
    many = rng.sample(
        range(-9, 13), 14
    )  # most small numbers: after the first operation one of them may be the second's constant
    return [*edges, many, *(_random_list(rng, length) for length in (3, 5, 6, 8))]


def _problem(task: Task, rng: random.Random) -> Problem:
    answers: list[Any] = []
    while len({str(answer) for answer in answers}) < _DISTINCT_OUTPUTS:
        inputs = _test_inputs(task, rng)
        answers = [task.answer(list(xs)) for xs in inputs]
    if task.form == "call":
        suite = TestSuite("call", "f", tuple([xs] for xs in inputs), tuple(answers), time_limit_s=TIME_LIMIT_S)
    else:
        texts = [" ".join(map(str, xs)) + "\n" for xs in inputs]
        printed = [" ".join(map(str, answer)) if isinstance(answer, list) else str(answer) for answer in answers]
        suite = TestSuite(
            "stdin", None, tuple(texts), tuple(text + "\n" for text in printed), time_limit_s=TIME_LIMIT_S
        )
    return Problem(
        id=task.id,
        question=_statement(task, rng),
        starter_code="",
        suite=suite,
        solutions=(reference_program(task),),
        difficulty=f"{len(task.steps)} operation{'s' if len(task.steps) > 1 else ''}",
        prompt_style="starter",
    )


def _statement(task: Task, rng: random.Random) -> str:
    steps = [fill(rng.choice(operation.phrases), k) for operation, k in task.steps]
    answer = rng.choice(task.reducer.phrases)
    if task.form == "call":
        return f"Write f(xs): {', '.join(steps)}, return {answer}."
    return f"Read a line of numbers: {', '.join(steps)}, print {answer}."
