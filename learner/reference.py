"""The reference policy of a divergence term: the policy as it was when reinforcement learning began, frozen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from rltf.config import Config
from rltf.learner.batching import Plan, tensors
from rltf.learner.export import first_policy
from rltf.policy.log_probs import token_log_probs
from rltf.policy.policy import DTYPES, Policy, PolicySpec
from rltf.policy.tree_attention import patch_attention, supports_trees


class Reference:
    """A copy of the policy on this rank's device, whole on every rank whatever the ZeRO stage."""

    def __init__(self, policy: Policy, device: torch.device | str = "cpu") -> None:
        """Takes `policy` over: it is moved to `device` and never trained."""
        policy.model.requires_grad_(False).to(device)
        if supports_trees(policy.model):
            patch_attention(policy.model, torch.device(device).type)
        self._policy = policy
        self._device = device

    @torch.no_grad()
    def annotate(self, plan: Plan) -> Plan:
        """The same plan, its programs with the reference's log-probabilities."""
        found = []
        for micro_batch in plan.micro_batches:
            batch, _ = tensors(self._policy, micro_batch, self._device)
            rows = token_log_probs(self._policy.model, batch, entropy=False).values.tolist()
            items = [
                replace(item, reference_log_probs=row[: len(item.token_ids)])
                for item, row in zip(micro_batch.items, rows, strict=True)
            ]
            found.append(replace(micro_batch, items=items))
        return replace(plan, micro_batches=found)


def load_reference(spec: PolicySpec, config: Config, folder: Path, device: torch.device | str) -> Reference:
    """The first policy, frozen. Raises UserError when the warm start does not fit it."""
    policy = first_policy(spec, config, folder)
    policy.model.to(DTYPES[config.learner.dtype])
    return Reference(policy, device)
