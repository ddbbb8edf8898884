"""From log-probabilities and weights to a loss: the two surrogates that all objectives use, their divisors and guards.

B programs of at most T tokens, K terms; every tensor is zero, or masked, where a row has no token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rltf.config import Guards, Normalise
from rltf.learner.objectives.base import LossInputs, LossResult, Totals

UNGUARDED = Guards()


def divisor_of(normalise: Normalise, mask: torch.Tensor, totals: Totals, token_limit: int) -> torch.Tensor | float:
    """What each token's part of the loss is divided by: a number, or (B, 1) where it depends on the program's length.

    ``sequence_sum``: programs of the step. ``sequence_mean``: that times the program's tokens. ``token_mean``: program
    tokens of the step. ``constant``: programs of the step times the most tokens of one (arXiv 2503.20783).
    """
    if normalise == "token_mean":
        return float(max(1, totals.tokens))
    sequences = float(max(1, totals.sequences))
    if normalise == "sequence_sum":
        return sequences
    if normalise == "constant":
        return sequences * token_limit
    return sequences * mask.sum(1, keepdim=True).clamp(min=1)


def linear(
    terms: Sequence[str],
    log_probs: torch.Tensor,
    mask: torch.Tensor,
    inputs: LossInputs,
    divisor: torch.Tensor | float,
    config: Guards = UNGUARDED,
) -> LossResult:
    """-sum_k sum_t w_kt rho_t log p_t / divisor: REINFORCE. rho_t is 1, or the ratio to the sampling policy cut at
    `importance_cap`.

    `log_probs` (B, T) with gradient, `mask` (B, T). Raises ValueError when the cap needs log-probabilities that the
    signal lacks.
    """
    values = _floored(log_probs, inputs, config)
    sums: dict[str, torch.Tensor] = {}
    weights = inputs.weights
    if config.importance_cap is not None:
        ratio = _log_ratio(log_probs.detach(), mask, inputs).exp()
        sums["per_token/capped_share"] = _count(ratio > config.importance_cap, mask)
        weights = weights * ratio.clamp(max=config.importance_cap)
    loss = -_divided(weights.sum(0) * values, divisor)
    shares = [-_divided(weight * values.detach(), divisor) for weight in weights]
    return _result(loss, terms, shares, log_probs, mask, inputs, divisor, config, sums)


def clipped(
    terms: Sequence[str],
    log_probs: torch.Tensor,
    mask: torch.Tensor,
    inputs: LossInputs,
    divisor: torch.Tensor | float,
    config: Guards,
    low: float,
    high: float,
) -> LossResult:
    """-sum_t min(r_t A_t, clip(r_t, 1 - low, 1 + high) A_t) / divisor: PPO (arXiv 1707.06347, Eq.

    7), A_t the sum over the K terms.

    r_t = p(w_t) / p_sampler(w_t), at most `importance_cap` where one is set: the bound for negative advantages, which
    the clip leaves open (arXiv 1912.09729, Eq. 5). Raises ValueError when the signal lacks the sampling policy's
    log-probabilities.
    """
    advantage = inputs.weights.sum(0)
    log_ratio = _log_ratio(_floored(log_probs, inputs, config), mask, inputs)
    sums: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        ratio = log_ratio.exp()
        capped = ratio
        if config.importance_cap is not None:
            sums["per_token/capped_share"] = _count(ratio > config.importance_cap, mask)
            capped = ratio.clamp(max=config.importance_cap)
        within = capped.clamp(1.0 - low, 1.0 + high)
        bound = within * advantage < capped * advantage
        sums["per_token/clip_share"] = _count(bound, mask)
        nothing = advantage == 0
        fixed = torch.where(bound | nothing, within, capped)
        is_fixed = bound | nothing | (ratio > capped)
    # Where clip or cap decide, no gradient goes through the ratio, which may be infinite: zero times infinity would be
    # no number.
    used = torch.where(is_fixed, fixed, torch.where(is_fixed, 0.0, log_ratio).exp())
    loss = -_divided(used * advantage, divisor)
    shares = [-_divided(weight * used.detach(), divisor) for weight in inputs.weights]
    return _result(loss, terms, shares, log_probs, mask, inputs, divisor, config, sums)


def _floored(log_probs: torch.Tensor, inputs: LossInputs, config: Guards) -> torch.Tensor:
    """(B, T) with no gradient left that would push a token down whose log-probability is below the floor."""
    if config.log_prob_floor is None:
        return log_probs
    return torch.where(inputs.weights.sum(0) < 0, log_probs.clamp(min=config.log_prob_floor), log_probs)


def _log_ratio(log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs) -> torch.Tensor:
    """(B, T) log p - log p_sampler, zero where there is no token."""
    if inputs.behaviour_log_probs is None:
        raise ValueError("importance ratios need the log-probabilities that the programs were sampled with")
    return _difference(log_probs, inputs.behaviour_log_probs, mask)


def _difference(one: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """In float64, as the exponential of a difference above 88.7 is no number of float32.

    Zero where there is no token: a padded position must add neither to the loss nor, as an infinity times zero, to the
    gradient.
    """
    return torch.where(mask, one.double() - other.double(), 0.0)


def k3(log_ratio: torch.Tensor) -> torch.Tensor:
    """e^d - 1 - d of each number: zero at zero, positive elsewhere (http://joschu.net/blog/kl-approx.html)."""
    return log_ratio.expm1() - log_ratio


def divergence_from(log_probs: torch.Tensor, mask: torch.Tensor, inputs: LossInputs) -> torch.Tensor:
    """(B, T) float64: `k3` of the ratio to the sampling policy, zero where there is no token.

    ValueError when the signal lacks it.
    """
    return k3(_log_ratio(log_probs, mask, inputs))


def _result(
    loss: torch.Tensor,
    terms: Sequence[str],
    shares: Sequence[torch.Tensor],
    log_probs: torch.Tensor,
    mask: torch.Tensor,
    inputs: LossInputs,
    divisor: torch.Tensor | float,
    config: Guards,
    sums: dict[str, torch.Tensor],
) -> LossResult:
    """Adds the reference's term and what the metrics row shows of every objective."""
    found = {f"loss/{term}": share.detach() for term, share in zip(terms, shares, strict=True)}
    if config.kl:
        if inputs.reference_log_probs is None:
            raise ValueError("a divergence from the reference needs the reference's log-probabilities")
        divergence = k3(_difference(inputs.reference_log_probs, log_probs, mask))  # arXiv 2402.03300, Eq. 4
        term = config.kl * _divided(divergence, divisor)
        loss = loss + term
        found["loss/kl"] = term.detach()
        sums["per_token/kl_to_reference"] = divergence.detach().sum()
    with torch.no_grad():
        if inputs.behaviour_log_probs is not None:
            sums["per_token/kl_to_sampler"] = divergence_from(log_probs, mask, inputs).sum()
        if config.log_prob_floor is not None:
            sums["per_token/floor_share"] = _count(
                (log_probs < config.log_prob_floor) & (inputs.weights.sum(0) < 0), mask
            )
    return LossResult(loss, found | sums)


def _divided(values: torch.Tensor, divisor: torch.Tensor | float) -> torch.Tensor:
    return (values / divisor).sum() if isinstance(divisor, torch.Tensor) else values.sum() / divisor


def _count(where: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (where & mask).sum().float()
