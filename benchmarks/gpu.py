"""What a learner step and a policy version cost on a GPU, for the model of the paper's run: CodeT5's shape of 770
million parameters.

    python -m benchmarks.gpu [--steps N] [--batch N] [--micro-batch-tokens N] [--gradient-checkpointing] [--json FILE]
    python -m benchmarks.gpu --quick [--device cpu]

The learner's engine takes steps in bfloat16 on programs of full length, 800 prompt and 512 program tokens, each with a
prompt of its own; weights and tokens are random. Then versions go through the weight store into a second model on the
same device, as into an actor's.

The rate of a step is its floating-point operations over its seconds; matrix products and attention are counted by
torch, what gradient checkpointing computes again too. Beside it stands what the same card does in one large bfloat16
product. The memory is torch's greatest during the steps, beside what `--dry-run` expects. Medians. `--quick` takes a
tiny shape: only to see that it runs, on a CPU too.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.running import ROOT, BenchmarkRunFailed, machine, raising_run_failed
from rltf.config import Config, UserError, first_line
from rltf.learner.engine import StepResult, TrainingEngine
from rltf.learner.objectives.base import TrainItem, totals_of
from rltf.learner.objectives.supervised import Supervised
from rltf.learner.publish import VersionPublisher
from rltf.learner.world import World
from rltf.monitor.memory import ModelShape, learner_bytes
from rltf.policy.policy import Policy, build_policy, make_spec
from rltf.telemetry.recorder import Recorder
from rltf.weights.loader import WeightLoader
from rltf.weights.ray_publisher import StorePublisher
from rltf.weights.ray_source import StoreSource
from rltf.weights.ray_store import start_store
from rltf.weights.unpacking import load_into

TIMEOUT_S = 120.0
"""Longest wait for the weight store."""
UNMEASURED = 2
"""Steps and versions before the first that counts: they touch memory and choose kernels for the first time."""


@dataclass(frozen=True)
class Case:
    """What is trained on what."""

    shape: dict[str, int]
    vocab_size: int
    prompt_tokens: int
    program_tokens: int
    product: int
    """Rows and columns of the matrices whose product is the card's rate."""


FULL = Case({"d_model": 1024, "layers": 24, "heads": 16, "d_ff": 4096}, 32100, 800, 512, 8192)
QUICK = Case({"d_model": 64, "layers": 2, "heads": 4, "d_ff": 128}, 1000, 40, 24, 512)


def settings(case: Case, device: str, micro_batch_tokens: int, checkpointing: bool) -> Config:
    """The run that the engine believes to be in."""
    lengths = {"max_prompt_tokens": case.prompt_tokens, "max_program_tokens": case.program_tokens}
    learner = {"dtype": "bfloat16", "micro_batch_tokens": micro_batch_tokens, "gradient_checkpointing": checkpointing}
    gpus = {"gpus_per_worker": int(device == "cuda")}
    return Config.model_validate({"policy": {"family": "t5", **case.shape, **lengths}, "learner": learner | gpus})


def policy_of(case: Case, config: Config) -> Policy:
    """Random weights; the tokenizer is none of the model's, for the tokens are random too."""
    spec = make_spec(config.policy, [Path(__file__).read_text()])
    return build_policy(
        replace(spec, model_config=json.dumps(json.loads(spec.model_config) | {"vocab_size": case.vocab_size}))
    )


def programs(case: Case, number: int, seed: int) -> list[TrainItem]:
    """Programs of full length."""
    rng = random.Random(seed)

    def tokens(length: int) -> list[int]:
        return [rng.randrange(4, case.vocab_size) for _ in range(length)]

    return Supervised().items(
        [(tokens(case.prompt_tokens), tokens(case.program_tokens)) for _ in range(number)], f"step-{seed}"
    )


def product_rate(size: int, device: str, repeats: int = 20) -> float:
    """Operations per second of a product of two bfloat16 matrices of `size` rows and columns."""
    left, right = (torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(UNMEASURED + repeats):
        began = time.perf_counter()
        torch.mm(left, right)
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds[UNMEASURED:])


def take_step(engine: TrainingEngine, items: Sequence[TrainItem]) -> StepResult:
    """One step, planning included; the engine waits for the card at its end."""
    return engine.step(engine.plan(items).micro_batches, Supervised().loss, totals_of(items), 1e-5)


def measure_steps(engine: TrainingEngine, case: Case, batch: int, steps: int) -> dict[str, Any]:
    """Medians over steps, operations of one step, greatest memory in bytes."""
    device = engine.device.type
    seconds: list[float] = []
    results: list[StepResult] = []
    for number in range(UNMEASURED + steps):
        if number == UNMEASURED and device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        items = programs(case, batch, number)
        began = time.perf_counter()
        results.append(take_step(engine, items))
        seconds.append(time.perf_counter() - began)
    memory = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    with FlopCounterMode(display=False) as counter:
        take_step(engine, programs(case, batch, 0))
    phases = {
        name: statistics.median(result.seconds[name] for result in results[UNMEASURED:]) for name in results[0].seconds
    }
    step_s = statistics.median(seconds[UNMEASURED:])
    return {
        "step_s": step_s, "phases_s": phases, "all_s": seconds, "memory_bytes": memory,
        "program_tokens_per_s": batch * case.program_tokens / step_s,
        "tokens_per_s": batch * (case.prompt_tokens + case.program_tokens) / step_s,
        "operations": counter.get_total_flops(), "rate": counter.get_total_flops() / step_s,
    }  # fmt: skip


def measure_versions(engine: TrainingEngine, policy: Policy, repeats: int) -> dict[str, Any]:
    """Medians in seconds of a version's way from the engine to a second model on the same device."""
    device = engine.device.type
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False,
        logging_level=logging.ERROR, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    try:
        store = start_store(TIMEOUT_S)
        versions = VersionPublisher(engine, policy, StorePublisher(store, TIMEOUT_S), torch.bfloat16)
        second = build_policy(policy.spec, dtype="bfloat16", weights=False).model.to(device).requires_grad_(False)
        loader = WeightLoader(
            partial(load_into, second), StoreSource(store, TIMEOUT_S), Recorder("actor-0", lambda rows: None)
        )
        blocked: list[float] = []
        whole: list[float] = []
        for _ in range(UNMEASURED + repeats):
            began = time.perf_counter()
            version = versions.publish()
            blocked.append(time.perf_counter() - began)
            loader.refresh()
            _wait(device)
            whole.append(time.perf_counter() - began)
            if loader.version != version:
                raise BenchmarkRunFailed(f"the second model has version {loader.version}, not {version}")
    finally:
        ray.shutdown()
    own = dict(policy.model.named_parameters())
    if not all(torch.equal(value, own[name].to(torch.bfloat16)) for name, value in second.named_parameters()):
        raise BenchmarkRunFailed("the second model has other weights than the version that it loaded")
    medians = {
        name: statistics.median(values[UNMEASURED:]) for name, values in (("blocked_s", blocked), ("way_s", whole))
    }
    return {"bytes": 2 * policy.parameters, **medians}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _refuse(options: argparse.Namespace) -> None:
    if options.device == "cpu" and not options.quick:
        raise UserError("--device cpu goes with --quick alone: on a CPU the full shape takes minutes a step")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "no GPU answers (torch.cuda.is_available() is false); --quick --device cpu shows that the benchmark runs"
        )
    if min(options.steps, options.batch, options.micro_batch_tokens) < 1:
        raise UserError("--steps, --batch and --micro-batch-tokens are at least 1")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures. Raises UserError for options that cannot be, RunFailed where the card's memory is too small."""
    _refuse(options)
    case, device = QUICK if options.quick else FULL, options.device
    steps, batch = (2, 4) if options.quick else (options.steps, options.batch)
    torch.manual_seed(0)
    if device == "cpu":
        torch.set_num_threads(1)
    config = settings(case, device, options.micro_batch_tokens, options.gradient_checkpointing)
    peak = product_rate(case.product, device)
    policy = policy_of(case, config)
    shape = ModelShape.from_model_config(policy.model.config)
    expected = learner_bytes(config, policy.parameters, policy.trained_parameters, shape).total
    try:
        engine = TrainingEngine(policy, config.learner, World(device=device))
        engine.reset_optimizer(config.learner.betas, config.learner.weight_decay)
        step = measure_steps(engine, case, batch, steps)
        version = measure_versions(engine, policy, steps)
        engine.close()
    except torch.OutOfMemoryError as error:
        raise BenchmarkRunFailed(
            f"{first_line(error)} Take fewer --micro-batch-tokens, or --gradient-checkpointing"
        ) from error
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else machine()["cpu"],
        "parameters": policy.parameters, "batch": batch,
        "prompt_tokens": case.prompt_tokens, "program_tokens": case.program_tokens,
        "micro_batch_tokens": options.micro_batch_tokens,
        "gradient_checkpointing": options.gradient_checkpointing, "steps": steps, "product_rate": peak,
        "expected_bytes": expected,
        "step": step, "version": version, "machine": machine(),
    }  # fmt: skip


def table_of(found: dict[str, Any]) -> Table:
    """The figures in words."""
    step, version = found["step"], found["version"]
    shape = f"T5 of {found['parameters'] / 1e6:.1f} M parameters, {found['batch']} programs of {found['prompt_tokens']}"
    table = Table(
        title=f"{found['device']}: {shape} + {found['program_tokens']} tokens, bfloat16, medians of {found['steps']}"
    )
    for column in ("", "measured", "beside"):
        table.add_column(column)
    table.add_row(
        "a step",
        f"{step['step_s']:.3f} s",
        ", ".join(f"{name} {value:.3f} s" for name, value in step["phases_s"].items()),
    )
    table.add_row(
        "tokens per second",
        f"{step['program_tokens_per_s']:,.0f} of programs",
        f"{step['tokens_per_s']:,.0f} with prompts",
    )
    product = (
        f"one product: {found['product_rate'] / 1e12:.2f} TFLOP/s; {step['rate'] / found['product_rate']:.0%} of it"
    )
    table.add_row("rate", f"{step['rate'] / 1e12:.2f} TFLOP/s", product)
    table.add_row(
        "memory", f"{step['memory_bytes'] / 1e9:.2f} GB", f"--dry-run expects {found['expected_bytes'] / 1e9:.2f} GB"
    )
    blocked = f"learner blocked {version['blocked_s'] * 1e3:.1f} ms"
    table.add_row(
        f"a version, {version['bytes'] / 1e6:,.1f} MB", blocked, f"published to loaded {version['way_s'] * 1e3:.1f} ms"
    )
    return table


def main(arguments: Sequence[str]) -> int:
    """Exit code 0; 1 with a sentence when the card's memory is too small, 2 when there is no GPU or the command line is
    wrong.
    """
    parser = argparse.ArgumentParser(
        prog="benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tiny shape and two steps: only to see that it runs")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: with --quick alone (default: cuda)"
    )
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="measured steps, and versions (default: 10)")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="programs per step (default: 32)")
    parser.add_argument(
        "--micro-batch-tokens",
        type=int,
        default=8192,
        metavar="N",
        help="see learner.micro_batch_tokens (default: 8192)",
    )
    parser.add_argument("--gradient-checkpointing", action="store_true", help="see learner.gradient_checkpointing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    with raising_run_failed() as ending:
        found = measure(options)
        console.print(table_of(found))
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n")
    return ending.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
