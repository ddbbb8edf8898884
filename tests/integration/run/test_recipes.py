"""Each recipe's configuration, planned as it is, and with a shrunken model on shrunken data through actor, executor and
learner.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from rltf import launch
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config, load
from rltf.driver.inputs import Inputs
from tests.support.chat import chat_model
from tests.support.learner_run import Run
from tests.support.paths import ROOT
from tests.support.published_records import HUMANEVAL

RECIPES = sorted(path.parent for path in (ROOT / "recipes").glob("*/config.yaml"))
SHAPE = {"d_model": 32, "layers": 1, "heads": 4, "d_ff": 48, "vocab_size": 300}
SMALL = {
    "problems": {"limit": 8},
    "policy": {"max_prompt_tokens": 400, "max_program_tokens": 16},
    "actors": {"count": 1, "gpus_per_actor": 0, "problems_per_batch": 2, "samples_per_problem": 2},
    "executor": {"count": 1, "lanes": 1, "cpus_per_executor": 0.5},
    "buffer": {"fill_before_start": 0, "capacity": 64, "work_capacity": 64},
    "learner": {"workers": 1, "gpus_per_worker": 0, "steps": 2, "groups_per_step": 2, "supervised_batch_size": 4},
    "evaluation": {"every": 1, "tasks": 2},
}
"""Sizes and places; what a recipe says of objective, prompts and sampling stays."""


def data(folder: Path) -> dict[str, str]:
    """A small copy of each data set that a recipe names, by the name."""
    for number, split in enumerate(("train", "train", "train", "test", "test")):
        problem = folder / "apps" / split / f"{number:04}"
        problem.mkdir(parents=True)
        (problem / "question.txt").write_text(f"Print {number}.")
        (problem / "input_output.json").write_text(json.dumps({"inputs": [""], "outputs": [f"{number}\n"]}))
        (problem / "solutions.json").write_text(json.dumps([f"print({number})\n"]))
    mbpp = folder / "mbpp.jsonl"
    mbpp.write_text(
        "".join(
            json.dumps(
                {"task_id": number, "text": "Write a function to add one.", "code": "def more(x):\n    return x + 1\n",
                 "test_list": [f"assert more({number}) == {number + 1}"], "test_setup_code": "", "challenge_test_list": []}
            )
            + "\n"
            for number in (11, 12, 601, 602, 603)
        )
    )  # fmt: skip
    humaneval = folder / "humaneval.jsonl"
    humaneval.write_text(
        "".join(json.dumps(HUMANEVAL | {"task_id": f"HumanEval/{number}"}) + "\n" for number in (0, 1))
    )
    return {"apps": str(folder / "apps"), "mbpp": str(mbpp), "humaneval": str(humaneval)}


def here(spec: str, copies: dict[str, str]) -> str:
    """The SPEC with the copy's path, where it is one of the hub's."""
    name, _, rest = spec.partition(",")
    return f"{name}:{copies[name]}" + (f",{rest}" if rest else "") if name in copies else spec


def shrunken(recipe: Path, folder: Path) -> dict[str, Any]:
    """What is given beside the recipe: a tiny model like its own, small data, small sizes."""
    written = yaml.safe_load((recipe / "config.yaml").read_text())
    copies = data(folder)
    problems = SMALL["problems"] | {name: here(written["problems"][name], copies) for name in ("train", "held_out")}
    model = written["policy"]["model"]
    if "codet5" in model or "codegen" in model:
        policy = {"model": "", "family": "t5" if "codet5" in model else "codegen", **SHAPE}
    else:
        policy = {"model": str(chat_model(folder / "model", max_prompt_tokens=1024))}
    warm_start = {"warm_start": {"steps": 1, "batch_size": 4}} if "warm_start" in written else {}
    parts = {**SMALL, **warm_start, "problems": problems, "policy": SMALL["policy"] | policy}
    return {f"{part}.{name}": value for part, fields in parts.items() for name, value in fields.items()}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_is_planned(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {
        key: value
        for key, value in shrunken(recipe, tmp_path).items()
        if key
        in (
            "problems.train",
            "problems.held_out",
            "problems.limit",
            *(f"policy.{name}" for name in ("model", "family", "max_prompt_tokens", *SHAPE)),
        )
    }
    words = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    assert launch.main(["--config", str(recipe), *words, "--run.folder", str(tmp_path), "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert f"training: {load(recipe / 'config.yaml').learner.steps} steps" in plan, plan


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_trains_a_shrunken_model(recipe: Path, tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    config: Config = load(recipe / "config.yaml", shrunken(recipe, tmp_path))
    run = Run(redis_server, tmp_path, (config, Inputs.from_config(config)))
    with run.others():
        run.learner.run(threading.Event())
    rows = run.rows()
    assert [row["step"] for row in rows] == [1, 2]
    assert {row["objective"] for row in rows} == {config.learner.objective}
    assert run.flow.evaluations.is_complete("step-000000") and run.flow.evaluations.is_complete("step-000002")
    assert run.flow.control.phase() == "done" and run.flow.ledger.check() is None
