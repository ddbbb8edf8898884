"""The DeepSpeed engine: one optimizer step over any number of micro-batches, on any ZeRO stage, with the loss scaled by
us alone.

DeepSpeed divides a loss by its accumulation steps and averages gradients over ranks. The losses here are already parts
of one step's loss that add up, so accumulation is set to one, the end of the step is announced
(`set_gradient_accumulation_boundary`), and the average over ranks is undone by a factor of the world size: neither
micro-batch size nor world size changes the gradient.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from rltf.config import LearnerConfig
from rltf.learner.batching import MicroBatch, Plan, plan, tensors
from rltf.learner.objectives.base import Loss, LossInputs, Totals, TrainItem, not_finite
from rltf.learner.objectives.surrogates import divergence_from
from rltf.learner.optimizer_state import OptimizerState
from rltf.learner.world import World, broadcast_int, join
from rltf.policy.log_probs import token_log_probs
from rltf.policy.policy import DTYPES, Policy, checkpoint_layers
from rltf.policy.tree_attention import patch_attention, supports_trees
from rltf.telemetry.recorder import tell_nobody
from rltf.weights.packing import BUCKET_BYTES

_MAX_EAGER_TOKENS = 512
_MAX_NAMED = 64
"""Most programs that the message of a step given up names."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimizer step was, the same on every rank."""

    loss: float
    gradient_norm: float
    """Before clipping."""
    entropy: float
    """Mean over the program tokens that were forwarded, in nats."""
    sums: dict[str, float]
    """The objective's additive statistics (`LossResult.sums`); those named ``per_token/..`` are means over forwarded
    program tokens."""
    tokens: int
    """Program tokens that were forwarded."""
    seconds: dict[str, float]
    """Of this rank: collate, forward, backward, step."""
    kl_to_previous: float | None = None
    """Per token, the policy version before the trained one against it; none where that version sampled nothing in the
    step."""
    skipped: bool = False
    """float16: whether the gradient overflowed, so that the weights stayed as they were and the loss is scaled less
    from here on."""

    @classmethod
    def empty(cls) -> StepResult:
        """A step in which no program carried a signal: no gradient, no change."""
        return cls(loss=0.0, gradient_norm=0.0, entropy=0.0, sums={}, tokens=0, seconds={})


class TrainingEngine:
    """Trains one policy's model in place.

    ``reset_optimizer`` starts a phase (warm start, reinforcement) with fresh optimizer state. The learning rate is
    given with every step.
    """

    def __init__(self, policy: Policy, config: LearnerConfig, world: World) -> None:
        join(world)
        deepspeed = _import_deepspeed(world.device)
        self.world = world
        self.device = torch.device(world.device)
        self.policy = policy
        self.on_micro_batch: Callable[[], None] = tell_nobody
        """Called after each micro-batch of a step: how a long one shows that it goes on."""
        self._clip = config.gradient_clip
        self._zero = config.zero_stage
        self.mixed = config.mixed_precision == "auto" and config.dtype == "float32" and _mixing_is_faster(policy, world)
        self._max_tokens = config.micro_batch_tokens
        self._share = supports_trees(policy.model)
        if self._share:
            patch_attention(policy.model, world.device)
        self.score_dtype = torch.bfloat16 if self.mixed else DTYPES[config.dtype]
        # Without ZeRO in float32 the gradients are plain tensors: their norm is known before the step is taken.
        self._plain = config.zero_stage == 0 and config.dtype == "float32"
        if config.gradient_checkpointing:
            checkpoint_layers(policy)
        trained = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
        self._adamw = torch.optim.AdamW(
            trained, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        self._engine, *_ = deepspeed.initialize(
            model=policy.model,
            optimizer=self._adamw,
            config={
                "train_micro_batch_size_per_gpu": 1,
                "gradient_accumulation_steps": 1,
                "zero_allow_untested_optimizer": True,
                "gradient_clipping": 0.0 if self._plain else config.gradient_clip,
                "bf16": {"enabled": config.dtype == "bfloat16"},
                "fp16": {"enabled": config.dtype == "float16"},
                "zero_optimization": {"stage": config.zero_stage, "overlap_comm": False, **_offload(config)},
                "zero_force_ds_cpu_optimizer": False,  # torch's own is as fast, and needs no compiler
                "steps_per_print": None,
            },
            dist_init_required=False,
        )
        self._gathered = deepspeed.zero.GatheredParameters
        # Dropout stays off: the trained policy is the one that samples.
        self._engine.train(config.gradient_checkpointing)

    def reset_optimizer(self, betas: tuple[float, float], weight_decay: float) -> None:
        """Forgets the optimizer's running averages and sets its coefficients."""
        self._adamw.state.clear()
        for group in self._adamw.param_groups:
            group["betas"], group["weight_decay"] = betas, weight_decay

    def state(self) -> OptimizerState:
        """Weights and running averages as full tensors, to be saved or put back."""
        return OptimizerState(self.policy.model, self._adamw, self._engine.optimizer, self.world.size)

    def plan(self, items: Sequence[TrainItem]) -> Plan:
        """This rank's share of a step's `items`; every rank calls it with the same."""
        return plan(self.policy, items, self._max_tokens, self.world.rank, self.world.size, self._share)

    def step(
        self,
        micro_batches: Sequence[MicroBatch],
        loss: Loss,
        totals: Totals,
        learning_rate: float,
        statistics: bool = True,
        previous: Collection[str] = (),
    ) -> StepResult:
        """Forward and backward over this rank's micro-batches, then one optimizer step.

        Collective: every rank calls it alike.

        `statistics` false skips the entropies. `previous`: ids of the programs that the version before the trained one
        sampled. Raises FloatingPointError on every rank when the loss or the gradient is not finite, before the weights
        change; the message is the same on all and names the programs of all. In float16 a gradient that overflows is
        scaled less the next time instead (`StepResult.skipped`).
        """
        if not micro_batches:
            raise ValueError("a step needs at least one micro-batch on every rank")
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        clock = _Clock(self.device)
        names: list[str] = []
        collected: list[torch.Tensor] = []
        suspects: list[str] = []
        for index, micro_batch in enumerate(micro_batches):
            last = index == len(micro_batches) - 1
            self._engine.set_gradient_accumulation_boundary(last)
            batch, inputs = tensors(self.policy, micro_batch, self.device, self.score_dtype)
            clock.end("collate")
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                result = token_log_probs(self._engine, batch, entropy=statistics)
            mask = result.mask & (not micro_batch.empty)
            part = loss(result.values, mask, inputs, totals)
            clock.end("forward")
            self._engine.backward(part.loss * self.world.size, scale_wrt_gas=False)
            if not last:
                self._engine.micro_steps += 1  # what engine.step() does between boundaries, at a fraction of its cost
            real = 0.0 if micro_batch.empty else 1.0
            names = ["loss", "entropy", "tokens", "previous/kl", "previous/tokens", *part.sums]
            values = [part.loss.detach(), result.entropy.sum() * real, result.mask.sum() * real]
            values += [*_divergence(result.values, mask, inputs, micro_batch, previous), *part.sums.values()]
            collected.append(torch.stack([value.double() for value in values]))
            if not bool(torch.isfinite(part.loss)):
                suspects += [micro_batch.items[row].id for row in not_finite(loss, result.values, mask, inputs, totals)]
            clock.end("backward")
            self.on_micro_batch()
        norm, skipped = self._finish(micro_batches, suspects)
        clock.end("step")
        sums = torch.stack(collected).sum(0)
        if self.world.size > 1:
            dist.all_reduce(sums)
        total = dict(zip(names, sums.tolist(), strict=True))
        tokens, of_previous, divergence = (total.pop(name) for name in ("tokens", "previous/tokens", "previous/kl"))
        mean = {
            name: value / max(1.0, tokens) if name.startswith("per_token/") else value for name, value in total.items()
        }
        return StepResult(
            loss=total["loss"],
            gradient_norm=norm,
            entropy=total["entropy"] / max(1.0, tokens),
            sums={name: value for name, value in mean.items() if name not in ("loss", "entropy")},
            tokens=int(tokens),
            seconds=clock.seconds,
            kl_to_previous=divergence / of_previous if of_previous else None,
            skipped=skipped,
        )

    def _finish(self, micro_batches: Sequence[MicroBatch], suspects: list[str]) -> tuple[float, bool]:
        """Clips, checks and applies the gradient; its norm, and whether it overflowed and was not applied."""
        if self._anywhere(bool(suspects)):
            raise self._not_finite("loss", micro_batches, suspects)
        if self._plain:
            parameters = [parameter for parameter in self.policy.model.parameters() if parameter.grad is not None]
            limit = self._clip or math.inf
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=True))
            if not math.isfinite(norm):
                raise self._not_finite("gradient", micro_batches, suspects)
            self._engine.step()
            return norm, False
        self._engine.step()
        # Where DeepSpeed finds the gradient not finite it leaves the weights as they are.
        if self.score_dtype == torch.float16 and self._engine.optimizer.overflow:
            return 0.0, True
        norm = float(self._engine.get_global_grad_norm() or 0.0)
        if not math.isfinite(norm):
            raise self._not_finite("gradient", micro_batches, suspects)
        return norm, False

    def _not_finite(self, what: str, micro_batches: Sequence[MicroBatch], suspects: list[str]) -> FloatingPointError:
        """`suspects`: this rank's programs whose loss is not finite; where no rank knows any it is all of the step.

        Collective.
        """
        ids, which = self._of_all(suspects), "Programs whose own loss is not finite"
        if not ids:
            ids = self._of_all([item.id for batch in micro_batches for item in batch.items if not batch.empty])
            which = "Programs of the step"
        named = ", ".join(ids[:_MAX_NAMED]) + (f" and {len(ids) - _MAX_NAMED} more" if len(ids) > _MAX_NAMED else "")
        return FloatingPointError(
            f"The {what} of a learner step is not finite; the step was given up. {which}: {named}"
        )

    def _of_all(self, ids: list[str]) -> list[str]:
        """Those of all ranks, in the order of ranks. Collective."""
        if self.world.size == 1:
            return ids
        found: list[list[str]] = [[] for _ in range(self.world.size)]
        dist.all_gather_object(found, ids)
        return [name for part in found for name in part]

    def _anywhere(self, here: bool) -> bool:
        """Whether it is so on any rank. Collective."""
        if self.world.size == 1:
            return here
        flag = torch.tensor([int(here)], device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def gathered_weights(
        self, weights: Iterable[tuple[str, torch.Tensor]], bucket_bytes: int = BUCKET_BYTES
    ) -> Iterable[tuple[str, torch.Tensor]]:
        """The same named tensors, each whole while it is yielded; a list where all are at any time.

        Collective: every rank exhausts it.

        ZeRO-3 keeps parts: they are gathered together up to `bucket_bytes` (one tensor at least), so that a large model
        costs few collectives and never more than so much memory.
        """
        return self._gathered_by_bucket(weights, bucket_bytes) if self._zero == 3 else list(weights)

    def _gathered_by_bucket(
        self, weights: Iterable[tuple[str, torch.Tensor]], bucket_bytes: int
    ) -> Iterator[tuple[str, torch.Tensor]]:
        bucket: list[tuple[str, torch.Tensor]] = []
        size = 0
        for name, tensor in weights:
            more = getattr(tensor, "ds_numel", tensor.numel()) * tensor.element_size()
            if bucket and size + more > bucket_bytes:
                yield from self._gather(bucket)
                bucket, size = [], 0
            bucket.append((name, tensor))
            size += more
        yield from self._gather(bucket)

    def _gather(self, bucket: list[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        with self._gathered([tensor for _, tensor in bucket if isinstance(tensor, torch.nn.Parameter)]):
            yield from bucket

    def barrier(self) -> None:
        """Returns when every rank has called it."""
        if self.world.size > 1:
            dist.barrier()

    def broadcast_int(self, value: int) -> int:
        """Rank 0's value, on every rank. Collective."""
        return broadcast_int(self.world, value)

    def close(self) -> None:
        """Takes DeepSpeed's hooks off the model."""
        self._engine.destroy()


@torch.no_grad()
def _divergence(
    log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs, micro_batch: MicroBatch, previous: Collection[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """From the sampling policy, summed over the tokens of the programs in `previous`; and how many tokens these are."""
    if inputs.behaviour_log_probs is None or not previous:
        return log_probs.new_zeros(()), log_probs.new_zeros(())
    rows = torch.tensor([item.id in previous for item in micro_batch.items], device=mask.device)
    counted = mask & rows[:, None]
    return divergence_from(log_probs, counted, inputs).sum(), counted.sum()


class _Clock:
    """Seconds by phase.

    A GPU is waited for at the end of each, else the time would count where the next wait happens to be.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def end(self, phase: str) -> None:
        """Counts the time since the last end for `phase`."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now


def _mixing_is_faster(policy: Policy, world: World) -> bool:
    """Whether bfloat16 products pay: on a CPU that has them, for sequences short enough that attention may hold its
    whole square.

    Against float32 the log-probabilities of a warm-started model differ by 0.006 (standard deviation), far inside the
    ratio clip, and the gradient's direction not at all (cosine 1.000).
    """
    short = policy.spec.max_prompt_tokens + policy.spec.max_program_tokens <= _MAX_EAGER_TOKENS
    return world.device == "cpu" and short and torch.cpu._is_avx512_bf16_supported()


def _offload(config: LearnerConfig) -> dict[str, Any]:
    """DeepSpeed's settings for what is kept in the host's memory."""
    host = {"device": "cpu", "pin_memory": config.gpus_per_worker > 0}
    kept = {"none": (), "optimizer": ("offload_optimizer",), "parameters": ("offload_optimizer", "offload_param")}[
        config.offload
    ]
    return dict.fromkeys(kept, host)


def _import_deepspeed(device: str) -> Any:
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")
    import deepspeed

    for name in ("DeepSpeed", "deepspeed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if device == "cpu":
        # The op only speeds up collectives between ranks, and compiling it needs g++, ninja and up to two minutes; a
        # process killed in that time leaves a lock for which every later one waits for ever.
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
