"""The plan of a run before it starts: who runs where, what a step is made of, memory, expected waits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rltf.config import Config, LearnerConfig
from rltf.monitor.memory import (
    ModelShape,
    actor_bytes,
    aof_bytes,
    checkpoint_bytes,
    executor_bytes,
    exports_on_the_way,
    learner_bytes,
    redis_bytes,
    step_bytes,
    weight_bytes,
)
from rltf.monitor.paper import not_in_force
from rltf.monitor.plan_evaluations import Evaluated, evaluations, held_out_problems
from rltf.monitor.run_folder import LOG_BYTES
from rltf.telemetry.console import counted


@dataclass(frozen=True)
class Section:
    """A titled block of names and values."""

    title: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ClusterInfo:
    """What Ray offers: `found` says where the cluster is ("started here", an address)."""

    found: str
    nodes: int
    cpus: float
    gpus: float
    memory_bytes: float
    cores: float
    """Processors of this machine where Ray was started for the run, which then offers `cpus` by fiat; else the
    cluster's CPUs."""
    dashboard: str = ""
    """Where Ray's dashboard is, which shows every worker by its name; empty: there is none."""


@dataclass(frozen=True)
class PlanInputs:
    """What the plan needs beyond the configuration."""

    folder: str
    parameters: int
    """Of the policy, tied ones once."""
    trained: int
    """Of these, those that are trained and published: all, or those of the adapters."""
    model: str
    """The policy in words ("fresh llama, 4 layers x 128")."""
    shape: ModelShape
    train_problems: int
    train_of: int
    """Problems that those trained on were drawn from."""
    train_skipped: int
    held_out: Mapping[str, Evaluated]
    """The held-out sets by name, the main one without one; empty: nothing is evaluated."""
    cluster: ClusterInfo
    redis: str
    """The server in words, without its password ("a valkey-server of the run's own")."""
    not_read: str = ""
    """Fields of the data that nobody reads, in words."""
    prompts: str = ""
    """How problems are put to the model, and what of a response is the program, in words."""
    shown_tests: int | None = None
    """Assert statements that prompts show; None where no problem is judged by a list of them."""
    shares: str = ""
    """How the visits are shared out among several sets with weights, in words."""


def make_plan(config: Config, facts: PlanInputs) -> list[Section]:
    """The plan's sections in the order they are shown.

    Sizes are estimates in powers of ten (MB, GB) and say what they count.
    """
    return [
        Section("run", _run(config, facts)),
        Section("who runs where", _placement(config, facts)),
        Section("one learner step", _step(config)),
        Section("policy and memory (estimates)", _memory(config, facts)),
        Section("expected waits", _waits(config)),
    ]


def _run(config: Config, facts: PlanInputs) -> tuple[tuple[str, str], ...]:
    warm, learner = config.warm_start, config.learner
    if warm.reuse:
        warm_start = f"reused from {warm.reuse}"
    elif warm.steps:
        warm_start = f"{warm.steps} steps x {warm.batch_size} programs" + (
            ", repeated until a training problem is solved" if warm.until_pass else ""
        )
    else:
        warm_start = "none"
    return (
        ("folder", facts.folder),
        ("it grows to", _folder(config, facts)),
        ("training problems", _problems(config.problems.train, facts)),
        *((("visits", facts.shares),) if facts.shares else ()),
        *held_out_problems(facts.held_out),
        *((("fields not read", facts.not_read),) if facts.not_read else ()),
        *((("asked as", facts.prompts),) if facts.prompts else ()),
        *(
            (("prompts", f"show {facts.shown_tests} of a list of tests (problems.shown_tests)"),)
            if facts.shown_tests is not None
            else ()
        ),
        ("warm start", warm_start),
        (
            "training",
            f"{learner.steps} steps{_at_most(learner)} of objective {learner.objective}, learning rate "
            f"{learner.learning_rate:g}",
        ),
        *evaluations(config, facts.held_out),
        ("seed", str(config.run.seed)),
    )


def _folder(config: Config, facts: PlanInputs) -> str:
    run, kept = config.run, config.checkpoint.keep + int(config.checkpoint.best)
    model, exports = weight_bytes(facts.parameters, config.learner.dtype), exports_on_the_way(config)
    models = ["the export"] + (["the warm start"] if config.warm_start.steps and not config.warm_start.reuse else [])
    parts = [
        f"samples {_size(1e9 * run.samples_gb)}",
        f"telemetry {_size(1e9 * run.telemetry_gb)}",
        f"Redis's file {_size(aof_bytes(config))}",
        f"{counted(kept, 'checkpoint')} of {_size(checkpoint_bytes(facts.trained))}",
        *(f"{name} {_size(model)}" for name in models),
        *([f"{counted(exports, 'export')} on the way, {_size(exports * model)} in all"] if exports else []),
        f"metrics and TensorBoard {_size(1000 * step_bytes(config))} per 1,000 steps",
        f"logs {_size(2 * LOG_BYTES)} per process",
    ]
    return f"at most {', '.join(parts)}"


def _problems(spec: str, facts: PlanInputs) -> str:
    drawn = f" of {facts.train_of:,}" if facts.train_problems < facts.train_of else ""
    return f"{facts.train_problems:,}{drawn} from {spec}" + (
        f"; {facts.train_skipped:,} skipped" if facts.train_skipped else ""
    )


def _at_most(learner: LearnerConfig) -> str:
    return f" or {learner.max_seconds:g} s, whichever is first," if learner.max_seconds is not None else ""


def wanted_cpus(config: Config) -> float:
    """CPUs that all workers of the run ask Ray for."""
    actors, executor, learner = config.actors, config.executor, config.learner
    return (
        actors.count * actors.cpus_per_actor
        + executor.most * executor.cpus_per_executor
        + learner.workers * learner.cpus_per_worker
    )


def wanted_gpus(config: Config) -> float:
    """GPUs that all workers of the run ask Ray for."""
    return config.actors.count * config.actors.gpus_per_actor + config.learner.workers * config.learner.gpus_per_worker


def _placement(config: Config, facts: PlanInputs) -> tuple[tuple[str, str], ...]:
    actors, executor, learner = config.actors, config.executor, config.learner
    cluster = facts.cluster
    cpus, gpus = wanted_cpus(config), wanted_gpus(config)
    threads = actors.count * actors.threads + executor.count * executor.lanes + learner.workers * learner.threads
    short = ": MORE THAN THERE ARE" if gpus > cluster.gpus else ""
    there = f"{cluster.cores:g}"
    if cluster.cpus > cluster.cores:  # parts that mostly wait share a core
        there = f"the {cluster.cpus:g} that Ray offers on {counted(int(cluster.cores), 'core')}"
    asked = f"{cpus:g} CPUs of {there}, {gpus:g} GPUs of {cluster.gpus:g}{short}"
    if not cluster.cpus:
        asked = f"{cpus:g} CPUs, {gpus:g} GPUs; no host that offers a CPU is up yet"
    crowd = (
        f"; {threads} busy threads share {cluster.cores:g} cores" if threads > cluster.cores > 0 and not gpus else ""
    )
    return (
        ("cluster", f"{cluster.found}: {counted(cluster.nodes, 'node')}, {_size(cluster.memory_bytes)} of memory"),
        (
            counted(actors.count, "actor"),
            f"{_device(actors.cpus_per_actor, actors.gpus_per_actor)} each, {counted(actors.threads, 'torch thread')}, "
            f"{actors.dtype}",
        ),
        (
            counted(executor.count, "executor")
            + (f", up to {executor.most} as the work queue grows" if executor.most > executor.count else ""),
            f"{_device(executor.cpus_per_executor, 0)} each, {counted(executor.lanes, 'program')} at a time",
        ),
        (
            counted(learner.workers, "learner worker"),
            f"{_device(learner.cpus_per_worker, learner.gpus_per_worker)} each, DeepSpeed ZeRO {learner.zero_stage}, "
            f"{learner.dtype}",
        ),
        ("asked of the cluster", asked + crowd),
        ("buffer and queue", facts.redis),
    ) + ((("dashboard", f"http://{cluster.dashboard}"),) if cluster.dashboard else ())


def _device(cpus: float, gpus: float) -> str:
    return f"{gpus:g} GPU + {cpus:g} CPU" if gpus else f"{cpus:g} CPU"


def _step(config: Config) -> tuple[tuple[str, str], ...]:
    learner, actors, buffer = config.learner, config.actors, config.buffer
    group = counted(actors.samples_per_problem, "sample")
    batch = (
        f"{counted(learner.groups_per_step, 'group')} x {group} = {config.samples_per_step} samples per "
        f"step{micro_batches(config)}"
    )
    if learner.objective == "supervised":
        batch = f"{learner.supervised_batch_size} programs of the corpus; no reinforcement learning (the control)"
    when, versions = _versions(config)
    bound = (
        "no bound on staleness"
        if buffer.max_staleness is None
        else f"at most {counted(buffer.max_staleness, 'version')} old, else {buffer.when_stale}"
    )
    beside = (
        f" and the {counted(config.buffered_programs - buffer.capacity, 'greedy program')} of their groups"
        if actors.greedy
        else ""
    )
    rows = [("batch", batch)]
    if actors.greedy:
        rows.append(
            (
                "baseline",
                f"1 greedy program per group, {learner.groups_per_step} per step, compared with and not trained on",
            )
        )
    if learner.supervised_ratio and learner.objective != "supervised":
        rows.append(("supervised", _supervised(learner)))
    if learner.objective == "rltf":
        missing = not_in_force(config)
        rows.append(("the paper's set-up", f"not in force: {'; '.join(missing)}" if missing else "in force"))
    rows += [
        (
            "generation",
            f"{counted(actors.problems_per_batch, 'problem')} x {config.group_size} programs sampled together by an "
            "actor",
        ),
        ("new policy", f"published {when}, {versions} versions in all"),
        (
            "online buffer",
            f"{buffer.capacity:,} samples{beside}, snapshot every {counted(buffer.refresh_steps, 'step')}, {bound}",
        ),
    ]
    return tuple(rows)


def _supervised(learner: LearnerConfig) -> str:
    ratio, batch = learner.supervised_ratio, counted(learner.supervised_batch_size, "program")
    if learner.supervised_mixing == "micro_batch":
        return f"{batch} of the corpus in every step, {ratio / (1 + ratio):.0%} of its loss"
    return f"{ratio:g} supervised steps of {batch} per reinforcement step"


def _versions(config: Config) -> tuple[str, int]:
    """When a policy version is published, in words, and how many there will be: the first, those on the way,
    the last.
    """
    learner, intervals = config.learner, {one.every for one in config.evaluation.by_name.values() if one.every}
    if learner.objective == "supervised":
        due: set[int] = set().union(*(range(every, learner.steps, every) for every in intervals))
        return "for evaluations", len(due) + 2
    if not learner.publish_every:
        return "after the last step alone (offline)", 2
    ratio = learner.supervised_ratio if learner.supervised_mixing == "step" else 0.0
    steps = math.ceil(learner.steps / (1 + ratio))
    return f"every {counted(learner.publish_every, 'reinforcement step')}", math.ceil(steps / learner.publish_every) + 1


def micro_batches(config: Config) -> str:
    """In words: " on 2 workers, in micro-batches of at most 2,048 tokens"."""
    return (
        f" on {counted(config.learner.workers, 'worker')}, in micro-batches of at most "
        f"{config.learner.micro_batch_tokens:,} tokens"
    )


def _memory(config: Config, facts: PlanInputs) -> tuple[tuple[str, str], ...]:
    executor = config.executor
    weights = weight_bytes(facts.trained, config.actors.dtype)
    learner = learner_bytes(config, facts.parameters, facts.trained, facts.shape)
    actor = actor_bytes(config, facts.parameters, facts.shape)
    total = (
        learner.total * config.learner.workers
        + actor.total * config.actors.count
        + executor_bytes(config) * config.executor.most
    )
    total += redis_bytes(config) + 3 * weights
    adapters = f", of which {facts.trained:,} are trained" if facts.trained < facts.parameters else ""
    rows = [
        ("model", f"{facts.model}: {facts.parameters:,} parameters{adapters}, vocabulary {facts.shape.vocab_size:,}"),
        (
            "weights",
            f"{_size(weights)} per publish and actor ({config.actors.dtype}), by the weight store; the newest two "
            "versions are kept, and one that is evaluated",
        ),
        ("a learner worker", f"{_size(learner.total)}: {learner.words}"),
        ("an actor", f"{_size(actor.total)}: {actor.words}"),
        (
            "an executor",
            f"up to {_size(executor_bytes(config))}: {counted(executor.lanes, 'lane')} of at most "
            f"{executor.memory_limit_mb} MiB",
        ),
        (
            "Redis",
            f"up to {_size(redis_bytes(config))}: queue, online buffer and archive full, three evaluations",
        ),
    ]
    if not (config.actors.gpus_per_actor or config.learner.gpus_per_worker):
        short = ": MORE THAN THERE IS" if total > facts.cluster.memory_bytes else ""
        rows.append(("in all", f"up to {_size(total)} of {_size(facts.cluster.memory_bytes)}{short}"))
    return tuple(rows)


def _waits(config: Config) -> tuple[tuple[str, str], ...]:
    learner, buffer = config.learner, config.buffer
    first = max(buffer.fill_before_start, config.samples_per_step)
    rows = [("learner", f"before its first step for {first:,} programs to train on to be written and graded")]
    if learner.objective == "supervised":
        return (("actors and executors", "between evaluations: the control trains on the corpus alone"),)
    if learner.publish_every and buffer.max_staleness is not None and buffer.when_stale == "wait":
        ahead = (buffer.max_staleness + 1) * learner.groups_per_step * learner.publish_every
        rows.append(
            (
                "actors",
                f"for the learner when {counted(ahead, 'group')} ({ahead * config.group_size:,} programs) are written "
                "and not yet trained on",
            )
        )
    rows += [
        ("actors", f"for the executors when {buffer.work_capacity:,} programs are queued"),
        (
            "executors",
            "for the actors most of the time; a program that hangs costs up to "
            f"{config.executor.time_limit_s:g} CPU s of a lane per test",
        ),
        (
            "everyone",
            f"at most {config.run.stall_timeout_s:g} s without any progress; then the run ends and names the part "
            "waited for",
        ),
    ]
    return tuple(rows)


def _size(size: float) -> str:
    """3.4 MB, 1.2 GB."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e6:.1f} MB" if size < 1e8 else f"{size / 1e6:.0f} MB"
