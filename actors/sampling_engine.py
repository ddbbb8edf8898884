"""The sampling engine: batches of prompts to completions, for decoder-only and encoder-decoder policies.

Each prompt is computed once and shared by its samples; finished rows are dropped at once, so the batch shrinks as
programs end. The model is an unmodified `transformers` one; what is ours is the loop, the cache and, where the model
lets attention be plugged in, the attention function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor

from rltf.actors.decoding import Decoding, PlainDecoding, SharedPrefixDecoding
from rltf.actors.engine import Completion, Request
from rltf.actors.fused_step import FusedStep, is_supported
from rltf.actors.sampling import PLAIN, SamplingParams, choose, uniforms_of
from rltf.actors.shared_prefix import FAMILIES, GeneratedKV, patch_attention
from rltf.actors.stopping import NO_ENDINGS, Endings, EndingWatch
from rltf.actors.wide_linear import patch_linear
from rltf.buffer.records import VersionRun
from rltf.config import Config
from rltf.policy.policy import Policy, PolicySpec, build_policy
from rltf.telemetry.recorder import tell_nobody
from rltf.weights.manifest import Bucket, Manifest
from rltf.weights.unpacking import AdapterLoader, load_into


class SamplingEngine:
    """Samples batches, each to its end: a step is one batch. Implements `actors.engine.Engine`."""

    def __init__(
        self, policy: Policy, device: torch.device | str = "cpu", share_prefix: bool = True, fuse: bool = True
    ) -> None:
        """Moves the model to `device`.

        With `share_prefix` false, or for a model that cannot, `transformers` caches are used. With `fuse` a model that
        `fused_step.is_supported` decodes with fewer calls.
        """
        self.policy = policy
        self._version = -1
        self._waiting: dict[str, Request] = {}
        self._device = torch.device(device)
        policy.model.to(self._device).eval()
        patch_linear(policy.model)
        config = policy.model.config
        self._own: GeneratedKV | None = None
        self._fuses = False
        if share_prefix and config.model_type in FAMILIES and not getattr(config, "use_sliding_window", False):
            patch_attention(policy.model)
            self._fuses = fuse and is_supported(policy.model)
            self._own = GeneratedKV(getattr(config, "num_decoder_layers", None) or config.num_hidden_layers)
        self._load = AdapterLoader(policy.model, policy.spec.lora) if policy.spec.lora is not None else load_into

    @classmethod
    def from_config(cls, spec: PolicySpec, config: Config, device: str) -> Self:
        """See EngineKind.

        Whole versions need no weights to begin with; adapters are merged into those that the learner's are put upon.
        """
        weights = spec.lora is not None
        return cls(build_policy(spec, config.run.seed, config.actors.dtype, weights=weights, adapters=False), device)

    def submit(self, key: str, request: Request) -> None:
        """See Engine."""
        if key in self._waiting:
            raise ValueError(f"request {key!r} is under way")
        self._waiting[key] = request

    def step(self) -> list[tuple[str, list[Completion]]]:
        """Runs what was submitted as one batch to its end.

        Requests that differ from the first in anything but prompt, seed and number wait for the next step. The random
        numbers of a request are its own, whatever others are beside it.
        """
        if not self._waiting:
            return []
        first = next(iter(self._waiting.values()))
        alike = {key: request for key, request in self._waiting.items() if request.settings == first.settings}
        limit = self.policy.spec.max_program_tokens if first.max_tokens is None else first.max_tokens
        found = self.sample(
            [request.prompt_ids for request in alike.values()],
            first.samples,
            first.greedy,
            first.sampling,
            max_tokens=limit,
            # The greedy completion, a request's last, has a column too, which is not looked at.
            uniforms=torch.cat([uniforms_of(one.seed, one.first, one.completions, limit) for one in alike.values()], 1),
            endings=first.endings,
            on_progress=first.on_progress,
        )
        for key in alike:
            del self._waiting[key]
        return list(zip(alike, found, strict=True))

    def unfinished(self) -> int:
        """See Engine."""
        return len(self._waiting)

    def abort(self, key: str) -> None:
        """See Engine."""
        self._waiting.pop(key, None)

    def load(self, manifest: Manifest, buckets: Sequence[Bucket]) -> None:
        """See Engine."""
        self._load(self.policy.model, manifest, buckets)
        self._version = manifest.version

    def close(self) -> None:
        """See Engine."""
        self._waiting.clear()

    @torch.inference_mode()
    def sample(
        self,
        prompts: list[list[int]],
        samples_per_prompt: int,
        greedy: bool,
        sampling: SamplingParams = PLAIN,
        generator: torch.Generator | None = None,
        max_tokens: int | None = None,
        uniforms: Tensor | None = None,
        endings: Endings = NO_ENDINGS,
        on_progress: Callable[[], None] = tell_nobody,
    ) -> list[list[Completion]]:
        """For each prompt `samples_per_prompt` samples and, with `greedy`, one greedy completion at the end of its
        list.

        `generator` (on the CPU) makes the result reproducible, or `uniforms`, (max_tokens, completions) float64 in
        [0, 1), in its place; `max_tokens` defaults to the policy's max_program_tokens; `endings` end a completion
        beside the policy's end tokens; `on_progress` is called for each layer that the prompts have gone through, and
        for each token that all rows have got. Raises ValueError when there is nothing to do.
        """
        per_prompt = samples_per_prompt + int(greedy)
        limit = self.policy.spec.max_program_tokens if max_tokens is None else max_tokens
        if not prompts or not all(prompts) or per_prompt < 1 or limit < 1:
            raise ValueError(
                f"nothing to sample: {len(prompts)} prompts (none may be empty), {per_prompt} completions each, "
                f"{limit} tokens"
            )
        count = len(prompts) * per_prompt
        # All random numbers are drawn beforehand, one per row and token, so dropping rows changes no other row's
        # sample.
        if uniforms is None:
            uniforms = torch.rand(limit, count, generator=generator, dtype=torch.float64)
        uniforms = uniforms.to(self._device)
        is_greedy = torch.zeros(len(prompts), per_prompt, dtype=torch.bool, device=self._device)
        if greedy:
            is_greedy[:, -1] = True
        tokens = torch.zeros(count, limit, dtype=torch.long, device=self._device)
        log_probs = torch.zeros(count, limit, device=self._device)
        sampled = None if sampling.is_plain else torch.zeros_like(log_probs)
        seen = self._seen(prompts, per_prompt) if sampling.repetition_penalty != 1.0 else None
        lengths = torch.full((count,), limit, device=self._device)
        stopped = torch.zeros(count, dtype=torch.bool, device=self._device)

        ends = torch.tensor(self.policy.stop_token_ids, device=self._device)
        rows = torch.arange(count, device=self._device)  # row -> completion
        greedy_rows = is_greedy.flatten() if greedy else None
        watch = None if endings.none else EndingWatch(self.policy, endings, count)
        with _listening(self.policy.model, on_progress):
            decoding, logits = self._prefill(prompts, per_prompt)
        for step in range(limit):
            drawn = choose(
                logits, uniforms[step, rows], sampling, greedy_rows, seen[rows] if seen is not None else None
            )
            chosen = drawn.tokens
            tokens[rows, step] = chosen
            log_probs[rows, step] = drawn.log_probs
            if sampled is not None:
                sampled[rows, step] = drawn.sampled_log_probs
            if seen is not None:
                seen[rows, chosen] = True
            on_progress()
            ended = stops = torch.isin(chosen, ends)
            if watch is not None:
                said = [watch.see(*each) for each in zip(rows.tolist(), chosen.tolist(), strict=True)]
                stops = stops | torch.tensor([each == "stop" for each in said], device=self._device)
                ended = stops | torch.tensor([each == "length" for each in said], device=self._device)
            if ended.any():
                lengths[rows[ended]] = step + 1
                stopped[rows[stops]] = True
                keep = decoding.drop_finished(ended)
                if not keep.numel():
                    break
                rows, chosen = rows[keep], chosen[keep]
                greedy_rows = greedy_rows[keep] if greedy_rows is not None else None
            if step + 1 < limit:
                logits = decoding.step(chosen, step)
        return _completions(tokens, log_probs, sampled, lengths, stopped, is_greedy, self._version)

    def _seen(self, prompts: list[list[int]], per_prompt: int) -> Tensor:
        """(G * per_prompt, V): the tokens that rows have before their first own; an encoder's are none of them."""
        starts = [[self.policy.decoder_start_id]] * len(prompts) if self.policy.is_encoder_decoder else prompts
        seen = torch.zeros(len(prompts), self.policy.model.get_output_embeddings().out_features, dtype=torch.bool)
        for row, ids in zip(seen, starts, strict=True):
            row[ids] = True
        return seen.to(self._device).repeat_interleave(per_prompt, dim=0)

    def _prefill(self, prompts: list[list[int]], per_prompt: int) -> tuple[Decoding, Tensor]:
        decoding: Decoding
        if self._own is not None:
            # The weights may have changed since the last batch, so their joined copies are made anew.
            fused = FusedStep(self.policy.model) if self._fuses else None
            decoding = SharedPrefixDecoding(self.policy, self._device, self._own, fused)
        else:
            decoding = PlainDecoding(self.policy, self._device)
        return decoding, decoding.prefill(prompts, per_prompt)


@contextmanager
def _listening(model: Any, on_layer: Callable[[], None]) -> Iterator[None]:
    """Calls `on_layer` after each layer: on a CPU the prompts of a batch may take minutes, before the first token."""
    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    hooks = [layer.register_forward_hook(lambda *_: on_layer()) for stack in stacks for layer in stack]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _completions(
    tokens: Tensor,
    log_probs: Tensor,
    sampled: Tensor | None,
    lengths: Tensor,
    stopped: Tensor,
    is_greedy: Tensor,
    version: int,
) -> list[list[Completion]]:
    longest = int(lengths.max())
    columns: list[list[Any]] = [
        tokens[:, :longest].tolist(),
        log_probs[:, :longest].tolist(),
        [[]] * len(tokens) if sampled is None else sampled[:, :longest].tolist(),
        lengths.tolist(),
        stopped.tolist(),
        is_greedy.flatten().tolist(),
    ]
    flat = [
        Completion(
            ids[:length], plain[:length], drawn[:length], "stop" if stop else "length", best, [VersionRun(version, 0)]
        )
        for ids, plain, drawn, length, stop, best in zip(*columns, strict=True)
    ]
    per_prompt = is_greedy.shape[1]
    return [flat[start : start + per_prompt] for start in range(0, len(flat), per_prompt)]
