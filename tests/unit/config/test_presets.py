"""The presets: each is valid, short, says how to run it, and holds what its name promises."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from rltf import config as configuration
from rltf.config import RltfConfig
from rltf.driver.commands.train import parse
from rltf.problems.sources import parse_spec
from tests.support.paths import ROOT

PRESETS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.fixture(params=PRESETS, ids=lambda path: path.stem)
def preset(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_the_presets_are_found() -> None:
    names = {path.stem for path in PRESETS}
    assert {"starter", "starter-rltf", "starter-control", "starter-t5", "apps-codet5", "mbpp-gpt2"} <= names


def test_preset_is_valid_and_short(preset: Path) -> None:
    configuration.load(preset)
    lines = preset.read_text().splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 140


def test_header_holds_the_command_that_runs_it(preset: Path) -> None:
    comments = [line for line in preset.read_text().splitlines() if line.startswith("#")]
    assert any(f"launch.py --config configs/{preset.name}" in line for line in comments)


def test_every_value_is_read(preset: Path) -> None:
    """No key twice in one part: YAML would silently keep the last one."""

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
            keys = [key.value for key, _ in node.value]
            assert len(keys) == len(set(keys)), f"a key occurs twice: {keys}"
            return super().construct_mapping(node, deep)

    tree = yaml.load(preset.read_text(), Strict)
    loaded = configuration.load(preset).model_dump(mode="json")
    for part, values in tree.items():
        for name, value in values.items():
            assert loaded[part][name] == value, f"{part}.{name}"


def test_problem_sets_are_written_right(preset: Path) -> None:
    problems = configuration.load(preset).problems
    assert parse_spec(problems.train).text != parse_spec(problems.held_out).text


def test_make_run_trains_the_starter_preset() -> None:
    assert parse([]).config == configuration.load(ROOT / "configs" / "starter.yaml")


def test_starter_presets_share_task_and_warm_start() -> None:
    names = ("starter", "starter-rltf", "starter-control")
    starter, rltf, control = (configuration.load(ROOT / "configs" / f"{name}.yaml") for name in names)
    assert starter.problems == rltf.problems == control.problems
    assert starter.policy == rltf.policy == control.policy
    assert starter.warm_start == rltf.warm_start == control.warm_start
    assert (starter.learner.objective, rltf.learner.objective, control.learner.objective) == (
        "grpo",
        "rltf",
        "supervised",
    )


def test_apps_preset_holds_the_papers_values() -> None:
    config = configuration.load(ROOT / "configs" / "apps-codet5.yaml")
    assert (config.buffer.capacity, config.buffer.fill_before_start, config.buffer.refresh_steps) == (6400, 6400, 50)
    assert (config.buffer.max_staleness, config.buffer.when_full) == (None, "evict")
    actors = config.actors
    assert (actors.samples_per_problem, actors.greedy, actors.temperature, actors.top_p) == (20, True, 1.0, 0.95)
    assert (config.policy.max_prompt_tokens, config.policy.max_program_tokens) == (800, 512)
    assert (config.learner.learning_rate, config.learner.supervised_ratio, config.learner.zero_stage) == (2e-6, 1, 2)
    assert config.actors.count + config.learner.workers == 32


def documented(preset: str) -> list[list[str]]:
    """Arguments of the commands in docs/objectives.md that choose a preset of the objective."""
    text = (ROOT / "docs" / "objectives.md").read_text()
    return [
        shlex.split(line) for line in re.findall(r"launch\.py (--config .*)", text) if f"--rltf.preset {preset}" in line
    ]


def test_the_documented_commands_give_the_released_code() -> None:
    lines = [
        [argument.replace("configs/", f"{ROOT}/configs/") for argument in line] for line in documented("released_code")
    ]
    plain, with_critic = (parse(line).config.rltf for line in lines)
    assert plain == RltfConfig(preset="released_code", critic_weighting=False, alpha="span_ratio")
    assert with_critic == RltfConfig(preset="released_code", critic="critics/NAME")


@pytest.mark.parametrize("name", ["starter-rltf", "apps-codet5"])
def test_the_papers_presets_hold_the_papers_objective(name: str) -> None:
    assert configuration.load(ROOT / "configs" / f"{name}.yaml").rltf == RltfConfig()


def test_a_preset_on_the_command_line_wins_over_the_fields_of_a_file(tmp_path: Path) -> None:
    resolved = tmp_path / "config.yaml"
    config = configuration.load(ROOT / "configs" / "starter-rltf.yaml", {"rltf.fine": "false", "grpo.clip_low": "0.1"})
    resolved.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    changed = configuration.load(
        resolved, {"rltf.preset": "released_code", "rltf.critic_weighting": "false", "grpo.variant": "dr"}
    )
    assert changed.rltf == RltfConfig(preset="released_code", critic_weighting=False, fine=False)
    assert (changed.grpo.scale, changed.grpo.normalise, changed.grpo.clip_low) == ("none", "constant", 0.1)
    resolved.write_text(yaml.safe_dump(changed.model_dump(mode="json")))
    back = configuration.load(resolved, {"rltf.preset": "paper", "grpo.variant": "grpo", "rltf.timeouts": "ignore"})
    assert back.rltf == RltfConfig(fine=False, timeouts="ignore") and back.grpo == config.grpo
    assert configuration.load(resolved, {"learner.steps": "3"}).rltf == changed.rltf, "what is not given stays"


RECIPES = sorted((ROOT / "recipes").glob("*/config.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_a_recipe_is_found_by_its_folder_and_says_how_it_is_run(recipe: Path) -> None:
    folder = recipe.parent
    found = parse(["--config", str(folder)])
    assert found == parse(["--config", str(recipe)]) and found.preset == folder.name
    assert f"launch.py --config recipes/{folder.name}" in (folder / "README.md").read_text()
    assert len(recipe.read_text().splitlines()) <= 30
