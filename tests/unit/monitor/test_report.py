import json
from pathlib import Path

import numpy as np
import pytest

from rltf.evaluation import before_and_after
from rltf.monitor import curves, report
from rltf.monitor.examples import as_rows
from rltf.monitor.report_fates import events_section
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.timeline import Counts, binned, overlap, shares, timeline, training_window
from rltf.telemetry.vocabulary import PRODUCTS
from tests.support.monitor_rows import BEGIN, config, count, fill, held_out_row, phase, sample, step_row, telemetry

PICTURES = ("held_out.png", "error_types.png", "throughput.png", "timeline.png")


def test_nested_phases_give_each_instant_to_the_innermost() -> None:
    spans = timeline(
        [phase("learner-0", "draw", 2, 3, "actor"), phase("learner-0", "step", 1, 6), phase("learner-0", "train", 3, 5)]
    )
    assert [(span.name, span.start - BEGIN, span.end - BEGIN) for span in spans["learner-0"]] == [
        ("step", 1, 2),
        ("draw", 2, 3),
        ("train", 3, 5),
        ("step", 5, 6),
    ]


def test_roles_are_ordered_by_kind_and_number() -> None:
    roles = [f"executor-{number}" for number in (10, 2)] + ["actor-0", "learner-0", "run", "driver"]
    assert list(timeline([phase(role, "x", 0, 1) for role in roles])) == [
        "run",
        "learner-0",
        "actor-0",
        "executor-2",
        "executor-10",
        "driver",
    ]


def test_shares_add_up_to_the_window() -> None:
    kinds = shares(timeline(telemetry(steps=10)), BEGIN + 15, BEGIN + 35)
    learner, executor = kinds["learner"], kinds["executor"]
    assert learner.working["train"] == pytest.approx(13) and learner.waiting["executor"] == pytest.approx(6)
    assert learner.unaccounted == pytest.approx(0, abs=1e-3)
    assert executor.workers == 2 and executor.total == pytest.approx(40)
    assert executor.unaccounted == pytest.approx(2, abs=1e-3)


def test_overlap_is_the_share_of_training_time_with_generation() -> None:
    rows = [phase("learner-0", "train", 0, 4), phase("actor-0", "generate", 1, 2), phase("actor-1", "generate", 1.5, 3)]
    rows += [phase("actor-0", "wait", 3, 4, "learner")]
    assert overlap(timeline(rows), BEGIN, BEGIN + 4) == pytest.approx(0.5)
    assert overlap(timeline(rows[1:]), BEGIN, BEGIN + 4) is None
    assert overlap(timeline(rows[:1]), BEGIN, BEGIN + 4) == 0


def test_the_training_window_begins_with_the_first_training_program() -> None:
    window = training_window(timeline(telemetry(steps=10)))
    assert window == pytest.approx((BEGIN + 15.1, BEGIN + 34.9))
    assert training_window({}) is None


def test_bins_and_rates() -> None:
    edges = np.array([0.0, 1.0, 2.0, 4.0]) + BEGIN
    bins = binned(
        timeline([phase("actor-0", "generate", 0.5, 3.0), phase("actor-0", "wait", 3, 9, "learner")])["actor-0"], edges
    )
    assert bins["generate", None] == pytest.approx([0.5, 1.0, 0.5])
    assert bins["wait", "learner"] == pytest.approx([0, 0, 0.5])
    counts, made = Counts(), [count("actor-1", "programs", 6, 3), count("actor-0", "other", 9, 3)]
    assert list(counts.reading(made)) == made
    generated, graded, _ = (counts.per_second(product, edges) for product in PRODUCTS)
    assert generated == pytest.approx([0, 0, 3]) and not graded.any()


def test_the_report_says_what_the_rows_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder.create(config(tmp_path))
    fill(folder)
    pairs = before_and_after(
        [sample("a", "runtime_error", error="TypeError")], [sample("a", "pass")], {"a": "Give xs back."}
    )
    dead = [{"id": "x-1", "fate": "dead_letter", "reason": "no sandbox | after 3 tries"}]
    kept = {"examples": as_rows(pairs), "warnings": ["2 problems skipped"], "dead_letters": dead}
    kept |= {"ledger_checks": 7, "imbalance": None, "buffer_events": {"groups_stale": 2}}
    folder.write_result(folder.result() | kept)
    text = report.write_report(folder).read_text()
    for name in PICTURES:
        assert (folder.path / name).read_bytes()[:4] == b"\x89PNG" and f"]({name})" in text
    assert "**0.200 ± 0.025 before** training, **0.779 ± 0.026 after**" in text
    assert "40 learner steps, 7,680 programs graded, 41 policy versions" in text
    assert "during **69%** of the learner's training time" in text  # the actors generate in 0.9 of its 1.3 s
    assert "for actors 60.0%" in text and "train 65.2%" in text
    assert "96.2 generated, 96.2 graded, 96.2 trained" in text
    assert "| 0 | 3,840 | 50.0% |" in text and "than `buffer.max_staleness` allows: 0." in text
    assert "balanced in all of 7 checks" in text and "groups stale 2" in text
    assert "| trained | 6,000 |" in text and "Warning: 2 problems skipped" in text
    assert "| TypeError | 17.7% | 6.5% |" in text
    assert "Give xs back." in text and "Before: TypeError in line 2" in text and "After: passes 5 of 5 tests" in text
    assert "samples_per_problem: 8" in text
    assert "| x-1 | dead letter | no sandbox \\| after 3 tries |" in text
    (folder.path / "report.md").unlink()
    assert report.main([str(folder.path)]) == 0 and (folder.path / "report.md").read_text() == text
    assert report.main([str(tmp_path)]) == 2 and "no run folder" in capsys.readouterr().err


def test_every_pass_at_k_and_what_the_figures_are_about_are_in_the_report(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    folder.add_held_out(held_out_row(0, 0.25) | {"lost": 3})
    more = {"max@2": 0.875, "max@2_se": 0.0625, "pass@10": 0.75, "pass@10_se": 0.125}
    folder.add_held_out(held_out_row(20, 0.5) | more | {"lost": 0})
    words = "256 of 500 from own; 2 of them, whose prompt does not fit, count as not solved"
    left_out = [{"set": "own", "problem": f"line {number}", "reason": "broken | JSON"} for number in range(201)]
    ended = {"stopped_early": "no better max@2 for 3 evaluations"}
    folder.write_result(
        ended | {"held_out": {"tasks": 256, "about": words, "before": {"pass@1": 0.25}}, "left_out": left_out}
    )
    text = report.write_report(folder).read_text()
    assert "- Held-out pass@10: **– before** training, **0.750 ± 0.125 after** it (step 20)." in text
    assert "- Held-out max@2: **– before** training, **0.875 ± 0.062 after** it (step 20)." in text
    assert "| step | seconds | pass@1 | pass@10 | max@2 | programs |" in text
    assert "- Training ended before its last step: no better max@2 for 3 evaluations." in text
    assert f"- Held-out tasks: {words}; 256 sampled programs" in text
    assert (
        "Up to 3 programs of an evaluation have no verdict (infrastructure failures); they count as not passed." in text
    )
    assert "| 0.500 ± 0.031 | 0.750 ± 0.125 | 0.875 ± 0.062 |" in text
    assert "mbpp" not in text and not list(folder.path.glob("held_out_*.png"))
    assert "| own | line 0 | broken \\| JSON |" in text and "And 1 more, which result.json lists." in text


def test_every_held_out_set_has_its_figures_and_its_curve(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    for step, value in ((0, 0.25), (20, 0.5)):
        folder.add_held_out(held_out_row(step, value))
        folder.add_held_out(held_out_row(step, value / 2) | {"set": "mbpp", "max@5": value, "tasks": 90})
    folder.add_held_out(held_out_row(0, 0.125) | {"set": "once", "lost": 2})
    sets = {"mbpp": {"tasks": 90, "about": "90 of 374 from mbpp"}}
    folder.write_result({"held_out": {"tasks": 256, "about": "256 of 500 from own", "sets": sets}})
    text = report.write_report(folder).read_text()
    for line in (
        "- Held-out pass@1: **0.250 ± 0.027 before** training, **0.500 ± 0.031 after** it (step 20).",
        "- Held-out mbpp max@5: **0.250 before** training, **0.500 after** it (step 20).",
        "- Held-out mbpp tasks: 90 of 374 from mbpp; 256 sampled programs",
        "- Held-out once pass@1: **0.125 ± 0.021 before** training, not evaluated after it.",
        "- Up to 2 programs of an evaluation have no verdict",
        "## Held-out mbpp pass@1\n\n![Held-out mbpp pass@1 over steps and seconds](held_out_mbpp.png)",
        "| step | seconds | pass@1 | max@5 | programs |",
    ):
        assert line in text, line
    assert {path.name for path in folder.path.glob("held_out*.png")} == {"held_out.png", "held_out_mbpp.png"}


def test_a_run_that_ended_early_has_a_report_too(tmp_path: Path) -> None:
    empty = RunFolder.create(config(tmp_path))
    assert "no learner step" in report.write_report(empty).read_text()
    short = RunFolder.create(config(tmp_path))
    short.add_telemetry(telemetry(steps=1))
    short.add_step({key: step_row(1)[key] for key in ("step", "time", "outcomes", "error_types")})
    short.close()
    assert "No held-out evaluation was completed" in report.write_report(short).read_text()
    short.add_held_out(held_out_row(0, 0.15))
    assert "**0.150 ± 0.022 before** training, not evaluated after it." in report.write_report(short).read_text()


def test_a_ledger_that_did_not_balance_is_in_the_report(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    sentence = (
        "the ledger of train does not balance: 3 are counted as queued, but there are 2 unclaimed entries in the queue"
    )
    folder.add_event({"time": BEGIN, "event": "imbalance", "reason": sentence})
    folder.write_result({"ledger": {"generated": 3, "queued": 3}, "ledger_checks": 4, "imbalance": sentence})
    text = report.write_report(folder).read_text()
    assert f"**The ledger does not balance**: {sentence}." in text and "balanced in all" not in text
    assert f"| {sentence} |" in text


def test_curves_of_several_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        fill(RunFolder.create(config(tmp_path)), steps=10)
    out = tmp_path / "curves.png"
    assert (
        curves.main(
            [
                str(out),
                f"quick start={tmp_path}/runs/example",
                f"quick start={tmp_path}/runs/example-2",
                f"{tmp_path}/runs/example",
            ]
        )
        == 0
    )
    assert out.read_bytes()[:4] == b"\x89PNG"
    label, points = curves.read_curve(f"{tmp_path}/runs/example", "steps")
    assert label == "example" and points[:, 0].tolist() == [0, 5, 10]
    RunFolder.create(config(tmp_path))
    assert curves.main([str(out), f"{tmp_path}/runs/example-3"]) == 2
    assert "no held-out evaluation" in capsys.readouterr().err


def test_the_mean_curve_is_interpolated_where_all_runs_have_points() -> None:
    mean = curves._mean([np.array([[0, 0.0], [10, 1.0], [30, 1.0]]), np.array([[0, 0.0], [20, 1.0]])])
    assert mean[:, 0].tolist() == [0, 10, 20] and mean[:, 1] == pytest.approx([0, 0.75, 1.0])
    assert json.dumps(mean.tolist())


def test_a_pool_that_changed_is_told_in_words() -> None:
    row = {"time": 0.0, "event": "scaled", "part": "executor", "reason": "by the work queue", "before": 4, "count": 1}
    assert "| 1 executor in place of 4, by the work queue |" in "".join(events_section([row]))
