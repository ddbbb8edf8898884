"""What the terminal shows before and after a run: the plan, and the results. Between them: monitor/status_line.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from rltf.monitor.plan import Section
from rltf.telemetry.console import warn
from rltf.telemetry.vocabulary import estimate, figures_of


def print_plan(console: Console, sections: Sequence[Section]) -> None:
    """Prints the start-up table: one block per section, a name and a value per row.

    Plain lines where the output is no terminal.
    """
    if not console.is_terminal:
        for section in sections:
            console.print(f"{section.title}:", markup=False, highlight=False, soft_wrap=True)
            for name, value in section.rows:
                console.print(f"  {name}: {value}", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for section in sections:
        table.add_row(Text(section.title, style="bold"), "")
        for name, value in section.rows:
            table.add_row(Text(f"  {name}"), Text(value))
    console.print(table)


def print_end(console: Console, result: Mapping[str, Any], folder: str = "") -> None:
    """Prints held-out pass@1 before and after, programs before and after, the first warnings and where the rest is.

    `result`: result.json. Plain text where the output is no terminal.
    """
    held_out = result.get("held_out") or {}
    for pair in result.get("examples", ()):
        console.print(_pair(pair))
    table = Table(title=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, found in {"": held_out, **held_out.get("sets", {})}.items():
        for row in _held_out_rows(f"held-out {name}".strip(), found):
            table.add_row(*row)
    for name in ("steps", "samples", "versions"):
        if name in result:
            table.add_row(
                {"steps": "learner steps", "samples": "programs graded", "versions": "policy versions"}[name],
                f"{result[name]:,}",
            )
    if reason := result.get("stopped_early"):
        table.add_row("training ended early", reason)
    for phase, seconds in result.get("seconds", {}).items():
        table.add_row(f"seconds in {phase.replace('_', ' ')}", f"{seconds:.1f}")
    console.print(table)
    if ledger := result.get("ledger"):
        counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in ledger.items() if count)
        console.print(f"Every program: {counts}", markup=False, highlight=False, soft_wrap=True)
    print_warnings(result.get("warnings", ()))
    if folder:
        console.print(f"Report and plots: {folder}/report.md", markup=False, highlight=False, soft_wrap=True)


def _held_out_rows(title: str, held_out: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The figures of a held-out set before and after training, what they are about, and what of it is lost."""
    if "tasks" not in held_out:
        return
    for figure in figures_of([held_out.get(when, {}) for when in ("before", "after")]):
        for when in ("before", "after"):
            value = estimate(held_out[when], figure) if when in held_out else "not evaluated"
            yield f"{title} {figure} {when} training", value
    yield f"{title} tasks", held_out.get("about") or f"{held_out['tasks']:,}"
    for when in ("before", "after"):
        if lost := held_out.get(when, {}).get("lost"):
            of = title.removeprefix("held-out")
            yield f"without a verdict{of} {when} training", f"{lost:,} programs; they count as not passed"


def print_warnings(warnings: Sequence[str], shown: int | None = 5) -> None:
    """Prints the first `shown` (none: all) on standard error, and how many more report.md has."""
    for warning in warnings[:shown]:
        warn(warning)
    if shown is not None and len(warnings) > shown:
        warn(f"{len(warnings) - shown} more; report.md lists all of them")


def _pair(pair: Mapping[str, Any]) -> RenderableType:
    """One problem with its two programs side by side."""
    columns = Table(box=None, expand=True, padding=(0, 2, 0, 0))
    for when in ("before", "after"):
        columns.add_column(
            Text(f"{when}: {pair[when]['verdict']}", style="green" if pair[when]["passed"] else "red"), ratio=1
        )
    columns.add_row(_program(pair["before"]), _program(pair["after"]))
    question = pair["question"].strip()
    return Panel(
        Group(Text(question if len(question) <= 400 else question[:399] + "…"), Text(""), columns), border_style="dim"
    )


def _program(program: Mapping[str, Any], max_lines: int = 24) -> Syntax:
    """A program, the line of its error highlighted."""
    lines = program["text"].rstrip().split("\n")
    text = "\n".join(lines[:max_lines] + ["…"] * (len(lines) > max_lines))
    error_line = {program["line"]} if program["line"] else set()
    return Syntax(
        text, "python", theme="ansi_light", background_color="default", word_wrap=True, highlight_lines=error_line
    )
