"""The warm start and the learner."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rltf.config.base import ConfigSection, Folder
from rltf.config.choice import OneOf
from rltf.config.objectives import OBJECTIVES

Beta = Annotated[float, Field(ge=0, lt=1)]


class WarmStartConfig(ConfigSection):
    """Supervised training before the first program is sampled."""

    steps: int = Field(0, ge=0)
    """Optimizer steps of the warm start; 0: none."""
    batch_size: int = Field(64, ge=1)
    """Programs per step."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate; warmed up over a twentieth of the steps, then decayed by a cosine to a tenth."""
    until_pass: bool = False
    """Go on in rounds of `steps` until one sample for a training problem, drawn as in evaluations, passes (small models
    on real problems)."""
    reuse: Folder = ""
    """Folder of a warm-started model to begin from instead of training one (an earlier run's `warm_start` folder)."""


class LearnerConfig(ConfigSection):
    """The DeepSpeed worker group that trains."""

    workers: int = Field(1, ge=1)
    """Data-parallel learner workers (world size)."""
    gpus_per_worker: float = Field(0.0, ge=0)
    """GPUs each worker asks Ray for; 0: it runs on the CPU."""
    cpus_per_worker: float = Field(1.0, ge=0)
    """CPUs each worker asks Ray for."""
    threads: int = Field(1, ge=1)
    """Torch threads of a worker on the CPU while programs are being written at the same time."""
    warm_start_threads: int = Field(2, ge=1)
    """Torch threads of a worker on the CPU during the warm start, when the actors are idle."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO stage."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What is kept in the host's memory instead of the GPU's: optimizer: its state (zero_stage 1 or more); parameters:
    these too (3)."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of training; float16, for GPUs without bfloat16, scales the loss and needs zero_stage 1 or more."""
    gradient_checkpointing: bool = False
    """Keep each layer's input alone and compute the rest again in the backward pass: less memory, a third more time."""
    mixed_precision: Literal["auto", "never"] = "auto"
    """auto: on a CPU with instructions for it, matrix products of short sequences in bfloat16 (1.7x faster); weights
    stay float32."""
    objective: Annotated[str, OneOf(OBJECTIVES)] = "grpo"
    """What is minimised."""
    steps: int = Field(100, ge=1)
    """Optimizer steps after the warm start, reinforcement and supervised ones together."""
    max_seconds: float | None = Field(None, gt=0)
    """Seconds of training, waits included, after which the run ends as after its last step; none: `steps` alone end
    it."""
    groups_per_step: int = Field(24, ge=1)
    """Groups (visits of a problem) drawn for one step over all workers; times actors.samples_per_problem is the batch
    in samples."""
    micro_batch_tokens: int = Field(2048, ge=1)
    """Most token positions in one forward pass of one worker, padding included; what programs of one prompt have in
    common counts once."""
    supervised_ratio: float = Field(0.0, ge=0)
    """Supervised steps per reinforcement step, or weight of the supervised term beside the other (supervised_mixing);
    the paper has 1."""
    supervised_mixing: Literal["step", "micro_batch"] = "step"
    """step: a step is one or the other, clipped by itself; micro_batch: every step is both, a mean weighted by
    supervised_ratio."""
    supervised_batch_size: int = Field(32, ge=1)
    """Programs of one supervised step over all workers."""
    learning_rate: float = Field(4e-4, gt=0)
    """Learning rate after warm-up."""
    warmup_steps: int = Field(10, ge=0)
    """Steps over which the learning rate rises; the first step already has a rate above zero."""
    final_learning_rate: float = Field(1.0, gt=0, le=1)
    """Share of the learning rate left at the last step, reached linearly; 1 keeps it constant."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """AdamW's running-average coefficients."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's weight decay."""
    gradient_clip: float = Field(1.0, ge=0)
    """Largest gradient norm; 0: no clipping."""
    publish_every: int = Field(1, ge=0)
    """Reinforcement steps between two policy versions, supervised ones beside; 0: offline, only the first policy
    samples for training."""
