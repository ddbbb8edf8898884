"""The interface of a sampling engine: from prompts to completions, with weights that change on the way.

`actors.sampling_engine` has the project's own, `actors.engines` all that can be chosen by name. No Redis and no Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from rltf.actors.sampling import PLAIN, SamplingParams
from rltf.actors.stopping import NO_ENDINGS, Endings
from rltf.buffer.records import VersionRun
from rltf.config import Config
from rltf.policy.policy import Policy, PolicySpec
from rltf.telemetry.recorder import tell_nobody
from rltf.weights.manifest import Bucket, Manifest


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be written for one prompt: `samples` completions and, with `greedy`, one of the most probable tokens.

    Raises ValueError when that is nothing.
    """

    prompt_ids: list[int]
    samples: int
    greedy: bool = False
    sampling: SamplingParams = PLAIN
    seed: int = 0
    """Of the samples. With the same weights the same requests, submitted in the same order, are answered alike."""
    first: int = 0
    """Number of the first sample: random numbers depend on seed and number, so that samples can be asked for in
    parts."""
    max_tokens: int | None = None
    """None: the policy's max_program_tokens."""
    endings: Endings = NO_ENDINGS
    """What ends a completion beside the policy's end tokens."""
    on_progress: Callable[[], None] = field(default=tell_nobody, compare=False)
    """Called within `step` each time that something of the request, or of those that run with it, is computed, a token
    of each or a layer of the prompts: how an engine that is long at one `step` shows that it goes on."""

    def __post_init__(self) -> None:
        """Raise ValueError when there is nothing to do."""
        if not self.prompt_ids or self.completions < 1 or (self.max_tokens is not None and self.max_tokens < 1):
            raise ValueError(
                f"nothing to sample: a prompt of {len(self.prompt_ids)} tokens, {self.completions} completions, at "
                f"most {self.max_tokens} tokens each"
            )

    @property
    def completions(self) -> int:
        """How many are to be written."""
        return self.samples + int(self.greedy)

    @property
    def settings(self) -> tuple[int, bool, SamplingParams, int | None, Endings]:
        """All but prompt, seed, number and listener."""
        return self.samples, self.greedy, self.sampling, self.max_tokens, self.endings


@dataclass(frozen=True, slots=True)
class Completion:
    """One program as sampled."""

    token_ids: list[int]
    """T tokens, the one or ones that ended it included."""
    log_probs: list[float]
    """(T,) of each token under the policy that sampled it, nothing of `sampling` applied."""
    sampled_log_probs: list[float]
    """(T,) of each token under the distribution that it was drawn from; empty where that is the policy's own."""
    finish_reason: Literal["stop", "length"]
    greedy: bool
    versions: list[VersionRun]
    """Policy versions that sampled it, in order, each with its first token: the first begins at token 0."""


class Engine(Protocol):
    """Writes completions. Used by one thread; weights change only where `load` is called, between two steps.

    One that writes continuously does a little in each `step`; one that runs batches may do all of it in one.
    """

    @property
    def policy(self) -> Policy:
        """Tokenizer and token ids of what is sampled from; nobody else computes with its model."""

    def submit(self, key: str, request: Request) -> None:
        """Takes a request, answered by `step` under its key. Raises ValueError for a key that is under way."""

    def step(self) -> list[tuple[str, list[Completion]]]:
        """Some time of work; the requests that came to their end, each with its completions, the greedy one last.

        At once, with nothing, where nothing is under way.
        """

    def unfinished(self) -> int:
        """Requests that are under way."""

    def abort(self, key: str) -> None:
        """Forgets a request, of which `step` then returns nothing; one that is not under way is let be."""

    def load(self, manifest: Manifest, buckets: Sequence[Bucket]) -> None:
        """Takes a version of the weights: all tokens sampled from here on are of it, those of requests under way too.

        The buckets are not read any more when it returns. Raises ChecksumError when a bucket is corrupt and
        ManifestMismatch when the version is none of this policy; the weights are as they were then.
        """

    def close(self) -> None:
        """Ends what it started, whatever is under way."""


class EngineKind(Protocol):
    """The class of an engine that can be chosen by name (`actors.engines.ENGINES`)."""

    def from_config(self, spec: PolicySpec, config: Config, device: str) -> Engine:
        """An engine for a policy on a device (`cpu`, `cuda`), before its first version.

        Raises UserError when it cannot serve this policy or is not installed.
        """
