"""The run as a whole: its folder, its evaluations and checkpoints, what happens when a part dies, and Ray."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rltf.config.base import ConfigSection, Folder
from rltf.config.choice import Word


class RunConfig(ConfigSection):
    """The run as a whole."""

    name: str = ""
    """Name of the run and of its folder; empty: preset name and time of day."""
    folder: str = "runs"
    """Folder in which the run's folder is made."""
    seed: int = Field(0, ge=0)
    """Seed of everything drawn at random: problem order, sampling, the warm start's programs, a fresh model's
    weights."""
    code: Folder = ""
    """Folder of your own Python files, sent to every worker: where the name of an objective, reward, prompt style,
    checker, engine or judge is asked for, MODULE:NAME takes a class or function of them (docs/extending.md)."""
    deterministic: bool = False
    """Synchronous and repeatable: one actor, every version sampled for one step. Sets, whatever a file says,
    actors.count 1, actors.problems_per_batch to learner.groups_per_step, buffer.fill_before_start 0,
    buffer.max_staleness 0, buffer.refresh_steps 1, buffer.when_stale wait, buffer.when_full wait and
    learner.publish_every 1."""
    stall_timeout_s: float = Field(600.0, gt=0)
    """Seconds without a verdict, a micro-batch trained on, or a token of the next programs, after which the run ends
    with the name of the part waited for."""
    samples_gb: float = Field(20.0, gt=0)
    """Most GB of samples/ in the run's folder; beyond it the oldest samples are deleted, and counted."""
    telemetry_gb: float = Field(0.2, gt=0)
    """Most GB of telemetry/ in the run's folder (about 60 rows a KB); beyond it the oldest rows are deleted: the
    timeline begins later."""


class EvaluationConfig(ConfigSection):
    """Held-out evaluation during the run."""

    every: int = Field(20, ge=0)
    """Learner steps between two evaluations; 0, or offline: only before the first and after the last step."""
    tasks: int = Field(256, ge=1)
    """Held-out problems used, drawn at random, the same in every run (all of them if there are fewer)."""
    samples: int = Field(1, ge=1)
    """Programs per held-out problem, sampled as said here, whatever actors.temperature and top_p are."""
    final_samples: int | None = Field(None, ge=1)
    """The same in the evaluation after the last step; none: as many as in the others."""
    temperature: float = Field(1.0, ge=0)
    """Sampling temperature of evaluations; 0: greedy, the most probable token each time."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus of evaluations, as actors.top_p is that of training."""
    top_k: int = Field(0, ge=0)
    """The k most probable tokens are sampled from; 0: all."""
    min_p: float = Field(0.0, ge=0, le=1)
    """Tokens at least min_p times as probable as the most probable one are sampled from."""
    repetition_penalty: float = Field(1.0, gt=0)
    """Divides the logits, and multiplies negative ones, of tokens that prompt and program have so far; 1: none."""
    k: tuple[Annotated[int, Field(ge=1)], ...] = (1,)
    """The k of pass@k and max@k beside 1, say [1, 10]; each is estimated in evaluations of at least so many programs
    per problem."""
    best_by: Annotated[str, Field(pattern=r"^(pass|max)@[1-9]\d{0,8}$"), Word("pass@K|max@K")] = "pass@1"
    """Figure by which a checkpoint is the best, and by which `patience` counts; max@K: the share of tests that the best
    of K programs passes."""
    patience: int = Field(0, ge=0)
    """Evaluations without a better `best_by` after which training ends as after its last step; 0: it does not end
    early."""

    @property
    def best_k(self) -> int:
        """The K of `best_by`."""
        return int(self.best_by.partition("@")[2])

    @property
    def sampling(self) -> str:
        """How programs are drawn, in words."""
        if not self.temperature:
            return "greedily"
        names = {"top-p": "top_p", "top-k": "top_k", "min-p": "min_p", "repetition penalty": "repetition_penalty"}
        defaults = EvaluationConfig()
        found = [f"temperature {self.temperature:g}"]
        for word, name in names.items():
            if (value := getattr(self, name)) != getattr(defaults, name):
                found.append(f"{word} {value:g}")
        return f"at {', '.join(found)}"

    @property
    def ks(self) -> tuple[int, ...]:
        """`k` and 1, ascending."""
        return tuple(sorted({1, *self.k}))

    @property
    def last_samples(self) -> int:
        """Programs per problem in the evaluation after the last step."""
        return self.samples if self.final_samples is None else self.final_samples

    @property
    def programs(self) -> int:
        """Programs of the largest evaluation."""
        return self.tasks * max(self.samples, self.last_samples)


class CheckpointConfig(ConfigSection):
    """Checkpoints of the learner, from which a run is resumed and a dead learner restarted; and exports on the way."""

    every: int = Field(20, ge=0)
    """Learner steps between two checkpoints; 0: only after the warm start, when the run is stopped, and at its end."""
    keep: int = Field(2, ge=1)
    """Newest checkpoints that are kept."""
    best: bool = True
    """Also checkpoint every version that is evaluated on held-out problems, and keep the one with the best
    evaluation.best_by."""
    export_every: int = Field(0, ge=0)
    """Learner steps between two exports of the model while it trains, exports/step-NNNNNN in the run's folder; 0: only
    the one at the end."""
    export_keep: int = Field(0, ge=0)
    """Newest of these exports that are kept; 0: all."""


class RestartConfig(ConfigSection):
    """What happens when a part dies: actors, executors, learner workers, the run's own Redis."""

    limit: int = Field(5, ge=0)
    """Restarts of one part in a row; one death more ends the run with the reason."""
    pause_s: float = Field(0.5, gt=0)
    """Seconds before the first restart of a part; doubled with each further one, up to 30."""
    forget_s: float = Field(300.0, gt=0)
    """Seconds after which a part's last death no longer counts."""
    answer_s: float = Field(60.0, gt=0)
    """Seconds within which a worker has to say that it lives; then it counts as dead."""


class RayConfig(ConfigSection):
    """How the run meets Ray."""

    address: str = ""
    """A running cluster; empty: RAY_ADDRESS, else what `ray start` or `ray up` left running here, else one is started;
    local: start one."""
    kinds: Literal["auto", "on", "off"] = "auto"
    """Kinds of hosts in a cluster that is joined: on: actors and learner run on hosts that offer the resource trainer
    alone, executors on those that offer executor, and wait for them; off: all run anywhere; auto: on as soon as a host
    that offers either was seen."""
    wait_s: float = Field(900.0, ge=0)
    """Longest wait for nodes of a cluster that is joined: for the GPUs asked for, and (5 minutes at least) for room for
    each worker."""
    dashboard: bool = True
    """Start the Ray dashboard when Ray is started here."""
