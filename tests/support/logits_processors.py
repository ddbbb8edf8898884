"""What `transformers` does to logits before it samples from them."""

from __future__ import annotations

from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from rltf.actors.sampling import SamplingParams


def processors(how: SamplingParams) -> LogitsProcessorList:
    """In the order in which `generate` applies them."""
    found = LogitsProcessorList()
    if how.repetition_penalty != 1.0:
        found.append(RepetitionPenaltyLogitsProcessor(how.repetition_penalty))
    found.append(TemperatureLogitsWarper(how.temperature))
    if how.top_k:
        found.append(TopKLogitsWarper(how.top_k))
    if how.top_p < 1:
        found.append(TopPLogitsWarper(how.top_p))
    if how.min_p:
        found.append(MinPLogitsWarper(how.min_p))
    return found
