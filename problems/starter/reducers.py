"""What a starter task asks for at its end, and the two ways to take the numbers in and give the answer out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rltf.problems.starter.line_template import LineTemplate

Form = Literal["call", "stdin"]


@dataclass(frozen=True, slots=True)
class Reducer:
    """The answer of a task."""

    name: str
    """Last part of the task's id."""
    meaning: str
    """What it is, one sentence."""
    phrases: tuple[str, ...]
    """Ways to say it in a statement."""
    apply: Callable[[list[int]], Any]
    """The trusted reference: an integer, or a list of integers."""
    right: tuple[str, ...]
    """Correct expressions."""
    wrong: tuple[str, ...]
    """Wrong expressions."""


REDUCERS: tuple[Reducer, ...] = (
    Reducer(
        "sum",
        "The sum, 0 for no numbers.",
        ("the sum", "the total"),
        sum,
        ("sum(xs)",),
        ("sum(x)", "sum(xs[1:])", "xs.sum()"),
    ),
    Reducer(
        "count",
        "How many numbers there are.",
        ("how many there are", "the count"),
        len,
        ("len(xs)",),
        ("len(xs) - 1", "xs.len()", "count(xs)"),
    ),
    Reducer(
        "largest",
        "The largest number, 0 for no numbers.",
        ("the largest or 0", "the maximum or 0"),
        lambda xs: max(xs, default=0),
        ("max(xs, default=0)", "max(xs) if xs else 0"),
        ("max(xs)", "max(xs, 0)", "xs.max()"),
    ),
    Reducer(
        "smallest",
        "The smallest number, 0 for no numbers.",
        ("the smallest or 0", "the minimum or 0"),
        lambda xs: min(xs, default=0),
        ("min(xs, default=0)", "min(xs) if xs else 0"),
        ("min(xs)", "min(xs, 0)", "xs.min()"),
    ),
    Reducer(
        "first",
        "The first number, 0 for no numbers.",
        ("the first or 0", "the first number or 0"),
        lambda xs: xs[0] if xs else 0,
        ("xs[0] if xs else 0", "(xs + [0])[0]"),
        ("xs[0]", "xs[1] if xs else 0", "xs.first()"),
    ),
    Reducer(
        "last",
        "The last number, 0 for no numbers.",
        ("the last or 0", "the last number or 0"),
        lambda xs: xs[-1] if xs else 0,
        ("xs[-1] if xs else 0", "([0] + xs)[-1]"),
        ("xs[-1]", "xs[len(xs)] if xs else 0", "xs.last()"),
    ),
    Reducer(
        "distinct",
        "How many different numbers there are.",
        ("how many differ", "the number of distinct values"),
        lambda xs: len(set(xs)),
        ("len(set(xs))",),
        ("len(xs)", "set(xs)", "len(sets(xs))"),
    ),
    Reducer(
        "spread",
        "The largest number less the smallest, 0 for no numbers.",
        ("the largest minus the smallest or 0", "the range or 0"),
        lambda xs: max(xs) - min(xs) if xs else 0,
        ("max(xs) - min(xs) if xs else 0", "max(xs, default=0) - min(xs, default=0)"),
        ("max(xs) - min(xs)", "min(xs) - max(xs) if xs else 0", "max(xs) - xs[0] if xs else 0"),
    ),
    Reducer("list", "The numbers themselves.", ("the list", "all of them"), list, ("xs",), ("x", "xs[1:]", "xss")),
)
"""All reducers; names are unique."""

BY_NAME = {reducer.name: reducer for reducer in REDUCERS}

_FINISH_MISTAKES = 0.35
_BEGIN = {
    "call": LineTemplate(
        ("def f(xs):", "def f(xs: list):"),
        ("def f(xs)", "def f(x):", "def f():", "def g(xs):"),
        0.3,
    ),
    "stdin": LineTemplate(
        ("xs = list(map(int, input().split()))", "xs = [int(x) for x in input().split()]"),
        (
            "xs = input().split()",
            "xs = int(input().split())",
            "xs = list(map(int, input()))",
            "xs = list(map(int, input().split())",
        ),
        0.3,
    ),
}


def begin_line(form: Form) -> LineTemplate:
    """The first line: the function's head, or reading the numbers from a line of input."""
    return _BEGIN[form]


def finish_line(form: Form, reducer: Reducer) -> LineTemplate:
    """The last line: a right or wrong answer handed over rightly, or the right answer handed over wrongly."""
    other: tuple[str, ...]
    if form == "call":
        right, other = "return {}", ("print({})", "retrun {}")
    elif reducer.name == "list":
        right, other = "print(*{})", ("return {}", "print(list{})", "print {}")
    else:
        right, other = "print({})", ("return {}", "print {}")
    return LineTemplate(
        right=tuple(right.format(expression) for expression in reducer.right),
        wrong=(
            *(right.format(expression) for expression in reducer.wrong),
            *(way.format(reducer.right[0]) for way in other),
        ),
        wrong_probability=_FINISH_MISTAKES,
    )
