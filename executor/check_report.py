"""What `check-data` says of its findings, and which of an earlier run's it takes over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rltf.executor.check_data import SEVERAL_ANSWERS
from rltf.problems.fields import foreign, mistakes
from rltf.problems.problem import ProblemSet
from rltf.problems.quarantine import ProblemCheck, read_checked
from rltf.telemetry.console import counted, print_error, warn
from rltf.telemetry.vocabulary import few

MAX_SHOWN = 10


def is_fit_for_training(problems: ProblemSet, checked: Sequence[ProblemCheck], strict: bool) -> bool:
    """Whether every record could be loaded and judged and a problem is fit for training; `strict`: all are, and no
    field is likely to be misnamed.
    """
    statuses = Counter(one.status for one in checked)
    if statuses["skipped"] or statuses["unjudged"] or statuses["quarantined"] == len(checked):
        return False
    return not (strict and (statuses["quarantined"] or mistakes(problems.unread)))


def broken_off(out: Path) -> dict[str, ProblemCheck]:
    """What a check that was broken off had found and written for `out`, by problem id; nothing where there was none."""
    place = Path(os.path.realpath(out))  # which, unlike Path.resolve, leaves a loop of links to who writes there
    unfinished = place.with_name(f"{place.name}.partial")
    return read_checked(unfinished, whole=False) if unfinished.is_file() else {}


def show(problems: ProblemSet, checked: Sequence[ProblemCheck], out: Path, console: Console) -> None:
    """Prints how many of what, the problems that are quarantined, every record that could not be loaded, the packages
    that are missing and the fields not read.
    """
    bad = [one for one in checked if one.status == "quarantined"]
    kinds = Counter(one.reasons[0].partition(":")[0].partition(" (")[0] for one in bad)
    counts = Counter(one.status for one in checked)
    limits = sorted(one.cpu_limit_s for one in checked if one.cpu_limit_s is not None)
    table = Table("", "problems", title=problems.name)
    for status in ("ok", "warned", "quarantined"):
        table.add_row(status, str(counts[status]))
    for kind, count in kinds.most_common(8):
        table.add_row(f"  {kind}", str(count))
    if counts["unjudged"]:
        table.add_row("could not be judged", str(counts["unjudged"]))
    if problems.skipped:
        table.add_row("could not be loaded", str(len(problems.skipped)))
    console.print(table)
    if limits:
        console.print(
            f"calibrated CPU limits per test: median {limits[len(limits) // 2]:g} s, largest {limits[-1]:g} s"
        )
    for one in bad[:MAX_SHOWN]:
        console.print(f"{one.problem_id}: {'; '.join(one.reasons)}"[:300], markup=False)
    if len(bad) > MAX_SHOWN:
        console.print(f"and {len(bad) - MAX_SHOWN} more quarantined", markup=False)
    for one in checked:
        if one.status == "unjudged":
            print_error(f"{one.problem_id}: {'; '.join(one.reasons)}"[:300])
    for skipped in problems.skipped:
        console.print(f"not loaded: {skipped}"[:300], markup=False)
    _show_packages(checked)
    several = [one.problem_id for one in checked if any(SEVERAL_ANSWERS in reason for reason in one.reasons)]
    if several:
        console.print(f"{SEVERAL_ANSWERS} (candidates for a checker_code): {few(several, MAX_SHOWN)}", markup=False)
    for sentence in mistakes(problems.unread):
        warn(sentence)
    if others := foreign(problems.unread):
        console.print(f"fields that are not read: {others}", markup=False)
    console.print(
        f"written to {out}; --problems.checked {out} makes training, evaluation and grading honour it", markup=False
    )


def _show_packages(checked: Sequence[ProblemCheck]) -> None:
    needed = Counter(name for one in checked for name in one.packages)
    for name, count in needed.most_common():
        warn(
            f"{counted(count, 'problem')} need{'s' if count == 1 else ''} the package {name}, which programs may not "
            f"import here: pip install {name}, and name it in executor.packages"
        )
