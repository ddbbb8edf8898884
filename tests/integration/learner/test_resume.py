"""A learner that was stopped goes on: in deterministic mode no bit of the weights tells, after a crash no sample is
used twice.
"""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import rltf.learner.engine
from rltf.buffer.evaluations import ANY_VERSION, label_of, set_of
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config, UserError
from rltf.learner.checkpoints import Checkpoints
from rltf.learner.step_exports import step_exports
from rltf.learner.task import HeldOutSet, LearnerTask
from tests.support.learner_run import Run

FIELDS: dict[str, Any] = {
    "run": {"name": "test", "stall_timeout_s": 60, "deterministic": True},
    "warm_start": {"steps": 10, "batch_size": 16},
    "learner": {
        "objective": "rltf",
        "supervised_ratio": 1,
        "groups_per_step": 2,
        "micro_batch_tokens": 300,
        "steps": 9,
        "supervised_batch_size": 8,
    },
    "checkpoint": {"every": 3, "keep": 2, "best": True, "export_every": 3},
    "evaluation": {
        "every": 4,
        "tasks": 2,
        "samples": 2,
        "sets": [{"name": "greedy", "problems": "starter", "temperature": 0, "samples": 1, "every": 3}],
    },
}


class Stopper:
    """Runs a learner until it has taken `steps` steps."""

    def __init__(self, run: Run, steps: int) -> None:
        self.stop = threading.Event()
        self._run, self._steps = run, steps
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while len(self._run.rows()) < self._steps and not self.stop.is_set():
            time.sleep(0.01)
        self.stop.set()


@pytest.fixture
def make_run(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def make(name: str, **fields: Any) -> Run:
        (tmp_path / name).mkdir(exist_ok=True)
        runs.append(Run(redis_server, tmp_path / name, **(FIELDS | fields)))
        return runs[-1]

    yield make
    for run in runs:
        run.flow.close()


def whole(run: Run, stop: threading.Event | None = None) -> Run:
    with run.others():
        run.learner.run(stop or threading.Event())
    return run


def test_a_stopped_run_ends_with_the_weights_of_an_uninterrupted_one(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    reference = whole(make_run("reference"))
    for steps in (1, 4, 7):
        stopped = make_run("stopped")
        stopped.flow.resume()
        whole(stopped, Stopper(stopped, steps).stop)
        taken = len(stopped.rows())
        assert steps <= taken < 9
        newest = Checkpoints.of_run(tmp_path / "stopped").newest()
        assert newest is not None and newest.step == taken
        again = make_run("stopped")
        assert stopped.flow.ledger.check() is None
    others: list[Callable[[LearnerTask], LearnerTask]] = [
        lambda task: replace(task, training_ids=task.training_ids[::-1]),
        lambda task: replace(
            task, held_out=[replace(task.held_out[0], problem_ids=task.held_out[0].problem_ids[::-1])]
        ),
        lambda task: replace(task, held_out=[*task.held_out, HeldOutSet(["print-4"], "another")]),
    ]
    for other in others:
        changed = make_run("stopped").learner
        changed._task = other(changed._task)
        with pytest.raises(UserError, match="was made with other problems"):
            changed.run(threading.Event())
    again.flow.resume()
    whole(again)
    assert again.learner.resumed_at == taken
    assert [row["step"] for row in again.rows()] == list(range(1, 10))
    for name in ("loss", "sample_ids", "version", "learning_rate", "baselines"):
        assert [row.get(name) for row in again.rows()] == [row.get(name) for row in reference.rows()], name
    exports = ["export", "exports/step-000003", "exports/step-000006", "exports/step-000009"]
    assert [*step_exports(tmp_path / "stopped").values()] == [tmp_path / "stopped" / name for name in exports[1:]]
    for export in exports:
        folders = [tmp_path / name / export for name in ("stopped", "reference")]
        ours, theirs = (load_file(folder / "model.safetensors") for folder in folders)
        assert ours.keys() == theirs.keys() and all(bool((ours[name] == theirs[name]).all()) for name in ours), export
    card = (tmp_path / "stopped" / exports[2] / "README.md").read_text()
    assert "6 steps" in card and "while its run went on, before any evaluation of it" in card
    assert again.flow.ledger.check() is None
    assert again.flow.ledger.counts() == reference.flow.ledger.counts()
    best = again.learner._checkpoints.best()
    assert best is not None and best.step in [step for step, _ in again.learner._position.evaluated]
    # Half of the steps are supervised: what is due after step 3 is of the version before step 5.
    labels = [label_of(step) for step in (0, 4, 8, 9)] + [label_of(step, "greedy") for step in (0, 4, 6, 9)]
    assert sorted(label for _, label in again.learner._position.evaluated) == sorted(labels)
    for label in labels:
        version = again.flow.evaluations.progress(label).version
        samples = reference.flow.evaluations.results(label)
        assert {each.version for sample in samples for each in sample.program.versions} == {version}, label
    scores = {label: again.learner._checkpoints.score(label) for label in labels}
    assert scores == {label: reference.learner._checkpoints.score(label) for label in labels}
    assert [score.set for score in scores.values() if score is not None] == [""] * 4 + ["greedy"] * 4
    card = (tmp_path / "stopped" / "export" / "README.md").read_text()
    assert card.count("| after | 9 |") == 2 and "### greedy\n\nShare of programs, sampled greedily, that pass" in card
    more = make_run("stopped", learner=FIELDS["learner"] | {"steps": 11})
    more.flow.resume()
    whole(more)
    assert more.learner.resumed_at == 9, "a finished run goes on with more steps"
    assert [row["step"] for row in more.rows()] == list(range(1, 12))


@contextmanager
def a_chunk_held(run: Run, label: str) -> Iterator[None]:
    """Another actor holds a chunk of the evaluation, once it is asked for, and never writes it."""
    done = threading.Event()

    def hold() -> None:
        while not run.flow.evaluations.is_requested(label) and not done.wait(0.01):
            pass
        while not done.wait(0.5):  # asked again, the same chunk is held on
            chunk = run.flow.evaluations.next_chunk("another", ANY_VERSION)
            assert chunk is None or chunk.label == label

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_stop_while_an_evaluation_is_waited_for_loses_none(make_run: Callable[..., Run]) -> None:
    fields: dict[str, Any] = {
        "learner": FIELDS["learner"] | {"supervised_ratio": 0, "steps": 3},
        "evaluation": {"every": 1, "tasks": 2},
        "buffer": {"lease_s": 5.0},
        "actors": {"problems_per_batch": 1, "samples_per_problem": 4, "greedy": True},
    }
    stopped = make_run("held", **fields)
    stop = threading.Event()

    def stop_it() -> None:
        while len(stopped.rows()) < 1:
            time.sleep(0.01)
        time.sleep(2)  # the learner waits by then, or is about to
        stop.set()

    learner = threading.Thread(target=stopped.learner.run, args=(stop,))
    with a_chunk_held(stopped, label_of(0)):
        learner.start()
        while not stopped.flow.evaluations.is_requested(label_of(0)):
            time.sleep(0.01)
        time.sleep(1)  # the chunk is held before an actor is there
        stopper = threading.Thread(target=stop_it)
        stopper.start()
        with stopped.others():
            learner.join(120)
        stopper.join()
    assert not learner.is_alive() and len(stopped.rows()) == 1
    assert not stopped.flow.evaluations.is_requested(label_of(1)), "it waits for the one before"
    again = make_run("held", **fields)
    again.flow.resume()
    whole(again)
    assert again.learner.resumed_at == 1
    assert [label for _, label in again.learner._position.evaluated] == [label_of(step) for step in range(4)]
    versions = [again.flow.evaluations.progress(label_of(step)).version for step in range(4)]
    assert versions == sorted(set(versions)), "each is of a version of its own"
    assert all(again.learner._checkpoints.score(label_of(step)) is not None for step in range(4))


def test_after_a_crash_no_sample_is_used_twice(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {
        "run": {"name": "test", "stall_timeout_s": 60},
        "learner": FIELDS["learner"] | {"supervised_ratio": 0},
    }
    fields["checkpoint"] = {"every": 4, "keep": 2, "best": False, "export_every": 3, "export_keep": 2}
    crashed = make_run("crashed", **fields)
    once, steps = rltf.learner.engine.TrainingEngine.plan, itertools.count(1)

    def dies(*arguments: Any) -> Any:
        if next(steps) == FIELDS["warm_start"]["steps"] + 7:
            raise MemoryError(
                "the machine is gone"
            )  # after the draw of step 7, and two steps after the checkpoint of step 4
        return once(*arguments)

    monkeypatch.setattr(rltf.learner.engine.TrainingEngine, "plan", dies)
    with crashed.others(), pytest.raises(MemoryError):
        crashed.learner.run(threading.Event())
    monkeypatch.undo()
    lost, exports = crashed.rows(), step_exports(tmp_path / "crashed")
    lost_export = (exports[6] / "model.safetensors").read_bytes()
    assert [*exports] == [3, 6]
    assert [row["step"] for row in lost] == [1, 2, 3, 4, 5, 6]
    again = make_run("crashed", **fields)
    again.published.versions = crashed.published.versions  # the weight store outlives the learner
    shutil.copytree(exports[6], exports[6].with_name("step-000012"))  # of a step that is not taken again
    whole(again)
    assert again.learner.resumed_at == 4
    rows = again.rows()[len(lost) :]
    assert [row["step"] for row in rows] == [5, 6, 7, 8, 9]
    exports = step_exports(tmp_path / "crashed")
    assert [*exports] == [6, 9] and (exports[6] / "model.safetensors").read_bytes() != lost_export
    assert [path.name for path in exports[6].parent.iterdir() if path not in exports.values()] == []
    used = [sample for row in again.rows() for sample in row["sample_ids"]]
    assert len(set(used)) == len(used)
    # A number stands for one state of the weights: those of the lost steps are not given again.
    assert rows[0]["version"] > lost[-1]["version"]
    assert again.flow.ledger.check() is None


def test_offline_a_resumed_run_goes_on_with_the_first_policys_programs(make_run: Callable[..., Run]) -> None:
    fields: dict[str, Any] = {
        "run": {"name": "test", "stall_timeout_s": 60},
        "evaluation": {"every": 0, "tasks": 2, "samples": 2},
    }
    fields["learner"] = FIELDS["learner"] | {"publish_every": 0, "steps": 8}
    stopped = make_run("offline", **fields)
    whole(stopped, Stopper(stopped, 4).stop)
    again = make_run("offline", **fields)
    again.flow.resume()
    whole(again)
    ((first, _),) = stopped.published.versions
    begun, last = (manifest for manifest, _ in again.published.versions)
    assert begun == first, "the same number and, checksum by checksum, the same weights"
    assert last.version == 1 and last.checksums != first.checksums
    assert [row["step"] for row in again.rows()] == list(range(1, 9)) and {row["version"] for row in again.rows()} == {
        0
    }
    seconds = [row["training_s"] for row in again.rows()]
    assert seconds == sorted(seconds), "the seconds of the attempts add up"


def test_evaluations_that_get_no_better_end_training_and_a_resumption_remembers_it(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    # Greedy programs of weights that hardly move: every evaluation finds the same.
    def run(patience: int) -> Run:
        evaluation = {"every": 0, "tasks": 2, "samples": 2, "best_by": "greedy:max@1", "patience": patience}
        entry = {"name": "greedy", "problems": "starter", "every": 2, "samples": 1, "temperature": 0}
        evaluation["sets"] = [entry]
        return make_run("patient", learner=FIELDS["learner"] | {"learning_rate": 1e-12}, evaluation=evaluation)

    ended = whole(run(2))
    # Those of the steps 2 and 4 were no better than the first; the one before step 7 is when they are looked at.
    evaluated = [0, 2, 4, 6, 7]
    labels = [label for _, label in ended.learner._position.evaluated if set_of(label)]
    assert labels == [label_of(step, "greedy") for step in evaluated] and len(ended.rows()) == 7
    scores = [ended.learner._checkpoints.score(label) for label in labels]
    assert len({score.figures["max@1"] for score in scores if score is not None}) == 1 and None not in scores
    best = Checkpoints.of_run(tmp_path / "patient", "greedy:max@1").best()
    assert best is not None and best.step == 0 and ended.flow.control.phase() == "done"
    again = run(2)
    again.flow.resume()
    whole(again)
    assert again.learner.resumed_at == 7 and len(again.rows()) == 7 and again.flow.control.phase() == "done"
    goes_on = run(0)
    goes_on.flow.resume()
    whole(goes_on)
    assert [row["step"] for row in goes_on.rows()] == list(range(1, 10))
    card = (tmp_path / "patient" / "export" / "README.md").read_text()
    assert card.count("| | step | pass@1 | max@1 |") == 2 and card.count("| after | 9 |") == 2


def test_deterministic_sets_what_it_needs() -> None:
    config = Config.model_validate(
        {
            "run": {"deterministic": True},
            "actors": {"count": 3},
            "buffer": {"max_staleness": 4},
            "learner": {"groups_per_step": 5},
        }
    )
    assert (config.actors.count, config.actors.problems_per_batch) == (1, 5)
    assert (config.buffer.max_staleness, config.buffer.when_stale, config.learner.publish_every) == (0, "wait", 1)
