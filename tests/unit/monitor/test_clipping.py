"""The gradient clip where it decides every step, and what of the paper's set-up is not in force: said once, where it is
seen.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.clipping import figures, main
from rltf import config as configuration
from rltf.config import Config
from rltf.monitor.clipping import ClipWatch, clip_watch
from rltf.monitor.paper import not_in_force
from rltf.monitor.plan import make_plan
from rltf.monitor.run_folder import RunFolder
from tests.support.monitor_rows import config, step_row
from tests.support.paths import ROOT
from tests.support.plan_facts import FACTS


def rows(norms: list[float]) -> list[dict]:
    return [{"step": step, "gradient_norm": norm} for step, norm in enumerate(norms, 1)]


def test_the_clip_is_told_once_with_its_counts() -> None:
    watch = ClipWatch(1.0, apart=True)
    assert watch.fold(rows([8.0] * 19)).news() is None, "too few to say"
    sentence = watch.fold(rows([60.0])).news()
    assert sentence is not None and sentence.startswith("learner.gradient_clip 1 bound in 20 of 20 learner steps: ")
    assert "learner.supervised_mixing micro_batch" in sentence and "\n" not in sentence
    assert watch.fold(rows([0.5] * 2)).news() is None
    assert watch.warning is not None and "20 of 22" in watch.warning
    assert watch.fold(rows([0.5] * 2)).warning is None, "20 of 24 are not nearly all"
    assert ClipWatch(0.0, apart=True).fold(rows([9.0] * 50)).warning is None, "0 is no clip"
    together = ClipWatch(1.0, apart=False).fold(rows([9.0] * 50)).warning
    assert together is not None and "mixing" not in together


def test_steps_are_clipped_apart_where_they_alternate() -> None:
    def told(**learner: object) -> str:
        return str(
            clip_watch(Config.model_validate({"learner": learner, "actors": {"greedy": True}}))
            .fold(rows([9.0] * 20))
            .warning
        )

    assert "supervised_mixing" in told(objective="rltf", supervised_ratio=1)
    assert "supervised_mixing" not in told(objective="rltf", supervised_ratio=1, supervised_mixing="micro_batch")
    assert "supervised_mixing" not in told(objective="supervised", supervised_ratio=1)


def plan_of(given: Config) -> str:
    return next(
        value for section in make_plan(given, FACTS) for name, value in section.rows if name == "the paper's set-up"
    )


def test_the_objective_alone_is_not_the_papers_set_up_and_the_plan_says_so() -> None:
    plan = plan_of(
        configuration.load(None, {"learner.objective": "rltf", "actors.greedy": "true", "rltf.fine": "false"})
    )
    found = (
        "learner.supervised_ratio 0 (paper: 1,",
        "actors.top_p 1 (paper: 0.95",
        "learner.gradient_clip 1 (binds",
        "rltf.fine false",
    )
    for part in found:
        assert part in plan
    assert "supervised_mixing" not in plan, "without L_sl there is nothing to mix"
    alternating = configuration.load(ROOT / "configs" / "mbpp-gpt2.yaml", {"learner.supervised_mixing": "step"})
    assert plan_of(alternating).startswith("not in force: learner.supervised_mixing step (paper: micro_batch")
    released = configuration.load(
        ROOT / "configs" / "starter-rltf.yaml", {"rltf.preset": "released_code", "rltf.critic": "c"}
    )
    for part in ("rltf.baseline latest_greedy (paper: best)", "rltf.critic_weighting true (paper: false)"):
        assert part in plan_of(released)


def test_the_presets_have_the_papers_set_up_in_force() -> None:
    assert plan_of(configuration.load(ROOT / "configs" / "apps-codet5.yaml")) == "in force"
    assert plan_of(configuration.load(ROOT / "configs" / "mbpp-gpt2.yaml")) == "in force"
    starter = not_in_force(configuration.load(ROOT / "configs" / "starter-rltf.yaml"))
    assert [phrase.split(" (")[0] for phrase in starter] == ["actors.top_p 1"]
    assert not_in_force(configuration.load(ROOT / "configs" / "starter.yaml")) == []


def test_a_snapshot_of_the_apps_preset_holds_what_its_steps_draw() -> None:
    apps = configuration.load(ROOT / "configs" / "apps-codet5.yaml")
    assert apps.learner.supervised_mixing == "micro_batch", "every step draws"
    assert apps.buffer.refresh_steps * apps.samples_per_step <= apps.buffer.capacity == apps.buffer.fill_before_start


@pytest.mark.parametrize(("mixing", "weight"), [("step", pytest.approx(0.2)), ("micro_batch", 1.0)])
def test_the_benchmark_reads_what_the_clip_did(mixing: str, weight: object, tmp_path: Path) -> None:
    learner = {"objective": "rltf", "supervised_ratio": 1.0, "supervised_mixing": mixing}
    given = config(tmp_path, learner=learner, actors={"greedy": True})
    folder = RunFolder.create(given)
    folder.keep_config()
    for step in range(1, 9):
        kind = "supervised" if step % 2 == 0 and mixing == "step" else "rltf"
        folder.add_step(step_row(step) | {"objective": kind, "gradient_norm": 50.0 if kind == "supervised" else 10.0})
    folder.close()
    found = figures(folder)
    assert found["supervised_weight"] == weight and found["steps"]["rltf"]["bound"] == found["steps"]["rltf"]["number"]
    file = tmp_path / "figures.json"
    assert main([str(folder.path), "--json", str(file)]) == 0 and json.loads(file.read_text())["runs"] == [found]
