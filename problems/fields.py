"""Fields of the data that nobody reads: told with the nearest right name, or all together where a data set has fields
of its own.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rltf.problems.problem import UnreadFields

_OTHER_NAMES = {
    "id": ("task_id", "problem_id", "question_id", "name", "slug"),
    "question": (
        "prompt",
        "text",
        "problem",
        "description",
        "statement",
        "problem_statement",
        "question_content",
        "instruction",
    ),
    "starter_code": ("template", "code_prompt", "signature"),
    "solutions": ("code", "canonical_solution", "reference", "references", "reference_solution", "answer", "answers"),
    "tests": ("test_list", "asserts", "test_cases", "unit_tests"),
    "fn_name": ("function_name", "func_name", "function", "method", "entry_point"),
    "entry_point": ("function_name", "func_name", "function"),
    "inputs": ("stdin",),
    "outputs": ("expected", "expected_output", "expected_outputs", "answers", "stdout"),
    "time_limit_s": ("timeout", "timeout_s", "time_limit_seconds", "time_s"),
    "memory_limit_mb": ("memory_mb", "memory_limit_bytes"),
    "difficulty": ("level",),
    "test_list": ("tests", "asserts"),
    "code": ("solution", "solutions", "canonical_solution"),
    "canonical_solution": ("solution", "code", "reference"),
}
"""What other data sets call it."""
_MAX_NAMED = 3


def unread(record: Mapping[str, Any], known: Collection[str], why: Mapping[str, str] | None = None) -> dict[str, str]:
    """The fields of a record that are not `known` and not empty, each with a hint: the right name, if the record lacks
    that one.

    The hint is empty where no name is near: such fields are another data set's own. `why`: hints by field, which go
    before.
    """
    missing = [name for name in known if record.get(name) in (None, "", [])]
    found = {
        str(name): value for name, value in record.items() if name not in known and value not in (None, "", [], {})
    }
    return {name: (why or {}).get(name) or _meant(name, missing) for name in found}


def _meant(name: str, missing: Sequence[str]) -> str:
    lower = name.lower()
    near = [right for right in missing if lower in _OTHER_NAMES.get(right, ())] or difflib.get_close_matches(
        lower, missing, 1, 0.8
    )
    return f"did you mean {near[0]}?" if near else ""


def hinted(fields: Mapping[str, str]) -> list[str]:
    """A sentence without full stop for each field of one record that is likely to be meant for something."""
    return [f"the field {name} is not read: {hint}" for name, hint in fields.items() if hint]


def mistakes(found: Iterable[UnreadFields]) -> list[str]:
    """A sentence for each field that is likely to be meant for something, with the records that have it."""
    records: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in found:
        for name, hint in one.fields.items():
            if hint:
                records[name, hint].append(one.place or one.id)
    return [f"the field {name} of {_counted(places)} is not read: {hint}" for (name, hint), places in records.items()]


def foreign(found: Iterable[UnreadFields]) -> str:
    """The fields that a data set has beside ours, in words; empty when there are none."""
    return ", ".join(sorted({name for one in found for name, hint in one.fields.items() if not hint}))


def _counted(places: Sequence[str]) -> str:
    named = ", ".join(places[:_MAX_NAMED])
    if len(places) == 1:
        return f"1 record ({named})"
    return f"{len(places):,} records ({named}{', ..' if len(places) > _MAX_NAMED else ''})"
