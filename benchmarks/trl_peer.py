"""The peer of `benchmarks.loop`: TRL's GRPOTrainer trains the warm start of a run folder as that run's configuration
says.

    python -m benchmarks.trl_peer --run RUN_FOLDER --out FILE [--threads N] [--lanes N] [--micro-batch N] [--until
    PASS@1]

Problems, their order, prompts (checked to be the same token ids), rewards, hyper-parameters and held-out tasks are the
run's own; the loop is TRL's, in one process. Held-out evaluations stop its clock.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from rltf import config as configuration
from rltf.actors.sampling_engine import SamplingEngine
from rltf.actors.visits import Visits
from rltf.buffer.records import Feedback
from rltf.config import Config, UserError
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.learner.export import load_weights
from rltf.learner.rewards import binary_reward
from rltf.learner.schedule import linear
from rltf.monitor.run_folder import RunFolder
from rltf.policy.encoding import decode_with_offsets, encode_prompt, too_long
from rltf.policy.policy import Policy, build_policy, make_spec
from rltf.problems import Problem, load_problem_split, prompt_of
from rltf.telemetry.console import print_error

_EVALUATION_BATCH = 64
"""Held-out programs sampled together."""


def refuse_if_not_comparable(config: Config) -> None:
    """Raises UserError when TRL is not installed, or cannot do what the configuration asks for."""
    if importlib.util.find_spec("trl") is None:
        raise UserError("the peer, TRL, is not installed: pip install -e '.[benchmark]' -c constraints.txt")
    wrong = {
        "learner.objective must be grpo": config.learner.objective != "grpo",
        "learner.supervised_ratio must be 0": bool(config.learner.supervised_ratio),
        "learner.dtype and actors.dtype must be float32": {config.learner.dtype, config.actors.dtype} != {"float32"},
        "grpo.reward must be binary": config.grpo.reward != "binary",
        "actors.greedy must be false": config.actors.greedy,
        "policy.family must be decoder-only, TRL cannot train t5": not config.policy.model
        and config.policy.family == "t5",
        "warm_start.steps must be above 0 and warm_start.reuse empty": not config.warm_start.steps
        or bool(config.warm_start.reuse),
        "learner.gpus_per_worker and actors.gpus_per_actor must be 0": bool(
            config.learner.gpus_per_worker or config.actors.gpus_per_actor
        ),
        "problems.held_out must name problems": config.problems.held_out in ("", "none"),
    }
    for sentence, applies in wrong.items():
        if applies:
            raise UserError(f"this comparison is of group-relative policy optimisation on a CPU: {sentence}")


@dataclass
class Clock:
    """The peer's RL clock: it stands still while held-out tasks are evaluated."""

    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=lambda: {"generation": 0.0, "reward": 0.0})
    """Seconds of parts since `start`."""
    _since: float | None = None

    def start(self) -> None:
        """Goes on."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Stands still."""
        if self._since is not None:
            self.seconds += time.perf_counter() - self._since
            self._since = None

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What is done inside is part `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.parts[name] += time.perf_counter() - began


class Tasks:
    """The run's problems, policy and prompts, made as the run itself makes them."""

    def __init__(self, folder: RunFolder) -> None:
        """Raises UserError when the folder holds no warm start, or the prompts are not the run's own, token
        by token.
        """
        self.config = config = configuration.load(folder.path / "config.yaml")
        warm_start = folder.path / "warm_start"
        if not warm_start.is_dir():
            raise UserError(f"{folder.path} has no warm_start folder: its run ended before the warm start was done")
        spec = make_spec(config.policy.model_copy(update={"model": str(warm_start)}), ())
        # The source decides about the special tokens around a prompt; the run's own policy was as `policy.model` says.
        self.policy: Policy = build_policy(replace(spec, source=config.policy.model), weights=False)
        load_weights(self.policy, warm_start)
        self.warm_start = warm_start
        sets = load_problem_split(config.problems, config.run.seed)
        problems = sets.train.sample(config.problems.limit).problems
        assert sets.held_out is not None, "refused above"
        held_out = sets.held_out.sample(config.evaluation.tasks).problems
        self.problems = self._that_fit(problems)
        self.held_out = list(self._that_fit(held_out).values())
        self.prompts = {key: encode_prompt(self.policy, prompt_of(problem)) for key, problem in self.problems.items()}
        self._check_prompts(folder)

    def _that_fit(self, problems: Sequence[Problem]) -> dict[str, Problem]:
        reasons = too_long(self.policy, {problem.id: prompt_of(problem) for problem in problems})
        return {problem.id: problem for problem in problems if problem.id not in reasons}

    def _check_prompts(self, folder: RunFolder) -> None:
        self.checked_prompts: set[str] = set()
        for kept in folder.samples():
            program = kept.program
            if program is None or program.purpose != "train" or program.problem_id in self.checked_prompts:
                continue
            if self.prompts.get(program.problem_id) != list(program.prompt_ids):
                raise UserError(
                    f"the prompt of {program.problem_id} is not the one in {folder.path}/samples: the code has "
                    "changed since"
                )
            self.checked_prompts.add(program.problem_id)

    def rows(self) -> list[dict[str, str]]:
        """TRL's data set: the problems of all steps in the order of the run's visits.

        Raises UserError if a text gives other ids.
        """
        learner = self.config.learner
        visits = Visits(list(self.problems), self.config.run.seed)
        ids = [visits.problem(visit) for visit in range(learner.steps * learner.groups_per_step)]
        texts = {problem_id: self._text(problem_id) for problem_id in set(ids)}
        return [{"prompt": texts[problem_id], "problem_id": problem_id} for problem_id in ids]

    def _text(self, problem_id: str) -> str:
        """A text that TRL, which tokenizes texts only, turns into exactly the run's prompt ids."""
        ids, prefix = self.prompts[problem_id], list(self.policy.prompt_prefix)
        text, _ = decode_with_offsets(self.policy, ids[len(prefix) :])
        special = "".join(self.policy.tokenizer.convert_ids_to_tokens(prefix))
        for candidate in (
            text,
            special + text,
        ):  # with the special tokens spelt out where the tokenizer does not add them
            if list(self.policy.tokenizer(text=candidate)["input_ids"]) == ids:
                return candidate
        raise UserError(f"no text gives TRL the prompt ids of {problem_id}: the runs would not be comparable")


class Examiner:
    """Held-out pass@1 of a model's weights, with the project's own sampling engine and judge."""

    def __init__(self, tasks: Tasks, judge: SandboxJudge) -> None:
        self._tasks = tasks
        self._judge = judge
        self._engine = SamplingEngine(tasks.policy)
        self._prompts = [encode_prompt(tasks.policy, prompt_of(problem)) for problem in tasks.held_out]

    def pass_at_1(self, model: Any, step: int) -> float:
        """Share of programs, sampled at temperature 1, that pass all tests; a program that could not be judged did not
        pass.
        """
        policy, samples = self._tasks.policy, self._tasks.config.evaluation.samples
        policy.model.load_state_dict(model.state_dict())
        generator = torch.Generator().manual_seed(self._tasks.config.run.seed * 1_000_003 + step)
        work = []
        for start in range(0, len(self._prompts), _EVALUATION_BATCH):
            problems = self._tasks.held_out[start : start + _EVALUATION_BATCH]
            groups = self._engine.sample(
                self._prompts[start : start + _EVALUATION_BATCH], samples, False, generator=generator
            )
            for problem, group in zip(problems, groups, strict=True):
                work += [(problem.suite, decode_with_offsets(policy, completion.token_ids)[0]) for completion in group]
        feedbacks = self._judge.grade(work)
        return sum(isinstance(feedback, Feedback) and feedback.outcome == "pass" for feedback in feedbacks) / len(
            feedbacks
        )


def train(tasks: Tasks, judge: SandboxJudge, scratch: str, micro_batch: int, until: float) -> dict[str, Any]:
    """Runs GRPOTrainer, to the first evaluation that reaches `until` at most; the curve, seconds of each step by part,
    and pass rates.
    """
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, TrainerCallback

    config = tasks.config
    clock, examiner = Clock(), Examiner(tasks, judge)
    curve: list[list[float]] = []
    steps: list[dict[str, float]] = []
    failures = 0
    rates: list[float] = []

    def unit_tests(completions: list[str], problem_id: list[str], **_: Any) -> list[float | None]:
        nonlocal failures
        with clock.part("reward"):
            feedbacks = judge.grade(
                [(tasks.problems[key].suite, text) for key, text in zip(problem_id, completions, strict=True)]
            )
        rewards = [binary_reward(feedback) if isinstance(feedback, Feedback) else None for feedback in feedbacks]
        failures += rewards.count(None)
        rates.append(sum(reward or 0.0 for reward in rewards) / len(rewards))
        return rewards

    class Watch(TrainerCallback):
        """Evaluates while the clock stands still."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            curve.append([0, 0.0, examiner.pass_at_1(kwargs["model"], 0)])
            clock.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            clock.stop()
            step = int(state.global_step)
            steps.append({"step": step, "seconds": clock.seconds, "pass_rate": rates[-1], **clock.parts})
            if (config.evaluation.every and step % config.evaluation.every == 0) or step == config.learner.steps:
                curve.append([step, clock.seconds, examiner.pass_at_1(kwargs["model"], step)])
                print(f"step {step}: held-out pass@1 {curve[-1][2]:.3f} after {clock.seconds:.1f} s", flush=True)
                control.should_training_stop = curve[-1][2] >= until
            clock.start()

    # As the learner does: torch's fused attention has no fast bfloat16 backward on the CPU.
    attention = "eager" if mixed_precision(config) else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(tasks.warm_start, dtype=torch.float32, attn_implementation=attention)
    trainer = _timed_trainer(clock)(
        model=model,
        reward_funcs=unit_tests,
        args=_arguments(config, scratch, micro_batch),
        train_dataset=Dataset.from_list(tasks.rows()),
        processing_class=tasks.policy.tokenizer,
        callbacks=[Watch()],
        optimizers=_optimizer(model, config),
    )
    trainer.train()
    return {"curve": curve, "steps": steps, "infrastructure_failures": failures}


def _timed_trainer(clock: Clock) -> Callable[..., Any]:
    from trl import GRPOTrainer

    class TimedTrainer(GRPOTrainer):
        """GRPOTrainer that tells how long its generation takes, tokenizing and decoding included."""

        def _generate(self, prompts: list[Any]) -> Any:
            with clock.part("generation"):
                return super()._generate(prompts)

    return TimedTrainer


def _arguments(config: Config, scratch: str, micro_batch: int) -> Any:
    from trl import GRPOConfig

    learner, actors = config.learner, config.actors
    return GRPOConfig(
        output_dir=scratch,
        seed=config.run.seed,
        max_steps=learner.steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=config.samples_per_step // micro_batch,
        num_generations=actors.samples_per_problem,
        max_completion_length=config.policy.max_program_tokens,
        temperature=actors.temperature,
        top_p=actors.top_p,
        shuffle_dataset=False,  # the data set is in the order of the run's visits
        beta=0.0,
        num_iterations=1,
        epsilon=config.grpo.clip_low,
        epsilon_high=config.grpo.clip_high,
        scale_rewards="group",
        loss_type="dapo",  # the sum over the step's program tokens divided by their number
        max_grad_norm=learner.gradient_clip,
        gradient_checkpointing=False,
        bf16=mixed_precision(config),
        use_cpu=True,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def mixed_precision(config: Config) -> bool:
    """Whether matrix products are in bfloat16, for both systems alike; weights and optimizer stay float32."""
    return config.learner.mixed_precision == "auto" and torch.cpu._is_avx512_bf16_supported()


_MICRO_BATCH = 32


def _micro_batch(config: Config) -> int:
    """The largest that divides a step and is not above the fastest size: a whole step at once takes about twice the CPU
    time.
    """
    return max(size for size in range(1, _MICRO_BATCH + 1) if config.samples_per_step % size == 0)


def _optimizer(model: Any, config: Config) -> tuple[Any, Any]:
    """The learner's optimizer and schedule: TRL's own constant_with_warmup has a rate of zero at its first step."""
    learner = config.learner
    adamw = torch.optim.AdamW(
        model.parameters(), lr=learner.learning_rate, betas=learner.betas, weight_decay=learner.weight_decay, fused=True
    )
    rate = linear(1.0, learner.steps, learner.warmup_steps, learner.final_learning_rate)
    return adamw, torch.optim.lr_scheduler.LambdaLR(adamw, rate)


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 with a sentence when the input is wrong."""
    parser = argparse.ArgumentParser(prog="benchmarks.trl_peer", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--run", type=Path, required=True, help="folder of a finished run of the project with a warm start"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--lanes", type=int, default=2, help="programs that are graded at the same time")
    parser.add_argument("--micro-batch", type=int, default=0, help="programs in one forward pass; 0: about 32")
    parser.add_argument(
        "--until", type=float, default=1.0, help="end at the first evaluation with this held-out pass@1"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        folder = RunFolder.open(options.run)
        refuse_if_not_comparable(configuration.load(folder.path / "config.yaml"))
        tasks = Tasks(folder)
        micro_batch = options.micro_batch or _micro_batch(tasks.config)
        if tasks.config.samples_per_step % micro_batch:
            raise UserError(
                f"--micro-batch {micro_batch} does not divide the {tasks.config.samples_per_step} programs of a step"
            )
    except UserError as error:
        print_error(f"error: {error}")
        return 2
    limits = tasks.config.executor
    with (
        tempfile.TemporaryDirectory() as scratch,
        SandboxJudge(options.lanes, limits.time_limit_s, limits.memory_limit_mb) as judge,
    ):
        facts: Mapping[str, Any] = {
            "trl": importlib.metadata.version("trl"),
            "threads": options.threads,
            "lanes": options.lanes,
            "micro_batch": micro_batch,
            "mixed_precision": mixed_precision(tasks.config),
            "samples_per_step": tasks.config.samples_per_step,
            "held_out_tasks": len(tasks.held_out),
            "prompts_checked_against_the_run": len(tasks.checked_prompts),
        }
        result = {**facts, **train(tasks, judge, scratch, micro_batch, options.until)}
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
