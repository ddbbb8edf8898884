"""What training changes, as full float32 tensors by parameter name: weights and AdamW's averages, wherever DeepSpeed
keeps their parts.

DeepSpeed's own checkpoints hold one file per rank and ZeRO stage. Full tensors can be put back at any world size and
any stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

WEIGHT = "weight"
"""Kind of the parameters themselves; the other kinds are the optimizer's names, `exp_avg` and `exp_avg_sq`."""
STEPS = "step"
"""The optimizer's name for its count of steps, kept for each tensor that it updates."""

_SCALE = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")
"""Where DeepSpeed's dynamic loss scaler is."""

Named = tuple[str, str, torch.Tensor]
"""Kind, parameter name, value."""


@dataclass(frozen=True, slots=True)
class _Share:
    """The part of one parameter that this rank's optimizer updates."""

    name: str
    parameter: Any
    held_in: Any
    """The tensor that the optimizer updates; none when this rank has no part of the parameter."""
    start: int
    """First element of the part within `held_in`, and ..."""
    offset: int
    """... within the flattened parameter."""
    length: int
    whole: bool
    """Whether the part is the whole parameter, on every rank alike."""

    @property
    def shape(self) -> torch.Size:
        """Of the whole parameter (ZeRO-3 leaves an empty tensor in its place)."""
        return getattr(self.parameter, "ds_shape", self.parameter.shape)

    @property
    def device(self) -> torch.device:
        return self.parameter.device

    def local_part(self, kind: str, adamw: torch.optim.Optimizer) -> torch.Tensor | None:
        """This rank's part of the weights or of one of the averages, as a flat view; none where there is
        nothing (yet).
        """
        if self.held_in is None:
            return None
        values = self.held_in.detach() if kind == WEIGHT else adamw.state.get(self.held_in, {}).get(kind)
        return None if values is None else values.view(-1).narrow(0, self.start, self.length)


class OptimizerState:
    """Reads and writes an AdamW and the weights it trains, behind any of DeepSpeed's optimizers."""

    def __init__(self, model: Any, adamw: torch.optim.Optimizer, wrapper: Any, world_size: int) -> None:
        """`wrapper`: DeepSpeed's optimizer around `adamw`, or `adamw` itself."""
        self._adamw = adamw
        self._scaler = getattr(wrapper, "loss_scaler", None)
        self._world_size = world_size
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._shares = [share for name, parameter in named for share in [_share(name, parameter, adamw, wrapper)]]

    def steps(self) -> int:
        """Optimizer steps since the averages were begun; 0 when they were not."""
        counts = [float(state[STEPS]) for state in self._adamw.state.values() if STEPS in state]
        return int(max(counts, default=0))

    def loss_scale(self) -> dict[str, Any]:
        """JSON-able: float16's loss scale and how long it has held; empty in other number formats."""
        return {name: getattr(self._scaler, name) for name in _SCALE if getattr(self._scaler, "dynamic", False)}

    def load_loss_scale(self, state: Mapping[str, Any]) -> None:
        """What `loss_scale` gave; without effect in other number formats."""
        if getattr(self._scaler, "dynamic", False):
            for name, value in state.items():
                setattr(self._scaler, name, value)

    def tensors(self) -> Iterator[Named]:
        """Everything, one full tensor at a time. Collective: every rank exhausts it."""
        averages = ("exp_avg", "exp_avg_sq") if self.steps() else ()
        for share in self._shares:
            for kind in (WEIGHT, *averages):
                yield kind, share.name, self._gather(share, share.local_part(kind, self._adamw))

    def load(self, read: Callable[[str, str], torch.Tensor], steps: int) -> None:
        """Puts this rank's parts back; `read` gives a full tensor by kind and name.

        The model's own weights are loaded before DeepSpeed.
        """
        for share in self._shares:
            if share.held_in is None:
                continue
            if steps and not self._adamw.state.get(share.held_in):
                zeros = {name: torch.zeros_like(share.held_in) for name in ("exp_avg", "exp_avg_sq")}
                self._adamw.state[share.held_in] = {STEPS: _count(share.held_in, self._adamw, steps), **zeros}
            for kind in (WEIGHT, "exp_avg", "exp_avg_sq") if steps else (WEIGHT,):
                mine = share.local_part(kind, self._adamw)
                assert mine is not None
                value = read(kind, share.name).reshape(-1)
                length = min(share.length, value.numel() - share.offset)  # ZeRO-3 pads the last rank's part
                mine[:length].copy_(value[share.offset : share.offset + length])

    def _gather(self, share: _Share, mine: torch.Tensor | None) -> torch.Tensor:
        if share.whole:
            assert mine is not None
            return mine.float().view(share.shape)
        size = share.shape.numel()
        full = torch.zeros(size, dtype=torch.float32, device=share.device)
        if mine is not None:
            length = min(share.length, size - share.offset)
            full[share.offset : share.offset + length].copy_(mine[:length])
        if self._world_size > 1:
            dist.all_reduce(full)
        return full.view(share.shape)


def _share(name: str, parameter: Any, adamw: torch.optim.Optimizer, wrapper: Any) -> _Share:
    """Where DeepSpeed 0.19 keeps the part: it has no public way to reach averages that were begun anew."""
    size = parameter.numel()
    if wrapper is adamw:  # no ZeRO, float32
        return _Share(name, parameter, parameter, 0, 0, size, True)
    if hasattr(parameter, "ds_id"):  # ZeRO-3
        group, start, length = wrapper.grad_position[wrapper.get_param_id(parameter)]
        rank = dist.get_rank()
        return _Share(name, parameter, wrapper.fp32_partitioned_groups_flat[group], start, rank * length, length, False)
    if hasattr(parameter, "_hp_mapping"):  # ZeRO-1 and 2
        mapping = parameter._hp_mapping
        if mapping is None:
            return _Share(name, parameter, None, 0, 0, 0, False)
        flat = wrapper.single_partition_of_fp32_groups[mapping.param_group_index]
        ours, theirs = mapping.hp_fragment_address, mapping.lp_fragment_address
        return _Share(name, parameter, flat, ours.start, theirs.start, ours.numel, False)
    for low, high in zip(
        wrapper.fp16_groups, wrapper.fp32_groups, strict=True
    ):  # no ZeRO, bfloat16 with a float32 copy
        for ours, copy in zip(low, high, strict=True):
            if ours is parameter:
                return _Share(name, parameter, copy, 0, 0, size, True)
    raise RuntimeError(f"DeepSpeed's {type(wrapper).__name__} keeps no float32 copy of {name}")


def _count(held_in: torch.Tensor, adamw: torch.optim.Optimizer, steps: int) -> torch.Tensor:
    """The step counter as torch.optim.AdamW keeps it: on the device of the tensor where its kernels are fused, else on
    the CPU.
    """
    fused = bool(adamw.defaults.get("fused"))
    return torch.tensor(float(steps), dtype=torch.float32, device=held_in.device if fused else "cpu")
