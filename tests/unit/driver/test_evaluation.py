"""What an evaluation asks for, and what it is told."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from pathlib import Path

import pytest

from rltf.config import ActorsConfig, Config, UserError
from rltf.driver.evaluation_model import settings_of
from rltf.driver.evaluation_tracker import parts_of
from rltf.problems import load_problems
from rltf.problems.sources import specs_of
from tests.support.problem_files import write


@pytest.mark.parametrize(
    ("problems", "samples", "actors", "count"),
    [(1, 1, 1, 1), (164, 1, 1, 1), (164, 1, 4, 4), (400, 1, 1, 3), (30, 7, 1, 2), (3, 192, 1, 3), (3, 193, 2, 6)],
)
def test_parts_hold_every_program_once_and_fill_the_batches_of_the_actors(
    problems: int, samples: int, actors: int, count: int
) -> None:
    settings = ActorsConfig()
    rows = settings.problems_per_batch * settings.samples_per_problem
    parts = parts_of([f"p{number}" for number in range(problems)], samples, settings, actors)
    asked = Counter(
        (name, part.first + at) for part in parts for name in part.problem_ids for at in range(part.samples)
    )
    assert len(asked) == problems * samples and set(asked.values()) == {1}
    assert max(part.programs for part in parts) <= rows
    assert len({part.label for part in parts}) == len(parts) == count


def test_several_specs_are_told_apart_from_options_and_commas_in_paths() -> None:
    assert specs_of("starter,split=heldout,mbpp:a,b.jsonl,ids=1-5,starter") == [
        "starter,split=heldout",
        "mbpp:a,b.jsonl,ids=1-5",
        "starter",
    ]
    with pytest.raises(UserError, match="nonsense"):
        specs_of("nonsense,starter")


def test_example_tests_are_those_that_a_prompt_may_show(tmp_path: Path) -> None:
    tests = [f"assert f({number})" for number in range(4)]
    check = "def check(candidate):\n    assert candidate(1) == 2\n"
    record = {"question": "Q"}
    spec = write(
        tmp_path,
        record | {"id": "list", "tests": tests},
        record | {"id": "check", "tests": check, "entry_point": "f"},
        record | {"id": "stdin", "inputs": ["1"], "outputs": ["1"]},
    )
    assert [problem.example_tests for problem in load_problems(spec)] == [(0, 1, 2), (), ()]
    assert [problem.example_tests for problem in load_problems(spec, shown_tests=0)] == [(), (), ()]


def _known(model: Path | str, **given: str) -> Namespace:
    return Namespace(**{"model": str(model), "problems": "starter", "temperature": None, "top_p": None} | given)


def test_a_run_is_evaluated_with_its_own_lengths_and_another_model_with_the_papers(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "export").mkdir(parents=True)
    config = Config.model_validate({"policy": {"max_program_tokens": 77}, "executor": {"time_limit_s": 1.5}})
    (run / "config.yaml").write_text(json.dumps(config.model_dump(mode="json")) + "\n...\n")
    with pytest.raises(UserError, match="the run has no export"):
        settings_of(_known(run), {}, 1, (1,))
    (run / "export" / "config.json").write_text("{}")
    for model in (run, run / "export"):
        name, found = settings_of(_known(model, temperature="0.6"), {"executor.time_limit_s": "3"}, 20, (1, 5))
        assert (name, found.policy.model) == ("run", str(run / "export"))
        assert (found.policy.max_program_tokens, found.executor.time_limit_s) == (77, 3)
        assert (found.evaluation.samples, found.evaluation.ks, found.evaluation.temperature) == (20, (1, 5), 0.6)
        assert found.learner.cpus_per_worker == 0 and found.problems.held_out == "none"
    on_the_way = run / "exports" / "step-000040"
    on_the_way.mkdir(parents=True)
    (on_the_way / "config.json").write_text("{}")
    name, found = settings_of(_known(on_the_way), {}, 1, (1,))
    assert (name, found.policy.model, found.policy.max_program_tokens) == ("run/step-000040", str(on_the_way), 77)
    name, found = settings_of(_known("owner/name"), {}, 1, (1,))
    assert (name, found.policy.model, found.policy.max_program_tokens) == ("owner/name", "owner/name", 512)
