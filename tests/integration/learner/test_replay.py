"""Steps of a real run taken again from its samples, from the weights that it began to train with: every number is the
same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rltf.buffer.records import Group, Sample
from rltf.config import Config
from rltf.learner.export import keeps_first_weights
from rltf.learner.replay import RecordedStep, Replay, depends_on_history
from rltf.learner.step_rows import CORPUS, fingerprints
from rltf.problems.corpus import SolutionCorpus
from tests.support.learner_run import PROBLEMS, Run


def recorded(run: Run) -> list[RecordedStep]:
    members: dict[str, list[Sample]] = {}
    for archived in run.flow.telemetry.archived(0, 1000).items:
        assert archived.sample is not None
        members.setdefault(archived.group_id, []).append(archived.sample)

    def group(name: str) -> Group:
        samples = members[name]
        greedy = next((sample for sample in samples if sample.program.greedy), None)
        rest = [sample for sample in samples if sample is not greedy]
        return Group(id=name, problem_id=samples[0].program.problem_id, samples=rest, greedy=greedy)

    return [RecordedStep(row, [group(name) for name in row["fingerprints"] if name != CORPUS]) for row in run.rows()]


def test_mixed_steps_are_the_same_and_a_changed_one_is_told(make_run: Callable[..., Run], tmp_path: Path) -> None:
    learner = {"steps": 3, "supervised_ratio": 1, "supervised_mixing": "micro_batch"}
    run = make_run(
        learner=learner, actors={"greedy": False}, evaluation={"every": 0}, grpo={"fine": True}, warm_start={"steps": 8}
    )
    with run.others():
        run.learner.run(threading.Event())
    steps = recorded(run)
    assert len(steps) == 3 and keeps_first_weights(run.config, tmp_path) and depends_on_history(run.config)

    def again(with_weights: bool) -> Replay:
        return Replay(run.config, run.spec, SolutionCorpus(PROBLEMS), tmp_path, None, with_weights)

    replay = again(True)
    assert replay.exact and replay.terms == ("policy", "fine", "supervised")
    for step in steps:
        taken = replay.take(step)
        assert taken.differences == [] and taken.result is not None and taken.result.loss == step.row["loss"]
    replay.close()
    rebuilt = again(False)
    taken = rebuilt.take(steps[0])
    assert taken.differences == [] and taken.result is None
    # The corpus goes on with each step, so the third step's programs in the second one's place are noticed.
    assert taken.prepared is not None and CORPUS in fingerprints(steps[0].groups, taken.prepared)
    (sentence,) = rebuilt.take(steps[2]).differences
    assert "1 of 3 groups have other tokens or weights than those trained with, the first is corpus" in sentence
    other = {"loss": -1.0, "rewards": [2.0] * len(steps[2].row["rewards"]), "sample_ids": ["x"]}
    rebuilt.take(steps[1])
    sentences = rebuilt.take(RecordedStep({**steps[2].row, **other}, steps[2].groups)).differences
    assert len(sentences) == 3 and "rewards" in sentences[1]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"learner": {"objective": "rltf"}, "actors": {"greedy": True}}, True),
        ({"learner": {"objective": "rltf"}, "rltf": {"baseline": "group_mean"}}, False),
        ({"learner": {"objective": "grpo", "supervised_ratio": 1}}, False),
        ({"learner": {"objective": "grpo", "supervised_ratio": 1, "supervised_mixing": "micro_batch"}}, True),
    ],
)
def test_what_depends_on_the_steps_before(fields: dict[str, Any], expected: bool) -> None:
    assert depends_on_history(Config.model_validate(fields)) is expected


def test_which_first_weights_are_kept(tmp_path: Path) -> None:
    def there(**fields: Any) -> bool:
        return keeps_first_weights(Config.model_validate(fields), tmp_path)

    assert there(warm_start={"steps": 0}) and not there(warm_start={"steps": 5})
    assert not there(warm_start={"steps": 0}, learner={"dtype": "bfloat16"})
    assert not there(warm_start={"reuse": str(tmp_path / "none")}) and there(warm_start={"reuse": str(tmp_path)})
    (tmp_path / "warm_start").mkdir()
    (tmp_path / "warm_start" / "config.json").write_text("{}")
    assert there(warm_start={"steps": 5})
