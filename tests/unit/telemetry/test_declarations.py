"""Every metric that is emitted is declared, every declared one is emitted, and shows where its declaration says."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rltf.buffer.control import Phase
from rltf.buffer.records import OUTCOMES, Group, LearnerFate
from rltf.config import Config
from rltf.evaluation.summary import summarise
from rltf.learner.batching import Plan
from rltf.learner.engine import StepResult
from rltf.learner.error_classes import ErrorClass
from rltf.learner.objectives import make_objective
from rltf.learner.objectives.base import LossInputs
from rltf.learner.step_rows import rl_row, supervised_row
from rltf.learner.training_step import Taken
from rltf.monitor.report import write_report
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.state import RunState
from rltf.monitor.status_line import Goal, status_segments
from rltf.telemetry.declarations import METRICS, STEP_FIGURES, Metric, Source
from rltf.telemetry.metrics import declared, meaning, numbers_of, rank
from rltf.telemetry.vocabulary import OUTCOME_WORDS
from tests.support.declared import undeclared, undeclared_in
from tests.support.monitor_rows import BEGIN, config, fill, held_out_row, sample, step_row, telemetry
from tests.support.paths import ROOT

WORKERS = {"actors": "actor", "weights": "actor", "executor": "executor", "learner": "learner"}
"""Room -> kind of worker whose recorder its code has."""
GUARDS = {"kl": 0.1, "log_prob_floor": -0.5, "importance_cap": 2.0}
NUMBERS = [metric for metric in METRICS["step"] if not metric.keys and metric.shows and metric.unit != "programs"]
"""Those of a step that are one number, counts apart."""


def recorded() -> set[tuple[str, str, str]]:
    """Method, name and kind of worker of every call of a recorder in the rooms."""
    found = set()
    for room, kind in WORKERS.items():
        for path in sorted((ROOT / room).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                    continue
                method, owner = call.func.attr, ast.unparse(call.func.value).rpartition(".")[2]
                if method in ("count", "gauge", "phase") and owner.endswith("recorder"):
                    name = call.args[0]
                    names = [name.body, name.orelse] if isinstance(name, ast.IfExp) else [name]
                    for each in names:
                        assert isinstance(each, ast.Constant), f"{path}:{call.lineno} records a name made elsewhere"
                        found.add((method, str(each.value), kind))
    return found | {("phase", name, "run") for name in get_args(Phase)}


def step_rows() -> list[dict[str, Any]]:
    """Rows as the learner makes them of two visits: of a step of every objective, each with every guard, and of a
    supervised one.
    """
    one = [sample("a", "pass"), sample("a", "runtime_error", version=1, error="TypeError")]
    groups = [Group(id="a", problem_id="a", samples=one, greedy=sample("a", "failure", version=2))]
    rows: list[dict[str, Any]] = []
    for name in ("rltf", "reinforce", "rloo", "grpo", "ppo_clip"):
        settings = Config.model_validate({"learner": {"objective": name}, "actors": {"greedy": True}, name: GUARDS})
        objective = make_objective(settings, encoder_decoder=False)
        assert objective is not None
        prepared = objective.prepare(groups)
        weights = torch.stack([torch.as_tensor(item.weights) for item in prepared.items], dim=1)
        shape = weights.shape[1:]
        signal = LossInputs(weights, torch.full(shape, -1.0), torch.full(shape, -1.2))
        log_probs = torch.full(shape, -1.1, requires_grad=True)
        loss = objective.loss(log_probs, torch.ones(shape, dtype=torch.bool), signal, prepared.totals)
        sums = {name: float(value) for name, value in loss.sums.items()}
        result = StepResult(float(loss.loss.detach()), 1.0, 1.0, sums, 6, {}, kl_to_previous=0.1, skipped=True)
        taken = Taken(objective.name, prepared, Plan([], 6, 6, 6), result, 1e-3, {})
        rows += [rl_row(1, 3, groups, taken, {}), supervised_row(1, 3, taken, {})]
    return rows


def strings(*paths: str) -> set[str]:
    """All string constants of these files."""
    nodes = (node for path in paths for node in ast.walk(ast.parse((ROOT / path).read_text())))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def a_run() -> RunState:
    state = RunState()
    state.fold(telemetry(steps=20))
    state.fold_step(full_row(20))
    state.held_out = {"": held_out_row(20, 0.61), "mbpp": held_out_row(20, 0.5)}
    state.ledger = {"queued": 24, "executing": 8, "buffered": 192}
    state.phase = "training"
    return state


def full_row(step: int) -> dict[str, Any]:
    """A row with every declared number."""
    return step_row(step) | {metric.name: 0.25 for metric in NUMBERS if metric.name not in ("step", "version")}


def test_each_is_declared_once_with_a_sentence() -> None:
    for source, metrics in METRICS.items():
        names = [metric.name for metric in metrics]
        assert len(names) == len(set(names)), source
        for metric in metrics:
            assert metric.meaning.endswith(".") and " " in metric.meaning, metric.name
            assert bool(metric.by) == (source in ("count", "gauge", "phase")), metric.name
    every = {metric.name: metric for metric in METRICS["step"]}
    assert set(every["outcomes"].keys) == set(OUTCOMES) == set(OUTCOME_WORDS) and list(OUTCOME_WORDS) == list(OUTCOMES)
    assert set(every["fates"].keys) == set(get_args(LearnerFate))
    assert set(every["fine"].keys) == {*get_args(ErrorClass), "no_error", "no_line"}


def test_workers_record_what_is_declared_and_nothing_else() -> None:
    sources = ("count", "gauge", "phase")
    assert recorded() == {
        (source, metric.name, kind) for source in sources for metric in METRICS[source] for kind in metric.by
    }  # type: ignore[index]


def test_rows_of_steps_have_what_is_declared_and_nothing_else() -> None:
    rows = step_rows()
    assert not undeclared("step", rows)
    emitted = {name for row in rows for name in row} | {"training_s"} & strings("learner/worker.py")
    assert emitted == {metric.name for metric in METRICS["step"]}
    (seconds,) = [metric for metric in METRICS["step"] if metric.name == "seconds"]
    assert set(seconds.keys) <= strings("learner/worker.py", "learner/engine.py", "learner/training_step.py")


def test_rows_of_evaluations_have_what_is_declared_and_nothing_else() -> None:
    samples = [sample("a", "pass", version=version) for version in range(10)]
    row = summarise(samples, ks=(1, 10)).as_row(label="x", step=1, seconds=2.0, time=BEGIN, name="own")
    assert not undeclared("held_out", [row])
    assert {declared("held_out", name) for name in row} == set(METRICS["held_out"])


def test_the_runs_numbers_are_what_is_declared_and_nothing_else() -> None:
    numbers = a_run().numbers(BEGIN + 55)
    assert {declared("run", name) for name in numbers} >= set(METRICS["run"])
    others = {name for name in numbers if declared("run", name) not in METRICS["run"]}
    assert others == {metric.name for metric in METRICS["step"] if metric.line}
    assert "held_out_step" not in numbers_of(numbers, "run", "gauge") and "held_out_pass_at_1" in numbers


def test_the_status_line_has_the_pieces_that_are_declared() -> None:
    state = a_run()
    parts = {(part.rank, part.text) for part in status_segments(state, Goal(40), BEGIN + 55)}
    numbers = state.numbers(BEGIN + 55)
    ranked = set(re.findall(r'rank\("(\w+)", "(.+?)"\)', (ROOT / "monitor" / "status_line.py").read_text()))
    for source, metrics in METRICS.items():
        for metric in metrics:
            if metric.line and metric.line.text:
                assert (metric.line.rank, metric.line.text.format_map(numbers)) in parts, metric.name
            elif metric.line:
                assert (source, metric.name) in ranked, metric.name
    assert all(rank(source, name) >= 0 for source, name in ranked)  # type: ignore[arg-type]


def test_report_and_tensorboard_show_what_is_declared(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    fill(folder)
    for step in (41, 42):
        folder.add_step(full_row(step))
    folder.close()
    text = write_report(folder).read_text()
    for metric in (metric for metrics in METRICS.values() for metric in metrics if metric.report):
        assert f"\n## {metric.report}\n" in text, metric.name
    for metric in METRICS["step"]:
        assert (f"\n| `{metric.name}`" in text) == (metric.report == STEP_FIGURES), metric.name
    tags = EventAccumulator(str(folder.path / "tensorboard")).Reload().Tags()["scalars"]
    for name, value in full_row(42).items():
        metric = declared("step", name)
        assert metric is not None
        shown = "tensorboard" in metric.shows and not isinstance(value, str | list)
        assert any(tag == f"train/{name}" or tag.startswith(f"train/{name}/") for tag in tags) == shown, name
    assert not undeclared_in(folder) - {"seconds/train"}, "the made-up rows have one name of their own"


def test_what_is_not_declared_is_kept_and_shown() -> None:
    row = {"step": 1, "loss": 0.5, "own": 2, "apart": {"x": 1.5, "y": "no number"}, "sample_ids": ["a"], "time": 1.0}
    row |= {"entropy": float("nan"), "pass_rate": 0.5, "error_types": {"Made up": 1}}
    assert numbers_of(row, "step", "tensorboard") == {"loss": 0.5, "own": 2.0, "apart/x": 1.5, "pass_rate": 0.5}
    assert numbers_of(row, "step", "status") == {"pass_rate": 0.5}
    assert numbers_of(row, "step", "gauge")["step"] == 1
    assert meaning("step", "own_name") == "own name." and meaning("run", "loss") == meaning("step", "loss")
    assert declared("count", "nothing") is None and isinstance(declared("held_out", "pass@7_se"), Metric)


@pytest.mark.parametrize("source", list(METRICS))
def test_every_source_has_its_table_in_the_docs(source: Source) -> None:
    """Whether it is up to date is looked at by tests/unit/project/test_registries.py."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    block = page.split(f"<!-- table metrics_{source} -->\n")[1].split("<!-- end -->")[0]
    assert [line.split("`")[1] for line in block.splitlines()[2:]] == [metric.name for metric in METRICS[source]]
