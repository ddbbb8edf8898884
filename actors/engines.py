"""Every sampling engine that can be chosen, by the name that `actors.engine` gives it."""

from __future__ import annotations

from rltf.actors.engine import Engine, EngineKind
from rltf.actors.sampling_engine import SamplingEngine
from rltf.config import Config, chosen
from rltf.policy.policy import PolicySpec

ENGINES: dict[str, EngineKind] = {"own": SamplingEngine}


def engine_named(name: str) -> EngineKind:
    """The class of an engine. Raises UserError for a name that none has."""
    return chosen(ENGINES, name, "actors.engine")


def make_engine(spec: PolicySpec, config: Config, device: str) -> Engine:
    """The engine that `actors.engine` names; see `actors.engine.EngineKind`."""
    return engine_named(config.actors.engine).from_config(spec, config, device)
