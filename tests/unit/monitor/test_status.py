import io
from dataclasses import replace

import pytest
from rich.console import Console
from transformers import GPT2Config, Qwen2Config, T5Config

from rltf import config as configuration
from rltf.config import Config
from rltf.evaluation import before_and_after
from rltf.monitor.examples import as_rows
from rltf.monitor.memory import MemoryEstimate, ModelShape, actor_bytes, learner_bytes, weight_bytes
from rltf.monitor.plan import _versions, make_plan, micro_batches
from rltf.monitor.status import print_end, print_plan
from rltf.telemetry.vocabulary import without_better
from tests.support.monitor_rows import sample
from tests.support.paths import ROOT
from tests.support.plan_facts import FACTS

SHAPE = ModelShape(4, 0, 128, 128, 384)


@pytest.mark.parametrize("terminal", [False, True])
def test_plan_and_end_are_printed(terminal: bool, capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=terminal, color_system=None)
    print_plan(console, make_plan(Config(), FACTS))
    assert (
        "24 groups x 8 samples = 192 samples per step on 1 worker, in micro-batches of at most 2,048 tokens"
        in out.getvalue()
    )
    assert "at most samples 20.0 GB, telemetry 200 MB, Redis's file" in " ".join(out.getvalue().split())
    assert "metrics and TensorBoard 15.2 MB per 1,000 steps" in " ".join(out.getvalue().split())
    result = {
        "held_out": {"tasks": 256, "before": {"pass@1": 0.18, "pass@1_se": 0.02}, "after": {"pass@1": 0.9}}, "steps": 100, "samples": 19200,
        "seconds": {"training": 83.21}, "ledger": {"generated": 19200, "trained": 12000, "no_signal": 7200, "stale": 0},
    }  # fmt: skip
    pairs = before_and_after([sample("a", "failure")], [sample("a", "pass")], {"a": "Give xs back."})
    result |= {
        "examples": as_rows(pairs),
        "warnings": ["2 problems skipped", *(f"problem {number} is left out" for number in range(9))],
    }
    print_end(console, result, "runs/example")
    text = out.getvalue()
    for words in (
        "0.180 ± 0.020",
        "0.900",
        "19,200",
        "83.2",
        "Give xs back.",
        "before: wrong answer, 2 of 5 tests passed",
        "after: passes 5 of 5",
    ):
        assert words in text
    assert "generated 19,200, trained 12,000, no signal 7,200" in text and "runs/example/report.md" in text
    told = capsys.readouterr().err
    assert (
        "Warning: 2 problems skipped" in told
        and "Warning: 5 more; report.md lists all of them" in told
        and "Warning" not in text
    )
    print_end(console, {"held_out": {"tasks": 256, "before": {"pass@1": 0.18}}})
    about = "256 of 500 from own"
    scores = {"before": {"pass@1": 0.18, "lost": 2}, "after": {"pass@1": 0.5, "pass@10": 0.75, "pass@10_se": 0.125}}
    scores["after"] |= {"max@2": 0.875, "max@2_se": 0.0625}
    ended = {"stopped_early": without_better("max@2", 1)}
    shown = io.StringIO()
    print_end(
        Console(file=shown, width=160, color_system=None), ended | {"held_out": {"tasks": 256, "about": about} | scores}
    )
    for words in (
        "pass@10 before training",
        "pass@10 after training",
        "0.750 ± 0.125",
        "max@2 after training",
        "0.875 ± 0.062",
        "no better max@2 for 1 evaluation",
        about,
        "2 programs; they count as not passed",
    ):
        assert words in shown.getvalue()
    assert "not evaluated" in out.getvalue()[len(text) :]


def test_every_figure_of_every_set_is_shown_under_its_name() -> None:
    more = {"tasks": 100, "about": "100 of 374 from mbpp", "before": {"pass@1": 0.2, "lost": 3}}
    more["after"] = {"pass@1": 0.3, "pass@5": 0.625, "max@5": 0.75}
    held_out = {"tasks": 256, "before": {"pass@1": 0.5}, "sets": {"mbpp": more}}
    shown = io.StringIO()
    print_end(Console(file=shown, width=160, color_system=None), {"held_out": held_out})
    text = shown.getvalue()
    for figure in ("pass@1", "pass@5", "max@5"):
        assert text.count(f"held-out mbpp {figure} ") == 2
    assert "100 of 374 from mbpp" in text and "held-out pass@1 before training" in text
    assert "without a verdict mbpp before training" in text and text.count("held-out pass@5") == 0


def test_the_plan_says_how_a_step_is_cut() -> None:
    def words(**learner: int) -> str:
        return micro_batches(Config(learner=learner))

    assert words(workers=2) == " on 2 workers, in micro-batches of at most 2,048 tokens"
    assert words(micro_batch_tokens=500) == " on 1 worker, in micro-batches of at most 500 tokens"


def test_the_plan_says_what_to_expect() -> None:
    config = Config(
        actors={"greedy": True, "count": 2},
        learner={"objective": "rltf", "supervised_ratio": 1.0},
        buffer={"fill_before_start": 500},
    )
    rows = [row for section in make_plan(config, FACTS) for row in section.rows]
    plan = "\n".join(f"{name}: {value}" for name, value in rows)
    assert "training problems: 2,000 from starter; 3 skipped" in plan
    assert "2 actors: 1 CPU each" in plan and "4 busy threads share 2 cores" in plan
    assert "asked of the cluster: 3.5 CPUs of the 4 that Ray offers on 2 cores, 0 GPUs of 0;" in plan
    assert "1 greedy program per group" in plan and "1 supervised steps of 32 programs per reinforcement step" in plan
    assert "weights: 3.4 MB per publish" in plan and "dashboard: http://127.0.0.1:8265" in plan
    assert "before its first step for 500 programs" in plan
    assert "when 72 groups (648 programs) are written and not yet trained on" in plan
    assert "853,000 parameters" in plan and "every 1 reinforcement step, 51 versions in all" in plan


def test_the_plan_says_how_large_the_folder_grows() -> None:
    def grows(trained: int = FACTS.trained, **parts: object) -> str:
        plan = dict(
            row for section in make_plan(Config(**parts), replace(FACTS, trained=trained)) for row in section.rows
        )
        return plan["it grows to"]

    assert "3 checkpoints of 10.3 MB, the export 3.4 MB, metrics" in grows()
    assert "3 checkpoints of 0.2 MB, the export 3.4 MB, the warm start 3.4 MB," in grows(
        10_000, warm_start={"steps": 5}
    )
    assert "the warm start" not in grows(warm_start={"steps": 5, "reuse": "runs/other/warm_start"})
    several = {"learner": {"steps": 99}, "checkpoint": {"export_every": 10}}
    assert "the export 3.4 MB, 9 exports on the way, 30.7 MB in all, metrics" in grows(**several)
    several["checkpoint"]["export_keep"] = 2
    assert "2 exports on the way, 6.8 MB in all, metrics" in grows(**several)


def test_the_plan_of_adapters_counts_them_alone_where_they_alone_travel() -> None:
    facts = replace(FACTS, parameters=853_000, trained=53_000)
    rows = dict(row for section in make_plan(Config(), facts) for row in section.rows)
    assert rows["model"].startswith("fresh llama, 4 layers x 128: 853,000 parameters, of which 53,000 are trained,")
    assert rows["weights"].startswith("0.2 MB per publish and actor")


def test_the_plan_tells_supervised_steps_from_a_supervised_part_of_every_step() -> None:
    learner = {"objective": "rltf", "supervised_ratio": 3.0, "supervised_mixing": "micro_batch"}
    plan = dict(
        row for section in make_plan(Config(actors={"greedy": True}, learner=learner), FACTS) for row in section.rows
    )
    assert plan["supervised"] == "32 programs of the corpus in every step, 75% of its loss"


def test_the_plan_of_the_control_says_so() -> None:
    config = Config(learner={"objective": "supervised"}, evaluation={"every": 0})
    plan = "\n".join(f"{name}: {value}" for section in make_plan(config, FACTS) for name, value in section.rows)
    assert "no reinforcement learning (the control)" in plan and "before the first step and after the last" in plan
    assert "published for evaluations, 2 versions in all" in plan


def test_the_plan_of_an_offline_run_that_is_bounded_in_time() -> None:
    learner = {"publish_every": 0, "steps": 500, "max_seconds": 90}
    config = Config(learner=learner, evaluation={"samples": 2, "final_samples": 20, "k": [10]})
    plan = "\n".join(f"{name}: {value}" for section in make_plan(config, FACTS) for name, value in section.rows)
    assert "500 steps or 90 s, whichever is first, of objective grpo" in plan
    assert "x 2 samples at temperature 1, before the first step and after the last with 20 samples then" in plan
    assert (
        "published after the last step alone (offline), 2 versions in all" in plan
        and "for the learner when" not in plan
    )


def test_versions_are_counted_as_the_learner_publishes() -> None:
    def versions(every: int = 20, **learner: object) -> int:
        return _versions(Config(learner=learner, evaluation={"every": every}, actors={"greedy": True}))[1]

    assert versions(steps=240, objective="rltf", supervised_ratio=1) == 121
    assert versions(steps=240, objective="rltf", supervised_ratio=1, supervised_mixing="micro_batch") == 241
    assert versions(steps=12000, objective="rltf", supervised_ratio=1, publish_every=25) == 241
    assert versions(steps=600, objective="supervised", every=100) == 7


def test_the_plan_refuses_nothing_and_says_what_is_missing() -> None:
    config = Config(actors={"count": 24, "gpus_per_actor": 1}, learner={"workers": 8, "gpus_per_worker": 1})
    plan = "\n".join(f"{name}: {value}" for section in make_plan(config, FACTS) for name, value in section.rows)
    assert "32 GPUs of 0: MORE THAN THERE ARE" in plan


def test_memory_grows_with_the_model_and_shrinks_with_zero() -> None:
    def states(**learner: object) -> float:
        return learner_bytes(Config(learner=learner), 10**9, 10**9, SHAPE).total

    whole, split = states(workers=4), states(workers=4, zero_stage=3)
    assert whole - split == pytest.approx(16e9 * 3 / 4)
    assert states(dtype="bfloat16", workers=4, zero_stage=1) < whole
    assert whole - states(workers=4, gradient_checkpointing=True) == pytest.approx(2048 * 128 * (4 * 68 - (4 * 4 + 68)))
    learner = {"zero_stage": 3, "offload": "parameters", "gpus_per_worker": 1}
    assert "12,000 MB in the host's memory" in learner_bytes(Config(learner=learner), 10**9, 10**9, SHAPE).words
    adapted = learner_bytes(Config(), 10**9, 10**6, SHAPE).total
    assert adapted == pytest.approx(states() - 12e9 + 12e6)


def test_memory_counts_frozen_models_whole_on_every_worker() -> None:
    def estimate(dtype: str = "bfloat16", **fields: object) -> MemoryEstimate:
        learner = {"objective": "rltf", "workers": 4, "zero_stage": 3, "dtype": dtype}
        return learner_bytes(Config(learner=learner, rltf=fields, actors={"greedy": True}), 10**9, 10**9, SHAPE)

    both = {"kl": 0.1, "critic_weighting": True, "critic": "critics/NAME"}
    assert estimate(**both).total - estimate().total == 2e9 + 4e9
    assert estimate("float32", **both).total - estimate("float32").total == 4e9 + 4e9
    assert estimate(**both).words == estimate().words + ", the reference 2,000 MB, the critic 4,000 MB"


def test_memory_follows_the_number_format() -> None:
    assert [weight_bytes(10, dtype) for dtype in ("float32", "bfloat16", "float16")] == [40, 20, 20]
    totals = [
        actor_bytes(Config(actors={"dtype": dtype, "gpus_per_actor": 1}), 10**9, SHAPE).total
        for dtype in ("float32", "bfloat16", "float16")
    ]
    assert totals[0] - totals[1] > 2e9 and totals[2] == totals[1]


def test_memory_follows_the_shape_of_the_model_that_is_loaded() -> None:
    codet5 = ModelShape.from_model_config(
        T5Config(d_model=1024, num_layers=24, num_decoder_layers=24, num_heads=16, vocab_size=32100)
    )
    assert (codet5.layers, codet5.encoder_layers, codet5.width) == (24, 24, 1024)
    preset = configuration.load(ROOT / "configs" / "apps-codet5.yaml")
    cache = actor_bytes(preset, 0, codet5).total - actor_bytes(preset, 0, ModelShape(0, 0, 0, 0, 0)).total
    assert cache == 2 * 24 * 1024 * 1312 * 84 * 2, "keys and values, layers, width, tokens, programs, bytes"
    shared = ModelShape.from_model_config(
        Qwen2Config(hidden_size=512, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2)
    )
    assert (shared.layers, shared.encoder_layers, shared.key_width) == (3, 0, 128)
    assert ModelShape.from_model_config(GPT2Config(n_embd=64, n_layer=5, n_head=4)) == ModelShape(5, 0, 64, 64, 50257)
