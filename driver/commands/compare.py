"""`compare`: two results of `evaluate`, problem by problem."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rltf.config import UserError, first_line, run_files
from rltf.driver.commands.command import Arguments
from rltf.program import DONE

SENTENCE = "Test two results of evaluate pairwise, and list what one solves and the other does not."
_MAX_NAMED = 20


def run(arguments: Sequence[str], console: Console) -> int:
    """DONE when they could be compared."""
    parser = Arguments("compare", SENTENCE)
    parser.add_argument("a", metavar="A", help=f"folder of an evaluation, or its {run_files.RESULTS}")
    parser.add_argument("b", metavar="B", help="another one, of the same problems")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the comparison as JSON")
    known, _ = parser.read(arguments)
    a, b = _read(known.a), _read(known.b)
    from rltf.evaluation.comparison import Comparison, compare
    from rltf.evaluation.tables import markdown, percent
    from rltf.problems.files import atomic_output
    from rltf.telemetry.console import counted, warn

    def solved(ids: Sequence[str], one: str, other: str) -> None:
        more = f" and {len(ids) - _MAX_NAMED:,} more" if ids[_MAX_NAMED:] else ""
        named = f": {', '.join(ids[:_MAX_NAMED])}{more}" if ids else ""
        console.print(f"{counted(len(ids), 'problem')} solved by {one} and not by {other}{named}", markup=False)

    try:
        found: Comparison = compare(a, b)
    except ValueError as error:
        raise UserError(f"{known.a} and {known.b} cannot be compared: {error}") from None
    table = Table("percent", "A", "B", "B - A", "95% interval", "p", title=f"A: {a['model']}   B: {b['model']}")
    for one in found.differences:
        ends = f"[{percent(one.low)}, {percent(one.high)}]"
        table.add_row(f"pass@{one.k}", percent(one.a), percent(one.b), percent(one.b - one.a), ends, _p(one.p))
    console.print(table)
    console.print(
        f"{counted(found.problems, 'problem')} that both have ({found.only_in_one[0]:,} in A alone, "
        f"{found.only_in_one[1]:,} in B alone): {found.both:,} solved by both, {found.neither:,} by neither",
        markup=False,
    )
    for of_a, of_b in found.named_apart:
        warn(f"A has {of_a}, B has {of_b}: problems of the same id and number of tests are taken for the same")
    solved(found.solved_by_a, "A", "B")
    solved(found.solved_by_b, "B", "A")
    if found.mcnemar_p is None:
        console.print("McNemar's test needs as many programs of each problem in A as in B, and these differ")
    else:
        console.print(f"McNemar's exact test by problem: p {_p(found.mcnemar_p)}")
    if known.out is not None:
        with atomic_output(known.out, Path(known.a), Path(known.b)) as file:
            whole = {"a": str(a["model"]), "b": str(b["model"])} | found.as_dict() | {"table": markdown([a, b])}
            file.write(json.dumps(whole, indent=1) + "\n")
    return DONE


def _p(value: float) -> str:
    return f"= {value:.4f}" if value >= 0.0001 else "< 0.0001"


def _read(given: str) -> dict[str, Any]:
    """A results.json. Raises UserError when it is none."""
    path = Path(given).expanduser()
    file = path / run_files.RESULTS if path.is_dir() else path
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{given} holds no {run_files.RESULTS} of evaluate that can be read ({first_line(error)})"
        ) from None
    if not isinstance(found, dict) or not {"model", "k", "sets", "problems"} <= found.keys():
        raise UserError(f"{file} is no result of evaluate: it lacks model, k, sets or problems")
    return found
