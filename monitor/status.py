"""What the terminal shows: the plan before the start, one status line while the run goes on, the results at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from monitor.console import warn
from monitor.plan import Section
from monitor.state import RunState
from monitor.vocabulary import outcome_shares


def print_plan(console: Console, sections: Sequence[Section]) -> None:
    """Prints the start-up table: one block per section, a name and a value per row. Plain lines where the output is no terminal."""
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


class StatusLine:
    """One line that updates in place; where the output is no terminal, a plain log line now and then. A context manager.

    `update` may be called as often as wanted: the terminal is redrawn at most four times a second, a log line is printed every
    `log_every_s` seconds and when the run's phase changes.
    """

    def __init__(self, console: Console, steps: int, warm_start_steps: int = 0, log_every_s: float = 10.0) -> None:
        """`steps`: learner steps of the whole run; `warm_start_steps`: those of its warm start, 0 if that is not known before."""
        self._console = console
        self._steps = steps
        self._warm_start_steps = warm_start_steps
        self._log_every_s = log_every_s
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._drawn_at = float("-inf")
        self._phase = ""

    def __enter__(self) -> StatusLine:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, state: RunState, now: float | None = None) -> None:
        """Shows the state. `now`: seconds since the epoch on the clock of the rows; left out, the present."""
        period = 0.25 if self._live is not None else self._log_every_s
        if time.monotonic() - self._drawn_at < period and state.phase == self._phase:
            return
        self._drawn_at, self._phase = time.monotonic(), state.phase
        parts = status_parts(state, self._steps, time.time() if now is None else now, self._warm_start_steps)
        if self._live is not None:
            self._live.update(Text(fitted(parts, self._console.width), no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self._print(time.strftime("%H:%M:%S ") + " | ".join(text for _, text in parts))

    def note(self, sentence: str) -> None:
        """Prints a sentence above the line, for good: warnings, held-out results."""
        self._print(sentence)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def status_parts(state: RunState, steps: int, now: float, warm_start_steps: int = 0) -> list[tuple[int, str]]:
    """The pieces of the status line in the order they are shown, each with its rank: on a narrow terminal the highest ranks go first."""
    parts = []
    if state.phase and state.phase != "training":
        parts.append((0, state.phase.replace("_", " ")))
    if state.phase == "warm_start" and (warm_start := state.warm_start()) is not None:
        total = f"/{warm_start_steps}" if warm_start_steps else ""
        parts.append((0, f"step {warm_start[0]}{total}, loss {warm_start[1]:.3f}"))
    row = state.step
    if row:
        parts.append((0, f"step {row['step']}/{steps}"))
        if "loss" in row:
            parts.append((5, f"loss {row['loss']:+.4f}"))
        if "pass_rate" in row:
            parts.append((1, f"pass {row['pass_rate']:.0%}"))
        if mix := outcome_mix(row.get("outcomes", {})):
            parts.append((6, mix))
    if state.held_out:
        parts.append((2, f"held-out {state.held_out['pass@1']:.2f} at step {state.held_out['step']}"))
    rates = state.rates(now)
    if any(rates.values()):
        parts.append((3, "/s: " + ", ".join(f"{value:.0f} {verb}" for verb, value in rates.items())))
    if state.ledger:
        queued = state.ledger.get("queued", 0) + state.ledger.get("executing", 0)
        parts.append((8, f"queue {queued}, buffer {state.ledger.get('buffered', 0)}, ledger balances"))
        if state.imbalance is not None:
            parts[-1] = (0, "THE LEDGER DOES NOT BALANCE")
    if (lag := state.policy_lag()) is not None:
        parts.append((7, f"lag {lag:.1f}"))
    if state.roles:
        parts.append((4, state.waits_in_words(now)))
        longest = state.longest_wait(now)
        if longest is not None and longest[1] > 15:
            parts.append((2, f"{longest[0].role} has waited {longest[1]:.0f} s for {longest[0].waits_for}"))
    return parts or [(0, "starting")]


def fitted(parts: Sequence[tuple[int, str]], width: int) -> str:
    """The pieces joined, without those of the highest ranks where `width` characters do not hold all."""
    kept = list(parts)
    while len(kept) > 1 and len(" · ".join(text for _, text in kept)) > width:
        kept.remove(max(kept, key=lambda part: part[0]))
    return " · ".join(text for _, text in kept)


def outcome_mix(outcomes: Mapping[str, int]) -> str:
    """ "wrong 20% runtime 9% syntax 2%" of all programs; empty for none. What is not listed passed."""
    names = {"failure": "wrong", "runtime_error": "runtime", "compile_error": "syntax"}
    return " ".join(f"{names[outcome]} {share:.0%}" for outcome, share in outcome_shares(outcomes).items() if outcome in names)


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
    if held_out:
        for when in ("before", "after"):
            if when not in held_out:
                table.add_row(f"held-out pass@1 {when} training", "not evaluated")
                continue
            error = held_out[when].get("pass@1_se")
            table.add_row(
                f"held-out pass@1 {when} training", f"{held_out[when]['pass@1']:.3f}" + (f" ± {error:.3f}" if error is not None else "")
            )
        table.add_row("held-out tasks", f"{held_out['tasks']:,}")
    for name in ("steps", "samples", "versions"):
        if name in result:
            table.add_row(
                {"steps": "learner steps", "samples": "programs graded", "versions": "policy versions"}[name], f"{result[name]:,}"
            )
    for phase, seconds in result.get("seconds", {}).items():
        table.add_row(f"seconds in {phase.replace('_', ' ')}", f"{seconds:.1f}")
    console.print(table)
    if ledger := result.get("ledger"):
        counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in ledger.items() if count)
        console.print(f"Every program: {counts}", markup=False, highlight=False, soft_wrap=True)
    print_warnings(result.get("warnings", ()))
    if folder:
        console.print(f"Report and plots: {folder}/report.md", markup=False, highlight=False, soft_wrap=True)


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
        columns.add_column(Text(f"{when}: {pair[when]['verdict']}", style="green" if pair[when]["passed"] else "red"), ratio=1)
    columns.add_row(_program(pair["before"]), _program(pair["after"]))
    question = pair["question"].strip()
    return Panel(Group(Text(question if len(question) <= 400 else question[:399] + "…"), Text(""), columns), border_style="dim")


def _program(program: Mapping[str, Any], most_lines: int = 24) -> Syntax:
    """A program, the line of its error highlighted."""
    lines = program["text"].rstrip().split("\n")
    text = "\n".join(lines[:most_lines] + ["…"] * (len(lines) > most_lines))
    error_line = {program["line"]} if program["line"] else set()
    return Syntax(text, "python", theme="ansi_light", background_color="default", word_wrap=True, highlight_lines=error_line)
