"""The command train-critic: the samples of a run in, a critic of outcomes out."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from rltf.config import DiskFailure, PolicyConfig, UserError
from rltf.learner.critic import Critic, default_device, items_of, train_critic
from rltf.learner.export import first_weights
from rltf.monitor.run_record import RunRecord
from rltf.policy.policy import build_policy, make_spec
from rltf.problems.files import or_user_error
from rltf.telemetry.console import progress, warn


def train_critic_of(run: Path, out: Path, steps: int, batch_size: int, learning_rate: float, console: Console) -> None:
    """Trains a critic on the training programs of the run in `run`, begun with the weights of its warm start, into the
    folder `out`.

    Raises UserError when `run` is no run with a warm start and samples, or `out` exists or cannot be written, and
    FloatingPointError when the loss is not finite.
    """
    folder = RunRecord.open(run)
    if out.exists():
        raise UserError(f"--out {out} exists: name a folder that does not")
    config = folder.settings()
    begun = first_weights(config, run)
    source = str(begun) if begun is not None and begun.is_dir() else config.policy.model
    if not source:
        raise UserError(f"{run} holds no model to begin with: it has neither a warm start nor policy.model")
    lengths = {
        "max_prompt_tokens": config.policy.max_prompt_tokens,
        "max_program_tokens": config.policy.max_program_tokens,
    }
    policy = build_policy(make_spec(PolicyConfig.model_validate({"model": source} | lengths), []))
    kept = (kept.sample for kept in folder.samples())
    samples = [sample for sample in kept if sample is not None and sample.program.purpose == "train"]
    for sentence in folder.damage():
        warn(sentence)
    critic = Critic(policy, config.learner.micro_batch_tokens, default_device())
    with or_user_error(out):
        out.mkdir(
            parents=True
        )  # a folder that cannot be made, or that another command has just made, is told before the work
    try:
        with progress(console, "steps", steps) as advance:
            report = train_critic(critic, items_of(samples), steps, batch_size, learning_rate, config.run.seed, advance)
        with or_user_error(out):
            critic.save(out, {"run": str(run), **asdict(report)})
    except DiskFailure as failure:
        raise UserError(f"--out {failure}") from None
    finally:
        with suppress(OSError):  # nothing is left of a critic that was not trained
            out.rmdir()
    console.print(
        f"critic of {report.programs} programs in {out}: it tells {report.accuracy:.1%} of unseen outcomes "
        f"(the commonest one is {report.majority:.1%} of them), loss {report.loss:.3f} after {report.steps} steps",
        markup=False,
    )
