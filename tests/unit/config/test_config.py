"""The configuration: every field documented, every mistake answered with one sentence."""

from pathlib import Path

import pytest

from rltf import config
from rltf.config import Config, UserError


def test_every_field_has_a_sentence() -> None:
    for part, model in Config.model_fields.items():
        for name, field in model.annotation.model_fields.items():  # type: ignore[union-attr]
            assert field.description and field.description.rstrip().endswith((".", ")")), (
                f"{part}.{name} has no sentence"
            )
    words = " ".join((config.RunConfig.model_fields["deterministic"].description or "").split())
    for key, value in config.DETERMINISTIC.items():
        assert f"{key} {value}" in words


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"learner.stepz": "1"}, "unknown key learner.stepz on the command line; did you mean learner.steps?"),
        ({"executr.count": "2"}, "did you mean executor.count?"),
        ({"actors.zero_stage": "1"}, "did you mean learner.zero_stage?"),
        ({"actors.gpus": "1"}, "did you mean actors.gpus_per_actor?"),
        ({"learner.steps": "many"}, "learner.steps: Input should be a valid integer"),
        ({"learner.steps": "0"}, "greater than or equal to 1, got 0"),
        ({"learner.objective": "rltf"}, "set actors.greedy true or rltf.baseline none"),
        ({"buffer.capacity": "10"}, "the learner would wait for ever"),
        (
            {"learner.offload": "parameters", "learner.zero_stage": "2"},
            "learner.offload parameters needs learner.zero_stage 3 or more",
        ),
        (
            {"actors.dtype": "float16"},
            "actors.dtype float16 needs a GPU (actors.gpus_per_actor); on a CPU take float32 or bfloat16",
        ),
        (
            {"learner.dtype": "float16", "learner.zero_stage": "1"},
            "float16 needs a GPU (learner.gpus_per_worker) and learner.zero_stage 1",
        ),
        (
            {"learner.weight_transfer": "direct"},
            "unknown key learner.weight_transfer on the command line: every version travels by the weight store",
        ),
        ({"learner.betas": "[2, 3]"}, "learner.betas: Input should be less than 1"),
        ({"learner.learning_rate": ".inf"}, "learner.learning_rate: Input should be a"),
        ({"learner.learning_rate": "inf"}, "learner.learning_rate: Input should be a finite number"),
        (
            {"evaluation.k": "[1, 10]", "evaluation.samples": "9"},
            "pass@10, which needs as many programs per problem: raise",
        ),
        ({"evaluation.best_by": "pass@5"}, "evaluation.best_by pass@5 is not estimated: add 5 to evaluation.k"),
        ({"evaluation.best_by": "best@5"}, "evaluation.best_by: String should match pattern"),
        (
            {"evaluation.best_by": "max@5", "evaluation.k": "[5]", "evaluation.final_samples": "5"},
            "max@5 needs as many programs per problem in every evaluation: raise evaluation.samples from 1",
        ),
        (
            {"evaluation.patience": "2", "evaluation.every": "0"},
            "evaluation.patience 2 needs evaluations during training",
        ),
        (
            {"evaluation.patience": "2", "learner.publish_every": "0"},
            "evaluation.patience 2 needs evaluations during training",
        ),
        ({"learner.steps": "1.5"}, "learner.steps: Input should be a valid integer"),
        ({"run.seed": "99999999999999999999"}, "run.seed: Input should be a number between"),
        ({"run.seed": "-1"}, "run.seed: Input should be greater than or equal to 0"),
        ({"buffer.capacity": str(10**30)}, "buffer.capacity: Input should be a number between"),
        ({"buffer.lease_s": "1e300"}, "buffer.lease_s: Input should be a number between"),
        ({"evaluation.final_samples": "3000"}, "less than the 3000 programs that one problem has in an evaluation"),
        (
            {"run.deterministic": "true", "actors.count": "4"},
            "--actors.count 4 does not go with run.deterministic, which needs 1",
        ),
        ({"run.deterministic": "yes", "buffer.max_staleness": "none"}, "which needs 0: leave one of them out"),
        ({"run.deterministic": "true", "actors.problems_per_batch": "7"}, "which needs 24"),
    ],
)
def test_a_wrong_override_gets_one_sentence(overrides: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        config.load(None, overrides)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["store", "auto", "direct"])
def test_a_key_of_an_earlier_version_is_read_over_in_a_file(value: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"learner:\n  weight_transfer: {value}\n  steps: 7\n")
    assert config.load(file) == config.load(None, {"learner.steps": "7"})


@pytest.mark.parametrize("key", ["rltf.critic", "warm_start.reuse"])
def test_folders_that_workers_read_are_found_from_any_working_directory(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, name = key.split(".")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for text, folder in (
        ("critic", str(tmp_path / "critic")),
        ("~/critic", str(tmp_path / "home" / "critic")),
        ("", ""),
    ):
        assert getattr(getattr(config.load(None, {key: text}), part), name) == folder


def test_the_last_evaluation_may_have_more_programs() -> None:
    evaluation = config.load(None, {"evaluation.k": "[10, 5]", "evaluation.final_samples": "10"}).evaluation
    assert (evaluation.ks, evaluation.samples, evaluation.last_samples) == ((1, 5, 10), 1, 10)
    assert config.load(None, {"evaluation.samples": "3"}).evaluation.last_samples == 3


def test_deterministic_sets_what_it_needs_however_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    for word in ("true", "1", '"true"', "'yes'"):
        file.write_text(f"run: {{deterministic: {word}}}\nactors: {{count: 3}}\nbuffer: {{max_staleness: 4}}\n")
        loaded = config.load(file, {"learner.groups_per_step": "5", "buffer.when_stale": "wait"})
        assert loaded.run.deterministic
        assert (loaded.actors.count, loaded.actors.problems_per_batch, loaded.buffer.max_staleness) == (1, 5, 0), word
    assert config.load(file, {"run.deterministic": "0", "actors.count": "4"}).actors.count == 4
    file.write_text("run: {deterministic: perhaps}\n")
    with pytest.raises(UserError, match="run.deterministic: Input should be a valid boolean"):
        config.load(file)


def test_overrides_win_over_the_file_and_both_are_typed(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("learner: {steps: 7, betas: [0.8, 0.9]}\nbuffer: {max_staleness: null}\n")
    loaded = config.load(file, {"learner.steps": "9", "policy.model": "12"})
    assert (loaded.learner.steps, loaded.learner.betas, loaded.buffer.max_staleness) == (9, (0.8, 0.9), None)
    assert loaded.policy.model == "12"


def test_the_command_line_means_what_it_says() -> None:
    for name in ("7", "2026-11-21", "no", "a: b", "'x'", "null"):
        assert config.load(None, {"run.name": name}).run.name == name
    assert config.load(None, {"learner.steps": "010"}).learner.steps == 10
    assert config.load(None, {"learner.learning_rate": "1e-3"}).learner.learning_rate == 1e-3
    assert config.load(None, {"learner.zero_stage": "2", "run.deterministic": "no"}).learner.zero_stage == 2
    for word in ("none", "null"):
        assert config.load(None, {"buffer.max_staleness": word}).buffer.max_staleness is None
    assert config.load(None, {"buffer.max_staleness": "3"}).buffer.max_staleness == 3
    assert config.load(None, {"policy.lora_targets": "[q, v]"}).policy.lora_targets == ("q", "v")
    assert config.load(None, {"learner.betas": "[0.5, 0.6]"}).learner.betas == (0.5, 0.6)
    assert config.load(None, {"problems.limit": "none", "grpo.log_prob_floor": "none"}).problems.limit is None


def test_folders_are_found_from_any_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    reuse = config.load(None, {"warm_start.reuse": "runs/x/warm_start"}).warm_start.reuse
    assert reuse == str(tmp_path / "runs/x/warm_start")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("learner: {stepz: 7}", "unknown key learner.stepz in"),
        ("learner: [", "is not YAML"),
        ("- learner", "expected parts with fields below them"),
        ("learner: 7", "expected parts with fields below them"),
        ("lerner: {steps: 7}", "did you mean learner.steps?"),
        ("buffer: {max_staleness: some}", "buffer.max_staleness: Input should be a valid integer"),
        ("rltf: {preset: [1]}", "rltf.preset: Input should be"),
        (b"\xff\xfe\x00model", "is no text"),
    ],
)
def test_a_wrong_file_gets_one_sentence(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        config.load(file)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match="nowhere.yaml: No such file"):
        config.load(Path("nowhere.yaml"))


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config.load(None).learner.steps = 3  # type: ignore[misc]
