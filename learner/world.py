"""Who this process is among the learner's workers, and how they meet; set before DeepSpeed is imported."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import (
    HashStore,
    Store,
    TCPStore,
)  # torch.distributed has them too, but mypy cannot see it


@dataclass(frozen=True, slots=True)
class World:
    """One worker's place in the group of N data-parallel workers."""

    rank: int = 0
    size: int = 1
    address: str = "127.0.0.1"
    port: int = 0
    """Where rank 0 listens; not used by a group of one."""
    device: str = "cpu"
    """cpu or cuda."""
    timeout_s: float = 1800.0
    """Longest wait in a collective before the group is given up."""


def free_address() -> tuple[str, int]:
    """An address of this machine that other machines can reach, and a port that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 1))  # sends nothing; asks which interface would be used
            address = str(probe.getsockname()[0])
        except OSError:
            address = "127.0.0.1"
    with socket.socket() as listener:
        listener.bind(("", 0))
        return address, int(listener.getsockname()[1])


def join(world: World) -> None:
    """Sets the environment that DeepSpeed reads and joins the process group (gloo on the CPU, nccl on GPUs); safe to
    repeat.

    Raises RuntimeError when the group that this process is already in is another one.
    """
    local = {"LOCAL_RANK": "0", "LOCAL_SIZE": "1"}  # Ray shows each worker its own GPU only
    os.environ.update({"RANK": str(world.rank), "WORLD_SIZE": str(world.size), **local})
    os.environ.update({"MASTER_ADDR": world.address, "MASTER_PORT": str(world.port)})
    if world.device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    if dist.is_initialized():
        if (dist.get_rank(), dist.get_world_size()) != (world.rank, world.size):
            found = f"{dist.get_rank()} of {dist.get_world_size()}"
            raise RuntimeError(f"this process is rank {found} already, not {world.rank} of {world.size}")
        return
    store: Store
    timeout = timedelta(seconds=world.timeout_s)
    if world.size == 1:
        store = HashStore()  # no port, so nothing that could be taken
    else:
        store = TCPStore(world.address, world.port, world.size, is_master=world.rank == 0, timeout=timeout)
    backend = "gloo" if world.device == "cpu" else "nccl"
    dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=timeout)
    if world.device != "cpu":
        torch.cuda.set_device(0)


def broadcast_int(world: World, value: int) -> int:
    """Rank 0's value, on every rank; joins the group where that is still to be done. Collective."""
    if world.size == 1:
        return value
    join(world)
    shared = torch.tensor([value], dtype=torch.int64, device=world.device)
    dist.broadcast(shared, src=0)
    return int(shared.item())
