"""The configuration of a run: all parts together, and what has to fit between them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError, model_validator

from rltf.config.base import ConfigSection
from rltf.config.buffer import BufferConfig, RedisConfig
from rltf.config.credit import CreditConfig
from rltf.config.evaluation import EvaluationConfig, refuse_unfit
from rltf.config.learner import LearnerConfig, WarmStartConfig
from rltf.config.objectives import SUPERVISED, CustomConfig, ObjectiveConfig, ObjectiveSections, SupervisedConfig
from rltf.config.prompt import PromptConfig
from rltf.config.run import CheckpointConfig, RayConfig, RestartConfig, RunConfig
from rltf.config.user_code import is_user_name
from rltf.config.workers import ActorsConfig, ExecutorConfig, PolicyConfig, ProblemsConfig

DETERMINISTIC: dict[str, Any] = {
    "actors.count": 1,
    "buffer.fill_before_start": 0,
    "buffer.max_staleness": 0,
    "buffer.refresh_steps": 1,
    "buffer.when_stale": "wait",
    "buffer.when_full": "wait",
    "learner.publish_every": 1,
}
"""What `run.deterministic` sets, beside actors.problems_per_batch, which becomes learner.groups_per_step: each step is
trained on exactly the programs that its version sampled in one batch, so neither the speed of a worker nor a stop and a
resumption changes anything."""


def _is_true(given: Any) -> bool:
    """Whether a field of type bool takes `given` as true; what it would refuse is left to it."""
    try:
        return TypeAdapter(bool).validate_python(given)
    except ValidationError:
        return False


class _Parts(ConfigSection):
    """All but the objectives, which come after them."""

    run: RunConfig = RunConfig()
    problems: ProblemsConfig = ProblemsConfig()
    policy: PolicyConfig = PolicyConfig()
    prompt: PromptConfig = PromptConfig()
    actors: ActorsConfig = ActorsConfig()
    executor: ExecutorConfig = ExecutorConfig()
    buffer: BufferConfig = BufferConfig()
    redis: RedisConfig = RedisConfig()
    warm_start: WarmStartConfig = WarmStartConfig()
    learner: LearnerConfig = LearnerConfig()
    credit: CreditConfig = CreditConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    restart: RestartConfig = RestartConfig()
    ray: RayConfig = RayConfig()


class Config(ObjectiveSections, _Parts):
    """One run. Every field can be set in YAML and on the command line as --part.field VALUE."""

    custom: CustomConfig = CustomConfig()

    @property
    def objective(self) -> ObjectiveConfig:
        """The section of the objective that is trained with; for `supervised` one without effect."""
        name = self.learner.objective
        if is_user_name(name):
            return self.custom
        return SupervisedConfig() if name == SUPERVISED else getattr(self, name)

    @property
    def workers(self) -> int:
        """Actors, executors and learner workers of a run."""
        return self.actors.count + self.executor.most + self.learner.workers

    @property
    def group_size(self) -> int:
        """Programs of one visit of a problem, the greedy one included."""
        return self.actors.samples_per_problem + int(self.actors.greedy)

    @property
    def samples_per_step(self) -> int:
        """Samples drawn for one learner step, greedy programs not counted."""
        return self.learner.groups_per_step * self.actors.samples_per_problem

    @property
    def buffered_programs(self) -> int:
        """Most programs in the online buffer: `buffer.capacity` samples and the greedy programs of their groups."""
        return self.buffer.capacity * self.group_size // self.actors.samples_per_problem

    @model_validator(mode="before")
    @classmethod
    def _set_what_deterministic_needs(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and isinstance(tree.get("run"), dict) and _is_true(tree["run"].get("deterministic")):
            tree = {part: dict(values) for part, values in tree.items()}
            for key, value in DETERMINISTIC.items():
                part, name = key.split(".")
                tree.setdefault(part, {})[name] = value
            groups = tree["learner"].get("groups_per_step", LearnerConfig().groups_per_step)
            tree["actors"]["problems_per_batch"] = groups
        return tree

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Config:
        name, objective = self.learner.objective, self.objective
        section = "custom" if is_user_name(name) else name
        if objective.compares_with_greedy and not self.actors.greedy:
            raise ValueError(
                f"learner.objective {name} compares with a greedy program: set actors.greedy true or "
                f"{section}.baseline none"
            )
        if objective.weighed_by_critic and not self.rltf.critic:
            raise ValueError("rltf.critic_weighting needs a critic: set rltf.critic, or rltf.critic_weighting false")
        if objective.group_relative and self.actors.samples_per_problem < 2:
            raise ValueError(
                f"learner.objective {name} compares programs of one visit: set actors.samples_per_problem to 2 or more"
            )
        if self.buffer.work_capacity < self.group_size:
            raise ValueError(
                f"buffer.work_capacity {self.buffer.work_capacity} is less than a group of {self.group_size}"
            )
        if self.buffer.capacity < self.samples_per_step:
            sampled = self.actors.samples_per_problem
            raise ValueError(
                f"buffer.capacity {self.buffer.capacity} is less than one step's {self.learner.groups_per_step} x "
                f"{sampled} samples: "
                "the learner would wait for ever"
            )
        if self.buffer.fill_before_start > self.buffer.capacity:
            raise ValueError("buffer.fill_before_start is more than buffer.capacity: the learner would wait for ever")
        offline = not self.learner.publish_every and name != SUPERVISED
        refuse_unfit(self.evaluation, self.buffer.work_capacity, offline)
        least = {"none": 0, "optimizer": 1, "parameters": 3}[self.learner.offload]
        if self.learner.zero_stage < least:
            raise ValueError(f"learner.offload {self.learner.offload} needs learner.zero_stage {least} or more")
        if self.learner.dtype == "float16" and not (self.learner.zero_stage and self.learner.gpus_per_worker):
            raise ValueError(
                "learner.dtype float16 needs a GPU (learner.gpus_per_worker) and learner.zero_stage 1 or more"
            )
        if self.actors.dtype == "float16" and not self.actors.gpus_per_actor:
            raise ValueError(
                "actors.dtype float16 needs a GPU (actors.gpus_per_actor); on a CPU take float32 or bfloat16"
            )
        mixed = self.learner.supervised_ratio > 0 and self.learner.supervised_mixing == "micro_batch"
        if self.learner.groups_per_step + mixed * self.learner.supervised_batch_size < self.learner.workers:
            raise ValueError(
                "learner.groups_per_step is less than learner.workers: a worker would have nothing to train on"
            )
        return self
