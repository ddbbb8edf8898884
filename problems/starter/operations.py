"""The operations of the starter tasks: each turns a list of integers `xs` into another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise

from rltf.problems.starter.line_template import LineTemplate

MISTAKES = 0.34
"""Share of an operation's lines that are wrong in the corpus."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a task."""

    name: str
    """Part of the task's id, with `-k` after it where there is a constant."""
    meaning: str
    """What it does, one sentence."""
    phrases: tuple[str, ...]
    """Ways to say it in a statement."""
    constants: tuple[int, ...]
    """Values of k; empty: the operation has none."""
    apply: Callable[[list[int], int], list[int]]
    """The trusted reference, from which expected outputs come. Does not change its argument."""
    line: LineTemplate
    """Ways to write it."""


def _operation(
    name: str,
    meaning: str,
    phrases: tuple[str, ...],
    apply: Callable[[list[int], int], list[int]],
    *,
    right: tuple[str, ...],
    wrong: tuple[str, ...],
    constants: tuple[int, ...] = (),
) -> Operation:
    return Operation(name, meaning, phrases, constants, apply, LineTemplate(right, wrong, MISTAKES))


_SMALL = (1, 2, 3)
_FACTORS = (2, 3, 4, 5)
_ANY = (1, 2, 3, 4, 5, 6)

OPERATIONS: tuple[Operation, ...] = (
    _operation(
        "add",
        "Adds k to each number.",
        ("add {k} to each number", "increase each number by {k}"),
        lambda xs, k: [x + k for x in xs],
        right=("xs = [x + {k} for x in xs]", "xs = [{k} + x for x in xs]"),
        wrong=(
            "xs = xs + {k}",
            "xs = [x + {k} for x in x]",
            "xs = [x + {more} for x in xs]",
            "xs = [x + {k} for x in xs",
        ),
        constants=_ANY,
    ),
    _operation(
        "subtract",
        "Subtracts k from each number.",
        ("subtract {k} from each number", "decrease each number by {k}"),
        lambda xs, k: [x - k for x in xs],
        right=("xs = [x - {k} for x in xs]", "xs = [-{k} + x for x in xs]"),
        wrong=(
            "xs = [{k} - x for x in xs]",
            "xs = xs - {k}",
            "xs = [xs - {k} for x in xs]",
            "xs = [x - {k} for x in xs",
        ),
        constants=_ANY,
    ),
    _operation(
        "multiply",
        "Multiplies each number by k.",
        ("multiply each number by {k}", "make each number {k} times as large"),
        lambda xs, k: [x * k for x in xs],
        right=("xs = [x * {k} for x in xs]", "xs = [{k} * x for x in xs]"),
        wrong=("xs = xs * {k}", "xs = [x * {k} for x in x]", "xs = [x ** {k} for x in xs]", "xs = [{k}x for x in xs]"),
        constants=_FACTORS,
    ),
    _operation(
        "divide",
        "Divides each number by k and rounds down.",
        ("divide each number by {k} rounding down", "replace each number by its floor quotient by {k}"),
        lambda xs, k: [x // k for x in xs],
        right=("xs = [x // {k} for x in xs]", "xs = [(x - x % {k}) // {k} for x in xs]"),
        wrong=(
            "xs = [x / {k} for x in xs]",
            "xs = [int(x / {k}) for x in xs]",
            "xs = [x % {k} for x in xs]",
            "xs = xs // {k}",
        ),
        constants=_FACTORS,
    ),
    _operation(
        "remainder",
        "Replaces each number by its remainder after division by k.",
        ("replace each number by its remainder by {k}", "take each number modulo {k}"),
        lambda xs, k: [x % k for x in xs],
        right=("xs = [x % {k} for x in xs]", "xs = [x - x // {k} * {k} for x in xs]"),
        wrong=(
            "xs = [x // {k} for x in xs]",
            "xs = [x % {more} for x in xs]",
            "xs = xs % {k}",
            "xs = [x mod {k} for x in xs]",
        ),
        constants=_FACTORS,
    ),
    _operation(
        "square",
        "Replaces each number by its square.",
        ("square each number", "multiply each number by itself"),
        lambda xs, k: [x * x for x in xs],
        right=("xs = [x * x for x in xs]", "xs = [x ** 2 for x in xs]"),
        wrong=("xs = [x ^ 2 for x in xs]", "xs = [x * 2 for x in xs]", "xs = [x * x for x in x]", "xs = xs ** 2"),
    ),
    _operation(
        "negate",
        "Changes the sign of each number.",
        ("negate each number", "flip the sign of each number"),
        lambda xs, k: [-x for x in xs],
        right=("xs = [-x for x in xs]", "xs = [0 - x for x in xs]"),
        wrong=("xs = -xs", "xs = [~x for x in xs]", "xs = [!x for x in xs]", "xs = [- for x in xs]"),
    ),
    _operation(
        "absolute",
        "Replaces each number by its absolute value.",
        ("take the absolute value of each number", "drop the sign of each number"),
        lambda xs, k: [abs(x) for x in xs],
        right=("xs = [abs(x) for x in xs]", "xs = [max(x, -x) for x in xs]"),
        wrong=("xs = abs(xs)", "xs = [-x for x in xs]", "xs = [x.abs() for x in xs]", "xs = [max(x, 0) for x in xs]"),
    ),
    _operation(
        "even",
        "Keeps the even numbers.",
        ("keep the even numbers", "keep only what is even"),
        lambda xs, k: [x for x in xs if x % 2 == 0],
        right=("xs = [x for x in xs if x % 2 == 0]", "xs = [x for x in xs if not x % 2]"),
        wrong=(
            "xs = [x for x in xs if x % 2]",
            "xs = [x for x in xs if x % 2 = 0]",
            "xs = [x for x in xs if x // 2 == 0]",
            "xs = [x % 2 == 0 for x in xs]",
        ),
    ),
    _operation(
        "odd",
        "Keeps the odd numbers.",
        ("keep the odd numbers", "keep only what is odd"),
        lambda xs, k: [x for x in xs if x % 2 == 1],
        right=("xs = [x for x in xs if x % 2 == 1]", "xs = [x for x in xs if x % 2]"),
        wrong=(
            "xs = [x for x in xs if x % 2 == 0]",
            "xs = [x for x in xs if x % 2 = 1]",
            "xs = [x if x % 2 for x in xs]",
            "xs = [x % 2 == 1 for x in xs]",
        ),
    ),
    _operation(
        "greater",
        "Keeps the numbers greater than k.",
        ("keep the numbers greater than {k}", "remove the numbers up to {k}"),
        lambda xs, k: [x for x in xs if x > k],
        right=("xs = [x for x in xs if x > {k}]", "xs = [x for x in xs if not x <= {k}]"),
        wrong=(
            "xs = [x for x in xs if x >= {k}]",
            "xs = [x for x in xs if x < {k}]",
            "xs = [x if x > {k} for x in xs]",
            "xs = [x > {k} for x in xs]",
        ),
        constants=_ANY,
    ),
    _operation(
        "less",
        "Keeps the numbers less than k.",
        ("keep the numbers less than {k}", "remove the numbers from {k} on"),
        lambda xs, k: [x for x in xs if x < k],
        right=("xs = [x for x in xs if x < {k}]", "xs = [x for x in xs if not x >= {k}]"),
        wrong=(
            "xs = [x for x in xs if x <= {k}]",
            "xs = [x for x in xs if x > {k}]",
            "xs = [x if x < {k} for x in xs]",
            "xs = [x < {k} for x in xs]",
        ),
        constants=_ANY,
    ),
    _operation(
        "multiples",
        "Keeps the multiples of k.",
        ("keep the multiples of {k}", "keep the numbers that {k} divides"),
        lambda xs, k: [x for x in xs if x % k == 0],
        right=("xs = [x for x in xs if x % {k} == 0]", "xs = [x for x in xs if not x % {k}]"),
        wrong=(
            "xs = [x for x in xs if x % {k}]",
            "xs = [x for x in xs if x / {k}]",
            "xs = [x for x in xs if x % {k} = 0]",
            "xs = [x for x in xs if {k} % x == 0]",
        ),
        constants=(3, 4, 5),
    ),
    _operation(
        "remove",
        "Removes every k.",
        ("remove every {k}", "keep the numbers other than {k}"),
        lambda xs, k: [x for x in xs if x != k],
        right=("xs = [x for x in xs if x != {k}]", "xs = [x for x in xs if not x == {k}]"),
        wrong=(
            "xs.remove({k})",
            "xs = xs.remove({k})",
            "xs = [x for x in xs if x == {k}]",
            "xs = [x for x in xs if x is not {k}",
        ),
        constants=_ANY,
    ),
    _operation(
        "at_most",
        "Replaces each number greater than k by k.",
        ("cap each number at {k}", "replace numbers above {k} by {k}"),
        lambda xs, k: [min(x, k) for x in xs],
        right=("xs = [min(x, {k}) for x in xs]", "xs = [x if x < {k} else {k} for x in xs]"),
        wrong=(
            "xs = [max(x, {k}) for x in xs]",
            "xs = min(xs, {k})",
            "xs = [min({k}) for x in xs]",
            "xs = [x for x in xs if x <= {k}]",
        ),
        constants=_ANY,
    ),
    _operation(
        "at_least",
        "Replaces each number less than k by k.",
        ("raise each number to at least {k}", "replace numbers below {k} by {k}"),
        lambda xs, k: [max(x, k) for x in xs],
        right=("xs = [max(x, {k}) for x in xs]", "xs = [x if x > {k} else {k} for x in xs]"),
        wrong=(
            "xs = [min(x, {k}) for x in xs]",
            "xs = max(xs, {k})",
            "xs = [max({k}) for x in xs]",
            "xs = [x for x in xs if x >= {k}]",
        ),
        constants=_ANY,
    ),
    _operation(
        "sort",
        "Sorts in ascending order.",
        ("sort in ascending order", "sort in increasing order"),
        lambda xs, k: sorted(xs),
        right=("xs = sorted(xs)", "xs.sort()"),
        wrong=("xs = xs.sort()", "xs = sort(xs)", "xs = xs.sorted()", "sorted(xs)"),
    ),
    _operation(
        "sort_down",
        "Sorts in descending order.",
        ("sort in descending order", "sort in decreasing order"),
        lambda xs, k: sorted(xs, reverse=True),
        right=("xs = sorted(xs, reverse=True)", "xs.sort(reverse=True)", "xs = sorted(xs)[::-1]"),
        wrong=(
            "xs = xs.sort(reverse=True)",
            "xs = sorted(xs)",
            "xs = sorted(xs, reverse=true)",
            "xs = sorted(xs).reverse()",
        ),
    ),
    _operation(
        "reverse",
        "Reverses the order.",
        ("reverse the order", "put the numbers in reverse order"),
        lambda xs, k: xs[::-1],
        right=("xs = xs[::-1]", "xs.reverse()", "xs = list(reversed(xs))"),
        wrong=("xs = xs.reverse()", "xs = xs[:-1]", "xs = reverse(xs)", "xs = xs[-1]"),
    ),
    _operation(
        "first",
        "Keeps the first k numbers.",
        ("keep the first {k} numbers", "cut the list to its first {k} numbers"),
        lambda xs, k: xs[:k],
        right=("xs = xs[:{k}]", "xs = xs[0:{k}]"),
        wrong=("xs = xs[{k}:]", "xs = xs[:{less}]", "xs = xs[1:{k}]", "xs = xs[{k}]"),
        constants=(2, 3, 4),
    ),
    _operation(
        "skip",
        "Drops the first k numbers.",
        ("drop the first {k} numbers", "skip the first {k} numbers"),
        lambda xs, k: xs[k:],
        right=("xs = xs[{k}:]", "xs = xs[{k}:len(xs)]"),
        wrong=("xs = xs[:{k}]", "xs = xs[{more}:]", "xs = xs.pop({k})", "xs = xs[{k}]"),
        constants=_SMALL,
    ),
    _operation(
        "last",
        "Keeps the last k numbers.",
        ("keep the last {k} numbers", "cut the list to its last {k} numbers"),
        lambda xs, k: xs[-k:],
        right=("xs = xs[-{k}:]", "xs = xs[::-1][:{k}][::-1]"),
        wrong=("xs = xs[{k}:]", "xs = xs[:-{k}]", "xs = xs[-{k}]", "xs = xs[-{k}:-1]"),
        constants=(2, 3, 4),
    ),
    _operation(
        "cut",
        "Drops the last k numbers.",
        ("drop the last {k} numbers", "skip the last {k} numbers"),
        lambda xs, k: xs[:-k],
        right=("xs = xs[:-{k}]", "xs = xs[::-1][{k}:][::-1]"),
        wrong=("xs = xs[-{k}:]", "xs = xs[:{k}]", "xs = xs[:-{more}]", "xs = xs[-{k}]"),
        constants=_SMALL,
    ),
    _operation(
        "unique",
        "Removes repeated numbers and keeps the first of each.",
        ("remove repeated numbers", "keep each number only once"),
        lambda xs, k: list(dict.fromkeys(xs)),
        right=("xs = list(dict.fromkeys(xs))", "xs = sorted(set(xs), key=xs.index)"),
        wrong=("xs = list(set(xs))", "xs = xs.unique()", "xs = unique(xs)", "xs = set(xs)[:]"),
    ),
    _operation(
        "every_other",
        "Keeps every second number, beginning with the first.",
        ("keep every second number from the first", "keep the numbers at even positions"),
        lambda xs, k: xs[::2],
        right=("xs = xs[::2]", "xs = xs[0::2]"),
        wrong=("xs = xs[1::2]", "xs = xs[2:]", "xs = xs[:2]", "xs = xs[:2:]"),
    ),
    _operation(
        "append",
        "Adds k at the end of the list.",
        ("append {k}", "put {k} at the end"),
        lambda xs, k: [*xs, k],
        right=("xs = xs + [{k}]", "xs.append({k})"),
        wrong=("xs = xs.append({k})", "xs = xs + {k}", "xs.add({k})", "xs = xs[{k}]"),
        constants=_ANY,
    ),
    _operation(
        "running",
        "Replaces each number by the sum of the numbers up to and including it.",
        ("replace each number by the running sum", "take the running sums"),
        lambda xs, k: list(accumulate(xs)),
        right=("xs = [sum(xs[:i + 1]) for i in range(len(xs))]", "xs = [sum(xs[:i]) for i in range(1, len(xs) + 1)]"),
        wrong=(
            "xs = [sum(xs[:i]) for i in range(len(xs))]",
            "xs = [sum(xs[:i]) for i in range(1, len(xs))]",
            "xs = [sum(xs[:i + 1]) for i in range(xs)]",
            "xs = [sum(xs[:i + 1]) for i in len(xs)]",
        ),
    ),
    _operation(
        "differences",
        "Replaces the list by the differences of neighbours, each number less the one before it.",
        ("take the differences of neighbours", "subtract from each number the one before it"),
        lambda xs, k: [b - a for a, b in pairwise(xs)],
        right=("xs = [b - a for a, b in zip(xs, xs[1:])]", "xs = [xs[i + 1] - xs[i] for i in range(len(xs) - 1)]"),
        wrong=(
            "xs = [a - b for a, b in zip(xs, xs[1:])]",
            "xs = [xs[i + 1] - xs[i] for i in range(len(xs))]",
            "xs = [b - a for a, b in xs]",
            "xs = [xs[i] - xs[i - 1] for i in range(len(xs))]",
        ),
    ),
)
"""All operations; names are unique."""

BY_NAME = {operation.name: operation for operation in OPERATIONS}
