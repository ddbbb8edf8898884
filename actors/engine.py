"""The sampling engine: batches of prompts to completions, for decoder-only and encoder-decoder policies.

Each prompt is computed once and shared by its samples; finished rows are dropped at once, so the batch shrinks as
programs end. The model is an unmodified `transformers` one; what is ours is the loop, the cache and, where the model
lets attention be plugged in, the attention function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from rltf.actors.decoding import Decoding, PlainDecoding, SharedPrefixDecoding
from rltf.actors.fused_step import FusedStep, fits
from rltf.actors.sampling import choose
from rltf.actors.shared_prefix import FAMILIES, OwnTokens, plug_into
from rltf.policy.policy import Policy


@dataclass(frozen=True)
class Completion:
    """One program as sampled."""

    token_ids: list[int]
    """End-of-sequence included if it was sampled."""
    log_probs: list[float]
    """Of each token under the policy, temperature and nucleus not applied."""
    finish_reason: Literal["stop", "length"]
    greedy: bool


class SamplingEngine:
    """Samples from a policy whose weights may be replaced between two calls of `sample`.

    Not for use by several threads at once.
    """

    def __init__(
        self, policy: Policy, device: torch.device | str = "cpu", share_prefix: bool = True, fuse: bool = True
    ) -> None:
        """Moves the model to `device`.

        With `share_prefix` false, or for a model that cannot, `transformers` caches are used. With `fuse` a model that
        `fused_step.fits` decodes with fewer calls.
        """
        self._policy = policy
        self._device = torch.device(device)
        policy.model.to(self._device).eval()
        config = policy.model.config
        self._own: OwnTokens | None = None
        self._fuses = False
        if share_prefix and config.model_type in FAMILIES and not getattr(config, "use_sliding_window", False):
            plug_into(policy.model)
            self._fuses = fuse and fits(policy.model)
            self._own = OwnTokens(getattr(config, "num_decoder_layers", None) or config.num_hidden_layers)

    @torch.inference_mode()
    def sample(
        self,
        prompts: list[list[int]],
        samples_per_prompt: int,
        greedy: bool,
        temperature: float = 1.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        max_tokens: int | None = None,
    ) -> list[list[Completion]]:
        """For each prompt `samples_per_prompt` samples and, with `greedy`, one greedy completion at the end of its
        list.

        `generator` (on the CPU) makes the result reproducible; `max_tokens` defaults to the policy's
        max_program_tokens. Raises ValueError when there is nothing to do.
        """
        per_prompt = samples_per_prompt + int(greedy)
        limit = self._policy.spec.max_program_tokens if max_tokens is None else max_tokens
        if not prompts or not all(prompts) or per_prompt < 1 or limit < 1:
            raise ValueError(
                f"nothing to sample: {len(prompts)} prompts (none may be empty), {per_prompt} completions each, "
                f"{limit} tokens"
            )
        count = len(prompts) * per_prompt
        # All random numbers are drawn beforehand, one per row and token, so dropping rows changes no other row's
        # sample.
        uniforms = torch.rand(limit, count, generator=generator, dtype=torch.float64).to(self._device)
        is_greedy = torch.zeros(len(prompts), per_prompt, dtype=torch.bool, device=self._device)
        if greedy:
            is_greedy[:, -1] = True
        tokens = torch.zeros(count, limit, dtype=torch.long, device=self._device)
        log_probs = torch.zeros(count, limit, device=self._device)
        lengths = torch.full((count,), limit, device=self._device)
        stopped = torch.zeros(count, dtype=torch.bool, device=self._device)

        ends = torch.tensor(self._policy.end_ids, device=self._device)
        rows = torch.arange(count, device=self._device)  # row -> completion
        greedy_rows = is_greedy.flatten() if greedy else None
        decoding, logits = self._prefill(prompts, per_prompt)
        for step in range(limit):
            chosen, chosen_log_probs = choose(logits, uniforms[step, rows], temperature, top_p, greedy_rows)
            tokens[rows, step] = chosen
            log_probs[rows, step] = chosen_log_probs
            ended = torch.isin(chosen, ends)
            if ended.any():
                finished = rows[ended]
                lengths[finished] = step + 1
                stopped[finished] = True
                keep = decoding.keep(ended)
                if not keep.numel():
                    break
                rows, chosen = rows[keep], chosen[keep]
                greedy_rows = greedy_rows[keep] if greedy_rows is not None else None
            if step + 1 < limit:
                logits = decoding.step(chosen, step)
        return _completions(tokens, log_probs, lengths, stopped, is_greedy)

    def _prefill(self, prompts: list[list[int]], per_prompt: int) -> tuple[Decoding, Tensor]:
        decoding: Decoding
        if self._own is not None:
            # The weights may have changed since the last batch, so their joined copies are made anew.
            fused = FusedStep(self._policy.model) if self._fuses else None
            decoding = SharedPrefixDecoding(self._policy, self._device, self._own, fused)
        else:
            decoding = PlainDecoding(self._policy, self._device)
        return decoding, decoding.prefill(prompts, per_prompt)


def _completions(
    tokens: Tensor, log_probs: Tensor, lengths: Tensor, stopped: Tensor, is_greedy: Tensor
) -> list[list[Completion]]:
    longest = int(lengths.max())
    columns: list[list[Any]] = [
        tokens[:, :longest].tolist(),
        log_probs[:, :longest].tolist(),
        lengths.tolist(),
        stopped.tolist(),
        is_greedy.flatten().tolist(),
    ]
    flat = [
        Completion(ids[:length], values[:length], "stop" if stop else "length", best)
        for ids, values, length, stop, best in zip(*columns, strict=True)
    ]
    per_prompt = is_greedy.shape[1]
    return [flat[start : start + per_prompt] for start in range(0, len(flat), per_prompt)]
