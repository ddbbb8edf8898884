"""What each of two learner workers does in a test (`tests.support.ranks`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rltf.config import UserError
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.checkpoints import Checkpoints
from rltf.learner.engine import TrainingEngine
from rltf.learner.world import World
from tests.support.learner_engines import poisoned, same_again, steep, steps, train
from tests.support.learner_parts import learner_config, policy

STAGES = (0, 1, 2, 3)


def trains(world: World) -> list[dict[str, Any]]:
    """The curve at each stage, and what ended the steps that were not finite."""
    found = []
    for stage in STAGES:
        config = learner_config(zero_stage=stage, micro_batch_tokens=150)
        engine = TrainingEngine(policy(seed=world.rank), config, world)
        curve = train(engine)
        assert engine.broadcast_int(world.rank + 7) == 7
        engine.barrier()
        found.append({"curve": curve, "poisoned": poisoned(engine), "steep": steep(engine)})
        engine.close()
    return found


def goes_on(world: World, folder: str) -> list[int]:
    """Two steps at each stage after the checkpoint in `folder`/stage, and a checkpoint; the step it is of."""
    found = []
    for stage in STAGES:
        checkpoints = CheckpointWriter(Path(folder) / str(stage), 2, False, writes=world.rank == 0)
        saved = checkpoints.newest()
        ours = policy(seed=world.rank)
        if saved:
            saved.load_model(ours)
        engine = TrainingEngine(ours, learner_config(zero_stage=stage), world)
        engine.reset_optimizer((0.9, 0.95), 0.0)
        if saved:
            saved.load_optimizer(engine.state())
        first = saved.step if saved else 0
        steps(engine, first, first + 2)
        checkpoints.save(first + 2, engine.state(), {})
        engine.barrier()
        same_again(engine, checkpoints)
        found.append(first + 2)
    return found


def agrees(world: World, *folders: str) -> list[int | str | None]:
    """The step that both begin with by the checkpoints in each folder, or the error that ends both."""
    found: list[int | str | None] = []
    for folder in folders:
        try:
            saved = Checkpoints(Path(folder)).agreed(world)
            found.append(saved.step if saved else None)
        except UserError as error:
            found.append(type(error).__name__)
    return found
