"""What the plan of a made-up run is made from."""

from __future__ import annotations

from rltf.monitor.memory import ModelShape
from rltf.monitor.plan import ClusterInfo, PlanInputs
from rltf.monitor.plan_evaluations import Evaluated

FACTS = PlanInputs(
    folder="runs/example", parameters=853_000, trained=853_000, model="fresh llama, 4 layers x 128", shape=ModelShape(4, 0, 128, 128, 384),
    train_problems=2000, train_of=2000, train_skipped=3,
    held_out={"": Evaluated(256, "256 of 500 from starter,split=heldout")},
    cluster=ClusterInfo("started here", 1, 4, 0, 8e9, 2, "127.0.0.1:8265"), redis="a valkey-server of the run's own",
)  # fmt: skip
