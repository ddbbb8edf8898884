"""What a check of the data found, and how a problem set honours it: bad problems are left out, limits are the
calibrated ones.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from rltf.config import UserError
from rltf.problems.files import read_records
from rltf.problems.problem import MAX_TIME_LIMIT_S, Problem, ProblemSet, Skipped

Status = Literal["ok", "warned", "quarantined", "unjudged", "skipped"]


@dataclass(frozen=True, slots=True)
class ProblemCheck:
    """One problem's line in the file that check-data writes."""

    problem_id: str
    """Of a skipped record without a usable id: its place in the file."""
    problem_hash: str
    """Content hash of the tests as they were checked; empty of a skipped record."""
    status: Status
    """quarantined: not fit for training or evaluation; warned: usable, the reasons are worth knowing; unjudged:
    its programs got no verdict, which says nothing of it; skipped: it could not be loaded."""
    reasons: tuple[str, ...]
    cpu_limit_s: float | None
    """CPU seconds per test, calibrated from the references; None where there was nothing to calibrate from."""
    executor_version: str
    packages: tuple[str, ...] = ()
    """Packages that it needs and programs may not import."""
    key: str = ""
    """Hash of all that the check depends on; empty where it is to be checked again in any case."""

    def to_json(self) -> str:
        """One line of the file, without its line end."""
        return json.dumps(asdict(self))


def read_checked(file: Path, whole: bool = True) -> dict[str, ProblemCheck]:
    """The file's lines by problem id, without the skipped records, whose ids may be those of usable ones, and those
    that could not be judged.

    Raises UserError with the place of a line that is none of `check-data`'s; of a file that is not `whole` it is left
    out.
    """
    found: dict[str, ProblemCheck] = {}
    for place, record in read_records(file):
        if isinstance(record, Skipped):
            if not whole:
                continue
            raise UserError(f"{file}, {place}: {record.reason}; a file that check-data wrote is needed")
        try:
            checked = _from_record(record)
        except (KeyError, TypeError, ValueError) as error:
            if not whole:
                continue
            raise UserError(f"{file}, {place}: {error}; a file that check-data wrote is needed") from None
        if checked.status not in ("skipped", "unjudged"):
            found[checked.problem_id] = checked
    return found


def _from_record(record: dict[str, Any]) -> ProblemCheck:
    for field in ("problem_id", "problem_hash", "status", "reasons"):
        if field not in record:
            raise ValueError(f"the field {field} is missing")
    if record["status"] not in get_args(Status):
        raise ValueError(f"unknown status {record['status']!r}")
    limit = record.get("cpu_limit_s")
    if limit is not None and (
        isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit <= MAX_TIME_LIMIT_S
    ):
        raise ValueError(f"cpu_limit_s must be a number above 0 and at most {MAX_TIME_LIMIT_S:,}, or null")
    return ProblemCheck(
        problem_id=str(record["problem_id"]),
        problem_hash=str(record["problem_hash"]),
        status=record["status"],
        reasons=tuple(map(str, record["reasons"])),
        cpu_limit_s=limit,
        executor_version=str(record.get("executor_version", "")),
        packages=tuple(map(str, record.get("packages", ()))),
        key=str(record.get("key", "")),
    )


def apply_checks(problems: ProblemSet, file: Path, *, must_match: bool = True) -> ProblemSet:
    """The set without its quarantined problems (they join the skipped), the others with their calibrated limits.

    A problem that the file does not name stays as it is. Raises UserError when the file was made from other tests of a
    problem, when it names none of the problems (unless `must_match` is false), and when none is left.
    """
    checked = read_checked(file)
    kept: list[Problem] = []
    skipped = list(problems.skipped)
    for problem in problems:
        entry = checked.get(problem.id)
        if entry is None:
            kept.append(problem)
        elif entry.problem_hash != problem.suite.content_hash:
            raise UserError(
                f"{file}: {problem.id} has other tests or limits now than when it was checked; run check-data again"
            )
        elif entry.status == "quarantined":
            skipped.append(Skipped(problem.id, "quarantined: " + "; ".join(entry.reasons)))
        elif entry.cpu_limit_s is not None:
            kept.append(replace(problem, suite=replace(problem.suite, time_limit_s=entry.cpu_limit_s)))
        else:
            kept.append(problem)
    if must_match and not any(problem.id in checked for problem in problems):
        raise UserError(f"{file} names none of the problems of {problems.name}; run check-data on it")
    if not kept:
        raise UserError(f"{problems.name}: every problem is quarantined by {file}; the first: {skipped[-1].reason}")
    return replace(problems, problems=tuple(kept), skipped=tuple(skipped))
