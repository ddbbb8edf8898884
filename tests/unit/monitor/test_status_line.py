"""The status line: everything that the README promises at 80 columns and more, and how long the run will still take."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from rltf.monitor.state import EtaEstimator, RunState
from rltf.monitor.status_line import MAX_LINES, Goal, StatusLine, fitted, status_segments
from tests.support.monitor_rows import BEGIN, held_out_row, phase, step_row, telemetry

NOW = BEGIN + 55
GOAL = Goal(40)
PROMISED = (
    "step 20/40",
    "loss +0.0",
    "pass 50%",
    "wrong 25% runtime 19% syntax 6%",
    "96 generated, 96 graded, 96 trained",
    "lag 0.5",
)
"""What the README says that the line shows, beside who waits for whom."""
WAITS = ("executors wait for actors 60%", "learner waits for executors 30%", "actors wait for learner 25%")


def state_of_a_run() -> RunState:
    state = RunState()
    state.fold(telemetry(steps=20))
    for step in range(1, 21):
        state.fold_step(step_row(step))
    state.held_out = {"": held_out_row(20, 0.61)}
    state.ledger = {"queued": 24, "executing": 8, "buffered": 192}
    state.phase = "training"
    return state


def shown(state: RunState, width: int, goal: Goal = GOAL) -> str:
    """The lines of a terminal, each as wide as it may be and no wider."""
    lines = fitted(status_segments(state, goal, NOW), width)
    assert all(len(line) <= width for line in lines) and len(lines) <= MAX_LINES
    return " · ".join(lines)


def warm_start(*steps: tuple[int, float]) -> RunState:
    """So many steps at so many seconds after the beginning."""
    state = RunState()
    state.phase = "warm_start"
    for step, at in steps:
        for name, value in (("step", step), ("loss", 1.25)):
            state.fold(
                [
                    {
                        "kind": "gauge",
                        "role": "learner-0",
                        "name": f"warm_start_{name}",
                        "value": value,
                        "time": BEGIN + at,
                    }
                ]
            )
    return state


@pytest.mark.parametrize("width", [80, 100, 120, 160, 225])
def test_all_that_is_promised_fits_on_a_terminal(width: int) -> None:
    line = shown(state_of_a_run(), width)
    for words in (*PROMISED, *WAITS, "40 s left", "held-out 0.61", "queue 32, buffer 192"):
        assert words in line


def test_a_wide_terminal_has_it_on_one_line_with_more_words() -> None:
    state = state_of_a_run()
    assert len(fitted(status_segments(state, Goal(40), NOW), 300)) == 1
    assert "held-out 0.61 at step 20" in shown(state, 225) and "ledger balances" in shown(state, 225)


def test_each_held_out_set_has_a_piece_where_there_is_room() -> None:
    state = state_of_a_run()
    state.held_out |= {"mbpp": held_out_row(20, 0.25), "apps": held_out_row(10, 0.125)}
    assert "held-out 0.61 at step 20 · mbpp 0.25 at step 20 · apps 0.12 at step 10" in shown(state, 300)
    for words in (*PROMISED, *WAITS):
        assert words in shown(state, 80)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_large_figures_keep_the_essentials(width: int) -> None:
    state = state_of_a_run()
    state.step |= {"step": 12_345, "loss": -1234.5678, "staleness": 12.5}
    state.fold([{"kind": "count", "role": "executor-0", "name": "programs", "value": 123_456, "time": NOW}])
    state.fold(
        [
            {
                "kind": "now",
                "role": "executor-11",
                "name": "wait",
                "waits_for": "learner",
                "start": NOW - 2431,
                "time": NOW,
            }
        ]
    )
    state.ledger = {"queued": 102_048, "executing": 99_999, "buffered": 106_400}
    state.evaluation = (1_000, 5_000)
    line = shown(state, width, Goal(24_000))
    for words in (
        "step 12345/24000",
        "13 h",
        "loss -1234.5678",
        "pass 50%",
        "wrong 25% runtime 19% syntax 6%",
        "lag 12.5",
        " for ",
    ):
        assert words in line
    assert "executor-11 has waited 2431 s for learner" in line and "12442 graded" in line


def test_sixty_columns_have_what_matters_most() -> None:
    line = shown(state_of_a_run(), 60)
    for words in (
        "step 20/40",
        "pass 50%",
        "loss +0.0",
        "wrong 25% runtime 19% syntax 6%",
        "lag 0.5",
        "40 s left",
        WAITS[0],
    ):
        assert words in line
    assert shown(state_of_a_run(), 20).startswith("step 20/40")


def test_what_a_narrow_terminal_dropped_comes_back_when_it_widens() -> None:
    out = io.StringIO()
    console = Console(file=out, width=60, force_terminal=True)
    state = state_of_a_run()
    seen = []
    with StatusLine(console, Goal(40)) as line:
        for width in (60, 225, 60, 80):
            console.width = width
            state.phase = "imitation" if state.phase == "training" else "training"  # a change is shown at once
            begin = len(out.getvalue())
            line.update(state, NOW)
            seen.append(out.getvalue()[begin:])
    assert ["queue 32" in text for text in seen] == [False, True, False, True]
    assert ["ledger balances" in text for text in seen] == [False, True, False, False]
    assert all(WAITS[0] in text and "wrong 25%" in text for text in seen)


def test_an_imbalance_is_on_every_terminal() -> None:
    state = state_of_a_run()
    state.imbalance = "3 are counted as queued, but there are 2"
    for width in (60, 80, 225):
        assert "THE LEDGER DOES NOT BALANCE" in shown(state, width) and "ledger balances" not in shown(state, width)


def test_without_a_terminal_a_plain_line_now_and_then() -> None:
    out = io.StringIO()
    state = state_of_a_run()
    with StatusLine(Console(file=out, width=80), Goal(40), log_every_s=3600) as line:
        for _ in range(5):
            line.update(state, NOW)
        state.phase = "final_evaluation"
        line.update(state, NOW + 1)
        line.note("2 problems skipped")
    lines = out.getvalue().splitlines()
    assert len(lines) == 3 and "\x1b" not in out.getvalue()
    assert "| pass 50% |" in lines[0] and "final evaluation" in lines[1] and lines[2] == "2 problems skipped"
    assert all(words in lines[0] for words in (*PROMISED, *WAITS))


def test_on_a_terminal_the_line_is_redrawn() -> None:
    out = io.StringIO()
    with StatusLine(Console(file=out, width=100, force_terminal=True), Goal(40)) as line:
        line.update(state_of_a_run(), NOW)
        assert "step 20/40" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K")  # the line is gone, the results come in its place


def test_the_warm_start_shows_how_far_it_is_and_when_it_ends() -> None:
    goal = Goal(40, warm_start_steps=550)
    assert shown(warm_start((31, 0), (41, 9)), 200, goal) == "warm start · step 41/550, loss 1.250 · nobody waits", (
        "no pace yet"
    )
    line = shown(warm_start((50, 5), (100, 30), (150, 55)), 200, goal)
    assert line == "warm start · step 150/550, loss 1.250 · 3 min left · nobody waits", "400 steps of half a second"
    assert "left" not in shown(warm_start((50, 5), (100, 30), (150, 55)), 200, Goal(40)), "until_pass: nobody knows"


def test_training_ends_with_its_steps_or_its_seconds() -> None:
    state = state_of_a_run()
    assert "40 s left" in shown(state, 225)
    assert "5 s left" in shown(state, 225, Goal(40, max_seconds=45)), "39.9 seconds of training are over"
    assert "left" not in shown(RunState(), 225)
    state.phase = "final_evaluation"
    assert "left" not in shown(state, 225)


def test_an_evaluation_shows_how_far_it_is_and_when_it_ends() -> None:
    state = state_of_a_run()
    state.phase = "final_evaluation"
    for done, at in ((0, 0), (100, 10), (128, 15)):
        state.fold_evaluation((done, 256), NOW - 15 + at)
    assert "final evaluation" in shown(state, 80) and "evaluated 128/256, 15 s left" in shown(state, 60)
    state.fold_evaluation(None, NOW)
    assert "evaluated" not in shown(state, 225)


def test_before_anything_happened_the_line_says_starting() -> None:
    assert shown(RunState(), 80) == "starting"


def test_a_pace_begins_anew_where_work_is_done_again_or_a_clock_is_set_back() -> None:
    pace = EtaEstimator()
    for at, done in ((0, 0), (1, 10), (2, 20)):
        pace.update(at, done)
    assert pace.seconds_left(100, 2) == 8 and pace.seconds_left(100, 5) == 5 and pace.seconds_left(100, 99) == 0
    pace.update(3, 10)
    assert pace.seconds_left(100, 3) is None
    for at, done in ((5, 20), (7, 30)):
        pace.update(at, done)
    assert pace.seconds_left(100, 7) == 14
    pace.update(-3600, 30)
    assert pace.seconds_left(100, -3600) is None


def test_a_clock_that_is_set_hides_nothing_and_makes_no_wait_longer() -> None:
    watch = [100.0]
    for jump in (3600.0, -3600.0):
        state = RunState(clock=lambda: watch[0])
        state.fold([phase("learner-0", "wait", 0, 5, "actor"), phase("learner-0", "train", 5, 6)])
        state.fold([{"kind": "count", "role": "learner-0", "name": "samples", "value": 96, "time": BEGIN + 6}])
        state.fold(
            [
                {
                    "kind": "now",
                    "role": "learner-0",
                    "name": "wait",
                    "waits_for": "actor",
                    "start": BEGIN + 6,
                    "time": BEGIN + 7,
                }
            ]
        )
        watch[0] += 20
        longest = state.longest_wait(BEGIN + 26 + jump)
        assert longest is not None and longest[1] <= 20
        assert state.rates(BEGIN + 26 + jump)["trained"] == 0, "what was before the jump is not of the last ten seconds"
        state.fold(
            [phase("learner-0", "wait", 6, 27 + jump, "actor"), phase("learner-0", "train", 27 + jump, 28 + jump)]
        )
        assert state.longest_wait(BEGIN + 28 + jump) is None, "it works again"
        state.fold([phase("learner-0", "wait", 28 + jump, 33 + jump, "executor")])
        (wait,) = [wait for wait in state.waits(BEGIN + 38 + jump) if wait.waits_for == "executor"]
        assert wait.share == pytest.approx(0.5)


def test_a_wait_is_not_longer_than_it_was_watched() -> None:
    state = RunState(clock=time.monotonic)
    state.fold(
        [
            {
                "kind": "now",
                "role": "learner-0",
                "name": "wait",
                "waits_for": "actor",
                "start": BEGIN,
                "time": BEGIN + 2431,
            }
        ]
    )
    longest = state.longest_wait(BEGIN + 2431)
    assert longest is not None and longest[1] < 60
