"""Memory estimates of the parts, in bytes.

Good to about a factor of two: meant to tell megabytes from gigabytes before anything starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rltf.config import Config

_PROCESS = 4.0e8
"""A Python process with torch, transformers and Ray (resident, measured 413 MB)."""
_LEAN_PROCESS = 1.5e8
"""A Ray actor without torch and the processes that it forks programs from (measured 123 + 14 MB)."""
_LOGITS = 1.0e8
"""Float32 numbers of a slice of logits while log-probabilities are taken from them."""
_BYTES_PER_TOKEN = 16
"""Of one program token in a record: 4 bytes each for id, log-probability and offset, and 4 characters of text."""
_RECORD = 2000
"""Bytes of a sample beside its tokens: ids, feedback of a handful of tests, and what Redis needs to keep them."""
_REDIS = 1.3e8
"""What the server has beside samples: itself, the ids of the newest 200,000 groups, telemetry that nobody has read,
buffers of clients."""
_CLAIMED_PER_LANE = 16
"""Programs that an executor claims at once (`executor.worker.PROGRAMS_PER_LANE`)."""
_ROW, _ROW_OF_SAMPLE, _ROW_OF_GROUP, _POINTS = 3500, 40, 64, 2500
"""Bytes of a step's row in metrics.jsonl, of it for each sample (id, reward) and group (fingerprint); of its points in
tensorboard/."""
_CHECKPOINT = 4e4
"""What a checkpoint has beside tensors: random states, the buffer's position, the objective's state, checksums."""
_REWRITE = 2**29
"""Size of the append-only file below which it is not rewritten (`buffer.server.AOF_REWRITE_MIN_MB`)."""


@dataclass(frozen=True)
class MemoryEstimate:
    """A sum with its parts in words."""

    total: float
    words: str


@dataclass(frozen=True)
class ModelShape:
    """What the sizes of activations and of the key-value cache depend on."""

    layers: int
    """Of the decoder."""
    encoder_layers: int
    """0 for decoder-only models."""
    width: int
    key_width: int
    """Width of a layer's keys, less than `width` where heads share them."""
    vocab_size: int

    @classmethod
    def from_model_config(cls, model_config: Any) -> ModelShape:
        """The shape that a transformers configuration describes."""
        encoder = model_config.num_hidden_layers if model_config.is_encoder_decoder else 0
        heads = model_config.num_attention_heads
        shared = getattr(model_config, "num_key_value_heads", None) or heads
        return cls(
            layers=getattr(model_config, "num_decoder_layers", None) or model_config.num_hidden_layers,
            encoder_layers=encoder,
            width=model_config.hidden_size,
            key_width=model_config.hidden_size * shared // heads,
            vocab_size=model_config.vocab_size,
        )


def _number_bytes(dtype: str) -> int:
    return 4 if dtype == "float32" else 2


def weight_bytes(parameters: int, dtype: str) -> float:
    """Size of one published version."""
    return float(parameters * _number_bytes(dtype))


def checkpoint_bytes(trained: int) -> float:
    """One checkpoint: of each trained parameter the weight and AdamW's two averages in float32, and all else."""
    return 12.0 * trained + _CHECKPOINT


def exports_on_the_way(config: Config) -> int:
    """Models that the run has in exports/ at its end."""
    every, keep = config.checkpoint.export_every, config.checkpoint.export_keep
    written = config.learner.steps // every if every else 0
    return min(written, keep) if keep else written


def learner_bytes(config: Config, parameters: int, trained: int, shape: ModelShape) -> MemoryEstimate:
    """One learner worker: weights, gradients, optimizer, activations of one micro-batch, the process itself; GPU and
    host together.

    Model states as in ZeRO (arXiv 1910.02054, section 3.1): float32 4 + 4 + 8 bytes a parameter, 16 bits 2 + 2 + 12, of
    which stage 1 splits the optimizer's, stage 2 the gradients too, stage 3 the weights too over the workers; only the
    `trained` ones of the parameters, with adapters theirs, have gradients and optimizer. Activations as in arXiv
    2205.05198, Eq. 1 and table 2: 34 s b h bytes a layer at 2 bytes a number, attention scores left out, or 2 s b h
    with gradient checkpointing and one layer whole; the logits of program tokens, and their gradient. Frozen models are
    whole on every worker: the reference in the policy's number format, the critic, which has the policy's shape, in
    float32.
    """
    learner, policy = config.learner, config.policy
    half = learner.dtype != "float32"
    workers, stage = learner.workers, learner.zero_stage
    layers = shape.layers + shape.encoder_layers
    weights = parameters * (2 if half else 4) / (workers if stage >= 3 else 1)
    gradients = trained * (2 if half else 4) / (workers if stage >= 2 else 1)
    optimizer = trained * (12 if half else 8) / (workers if stage >= 1 else 1)
    tokens = max(learner.micro_batch_tokens, policy.max_prompt_tokens + policy.max_program_tokens)
    number = 2 if half else 4
    inside = tokens * shape.width * 17 * number
    predicted = tokens * policy.max_program_tokens / (policy.max_prompt_tokens + policy.max_program_tokens)
    activations = 2.0 * predicted * shape.vocab_size * number + _LOGITS
    activations += (
        layers * tokens * shape.width * number + inside if learner.gradient_checkpointing else layers * inside
    )
    states = weights + gradients + optimizer
    words = (
        f"model states {states / 1e6:,.0f} MB, one micro-batch {activations / 1e6:,.0f} MB, the process "
        f"{_PROCESS / 1e6:.0f} MB"
    )
    frozen = 0.0
    if config.objective.kl:
        frozen += weight_bytes(parameters, learner.dtype)
        words += f", the reference {weight_bytes(parameters, learner.dtype) / 1e6:,.0f} MB"
    if config.objective.weighed_by_critic:
        frozen += weight_bytes(parameters, "float32")
        words += f", the critic {weight_bytes(parameters, 'float32') / 1e6:,.0f} MB"
    on_host = {"none": 0.0, "optimizer": optimizer, "parameters": optimizer + weights}[learner.offload]
    if on_host and learner.gpus_per_worker:
        words += f"; of these {on_host / 1e6:,.0f} MB in the host's memory instead of the GPU's"
    return MemoryEstimate(states + activations + frozen + _PROCESS, words)


def actor_bytes(config: Config, parameters: int, shape: ModelShape) -> MemoryEstimate:
    """One actor: weights, keys and values of prompts and programs sampled together, the process itself."""
    actors, policy = config.actors, config.policy
    width = _number_bytes(actors.dtype)
    rows = actors.problems_per_batch * config.group_size
    cache = 2 * shape.layers * shape.key_width * (policy.max_prompt_tokens + policy.max_program_tokens) * rows * width
    weights = parameters * width
    words = (
        f"weights {weights / 1e6:,.0f} MB, keys and values of {rows} programs {cache / 1e6:,.0f} MB, the process "
        f"{_PROCESS / 1e6:.0f} MB"
    )
    return MemoryEstimate(weights + cache + _PROCESS, words)


def executor_bytes(config: Config) -> float:
    """One executor with every lane at its memory limit."""
    return _LEAN_PROCESS + config.executor.lanes * config.executor.memory_limit_mb * 2**20


def sample_bytes(config: Config) -> float:
    """A sample of the greatest length in Redis; a quarter more than its bytes, for what the allocator cannot use."""
    return 1.25 * (_RECORD + 4 * config.policy.max_prompt_tokens + _BYTES_PER_TOKEN * config.policy.max_program_tokens)


def redis_bytes(config: Config) -> float:
    """Bound of the server's memory, with queue, online buffer and archive full.

    The problems' tests, which it keeps too, come on top.

    Beside the three capacities: three held-out evaluations of every set, one written while learner and driver have yet
    to read the one before, and the one before that in the archive; and what executors have claimed, with the rest of
    its groups, which waits for it.
    """
    held_out = 2 * config.evaluation.usual_programs + config.evaluation.programs
    claimed = config.executor.most * config.executor.lanes * _CLAIMED_PER_LANE * config.group_size
    samples = (
        config.buffered_programs + config.buffer.work_capacity + config.buffer.archive_capacity + held_out + claimed
    )
    return sample_bytes(config) * samples + _REDIS


def step_bytes(config: Config) -> float:
    """Bound of what one learner step adds to metrics.jsonl and tensorboard/ in the run's folder."""
    return _ROW + _ROW_OF_SAMPLE * config.samples_per_step + _ROW_OF_GROUP * config.learner.groups_per_step + _POINTS


def aof_bytes(config: Config) -> float:
    """Bound of the server's append-only file: rewritten when it has doubled, and as large again while the new one is
    written.
    """
    return 2 * max(_REWRITE, 2 * redis_bytes(config))
