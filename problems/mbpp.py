"""MBPP (Austin et al., arXiv 2108.07732): the official JSON lines (974), the sanitized JSON array (427), and the hub.

The published prompt shows the tests, all of which are then examples; the few-shot one has three solved problems of the
file before that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from rltf.problems.data_files import Placed
from rltf.problems.files import unix_lines
from rltf.problems.problem import Problem, Skipped, TestSuite, UnreadFields
from rltf.problems.python_source import require_compiles
from rltf.problems.records import Format, problems_of, rows_of, text, texts
from rltf.problems.spec import Source, Spec

SPLITS = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "validation": range(511, 601),
    "train": range(601, 975),
}
"""Ids of each; those of the sanitized file are among them."""
DEMONSTRATIONS = ("2", "3", "4")
"""Ids that the published few-shot prompt shows."""
_FIELDS = (
    "task_id",
    "text",
    "prompt",
    "code",
    "test_list",
    "test_setup_code",
    "test_imports",
    "challenge_test_list",
    "source_file",
)
"""Of the official files; the last two are of no use here."""


def load(spec: Spec) -> Iterator[Problem | Skipped | UnreadFields]:
    """Problems of an `mbpp` SPEC. Raises UserError when the file cannot be read."""
    numbers = SPLITS.get(spec.one_of("split", tuple(SPLITS), ""))
    shown: tuple[Problem, ...] = ()

    def rows() -> Iterator[Placed]:
        nonlocal shown
        found = list(rows_of(spec, "google-research-datasets/mbpp", *SPLITS, config="full"))
        shown = _demonstrations(record for _, record in found if not isinstance(record, Skipped))
        yield from found

    def make(name: str, record: dict[str, Any]) -> Problem:
        return replace(from_record(name, record), demonstrations=shown)

    for problem in problems_of(spec, rows(), replace(FORMAT, make=make)):
        number = problem.id.rpartition("/")[2]
        if numbers is None or not number.isdigit() or int(number) in numbers:
            yield problem


def _demonstrations(records: Iterable[dict[str, Any]]) -> tuple[Problem, ...]:
    """The problems of a few-shot prompt; none where the file lacks one of them."""
    named = {str(record.get("task_id")): record for record in records}
    try:
        return tuple(from_record(f"mbpp/{number}", named[number]) for number in DEMONSTRATIONS)
    except (KeyError, ValueError):  # a broken one is told where it is loaded
        return ()


def from_record(name: str, record: dict[str, Any]) -> Problem:
    """Problem of one record; the sanitized file calls the text `prompt` and has `test_imports`.

    Raises ValueError with what is wrong with it.
    """
    question = text(record, "text" if "text" in record or "prompt" not in record else "prompt")
    tests = tuple(unix_lines(test).strip() for test in texts(record, "test_list"))
    for number, test in enumerate(tests, 1):
        require_compiles(f"number {number} of its tests", test)
    setup = [*texts(record, "test_imports"), unix_lines(text(record, "test_setup_code", ""))]
    return Problem(
        id=name,
        question=unix_lines(question).strip(),
        starter_code="",
        suite=TestSuite("assert", None, (), (), tests, setup="\n".join(filter(None, setup))),
        solutions=(unix_lines(text(record, "code")).rstrip() + "\n",),
        difficulty="unknown",
        prompt_style="mbpp",
    )


FORMAT = Format("task_id", _FIELDS, from_record, prefix="mbpp/")
SOURCE = Source(
    "mbpp",
    "MBPP, the official or the sanitized file; a bare `mbpp` comes from the hub",
    load,
    ("split", "ids"),
    path="FILE",
    hub=True,
)
