"""The status line: what the run does now, in place on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rltf.monitor.absence import absent_in_words
from rltf.monitor.state import RunState
from rltf.telemetry.console import LINE_INTERVAL_S, redirects_stderr, time_left, updates_in_place
from rltf.telemetry.declarations import ALWAYS, METRICS
from rltf.telemetry.metrics import rank
from rltf.telemetry.vocabulary import few

MAX_LINES = 4
"""On a terminal: with these 80 columns have room for all that a reader is promised."""
_LONG_WAIT_S = 15.0
_MIN_SHARE = 0.05
_BETWEEN = " · "


@dataclass(frozen=True, slots=True)
class Goal:
    """What a run is to come to."""

    steps: int
    """Learner steps of the whole run."""
    max_seconds: float | None = None
    """Seconds of training that end it earlier; None: no bound."""
    warm_start_steps: int = 0
    """Steps of its warm start; 0 if that is not known before."""


class Segment(NamedTuple):
    """A piece of the status line."""

    rank: int
    """Where there is no room for all the highest go first; `ALWAYS` stays."""
    text: str
    short: str = ""
    """What stands for it where there is little room; empty: the same."""


class StatusLine:
    """Updates in place, in up to `MAX_LINES` lines of the terminal's width of the moment; a plain log line now and
    then elsewhere.

    A context manager. `update` may be called as often as wanted: the terminal is redrawn at most four times a second, a
    log line is printed every `log_every_s` seconds and when the run's phase changes.
    """

    def __init__(self, console: Console, goal: Goal, log_every_s: float = LINE_INTERVAL_S) -> None:
        self._console = console
        self._goal = goal
        self._log_every_s = log_every_s
        self._live: Live | None = None
        if updates_in_place(console):
            self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stderr=redirects_stderr())
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
        parts = status_segments(state, self._goal, time.time() if now is None else now)
        if self._live is not None:
            lines = fitted(parts, self._console.width)
            self._live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self.note(time.strftime("%H:%M:%S ") + " | ".join(part.text for part in parts))

    def note(self, sentence: str) -> None:
        """Prints a sentence above the line, for good: held-out results."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def status_segments(state: RunState, goal: Goal, now: float) -> list[Segment]:
    """The pieces of the status line in the order they are shown. `now`: as in `StatusLine.update`."""
    parts = [
        *_progress(state, goal, now),
        *_absent(state, now),
        *_figures(state, now),
        *_evaluation(state, now),
        *_flow(state, now),
        *_waits(state, now),
    ]
    return parts or [Segment(ALWAYS, "starting")]


def fitted(parts: Sequence[Segment], width: int, max_lines: int = MAX_LINES) -> list[str]:
    """The pieces in lines of at most `width` characters: in full where `max_lines` hold that, else in brief, the
    highest ranks dropped.
    """
    lines = _lines([part.text for part in parts], width)
    kept = list(parts)
    while len(lines) > max_lines or max(map(len, lines)) > width:
        lines = _lines([part.short or part.text for part in kept], width)
        if len(kept) == 1:
            break
        kept.remove(max(kept, key=lambda part: part.rank))
    return lines


def _lines(texts: Sequence[str], width: int) -> list[str]:
    """As many texts on each line as it holds."""
    lines = [texts[0]]
    for text in texts[1:]:
        if len(lines[-1]) + len(_BETWEEN) + len(text) <= width:
            lines[-1] += _BETWEEN + text
        else:
            lines.append(text)
    return lines


def _progress(state: RunState, goal: Goal, now: float) -> Iterator[Segment]:
    """How far the run is, and for how long it will go on."""
    if state.imbalance is not None:
        yield Segment(rank("run", "ledger_balances"), "THE LEDGER DOES NOT BALANCE")
    if state.phase and state.phase != "training":
        yield Segment(ALWAYS, state.phase.replace("_", " "))
    if state.phase == "warm_start":
        if (warm_start := state.warm_start()) is not None:
            total = f"/{goal.warm_start_steps}" if goal.warm_start_steps else ""
            words = f"step {warm_start[0]}{total}, loss {warm_start[1]:.3f}"
            yield Segment(rank("gauge", "warm_start_step"), words)
            if goal.warm_start_steps:
                yield from _left(state.seconds_left("warm_start", goal.warm_start_steps, now))
        return
    if state.step:
        yield Segment(rank("step", "step"), f"step {state.step['step']}/{goal.steps}")
    if state.phase in ("training", "imitation"):
        bounds = [state.seconds_left("steps", goal.steps, now)]
        if goal.max_seconds is not None and state.training_since is not None:
            bounds.append(max(0.0, goal.max_seconds - state.rl_seconds(now)))
        yield from _left(min((bound for bound in bounds if bound is not None), default=None))


def _absent(state: RunState, now: float) -> Iterator[Segment]:
    """Who does not run, and what each waits for."""
    if state.absent:
        yield Segment(1, absent_in_words(state.absent, now), f"not running: {few(list(state.absent))}")


def _left(seconds: float | None) -> Iterator[Segment]:
    if seconds is not None:
        yield Segment(2, time_left(seconds))


def _figures(state: RunState, now: float) -> Iterator[Segment]:
    """What the learner makes of it: the numbers whose declaration words them."""
    numbers = state.numbers(now)
    for metric in (*METRICS["step"], *METRICS["run"]):
        if metric.line and metric.line.text:
            try:
                text, short = metric.line.text.format_map(numbers), metric.line.short.format_map(numbers)
            except KeyError:  # one of its numbers is not there yet
                continue
            yield Segment(metric.line.rank, text, short)
        elif metric.name == "held_out_pass_at_1_*":
            yield from _further_sets(state)


def _further_sets(state: RunState) -> Iterator[Segment]:
    """The newest evaluation of each held-out set with a name."""
    for name, row in state.held_out.items():
        if name:
            short = f"{name} {row['pass@1']:.2f}"
            yield Segment(rank("run", "held_out_pass_at_1_*"), f"{short} at step {row['step']}", short)


def _evaluation(state: RunState, now: float) -> Iterator[Segment]:
    """How far the evaluations under way are."""
    if state.evaluation is not None:
        seconds = state.seconds_left("evaluation", state.evaluation[1], now)
        left = f", {time_left(seconds)}" if seconds is not None else ""
        place = ALWAYS if state.phase in ("final_evaluation", "evaluation") else 6
        yield Segment(place, f"evaluated {state.evaluation[0]}/{state.evaluation[1]}{left}")


def _flow(state: RunState, now: float) -> Iterator[Segment]:
    """Where the programs are."""
    rates = state.rates(now)
    if any(rates.values()):
        words = ", ".join(f"{value:.0f} {verb}" for verb, value in rates.items())
        yield Segment(rank("run", "*_per_second"), f"/s: {words}")
    if state.ledger:
        queued = state.ledger.get("queued", 0) + state.ledger.get("executing", 0)
        balance = ", ledger balances" if state.imbalance is None else ""
        places = f"queue {queued}, buffer {state.ledger.get('buffered', 0)}"
        yield Segment(rank("run", "ledger_*"), places + balance, places)


def _waits(state: RunState, now: float) -> Iterator[Segment]:
    """Who waits for whom, the largest share first."""
    if not state.roles:
        return
    longest = state.longest_wait(now)
    first = rank("run", "wait_share_*_for_*")
    if longest is not None and longest[1] > _LONG_WAIT_S:
        yield Segment(first, f"{longest[0].role} has waited {longest[1]:.0f} s for {longest[0].waits_for}")
    waits = [wait for wait in state.waits(now) if wait.share >= _MIN_SHARE]
    for place, wait in enumerate(waits):
        yield Segment(first if place == 0 else first + 2 + place, state.wait_in_words(wait))
    if not waits:
        yield Segment(first + 3, "nobody waits")
