"""The configuration of a run: one frozen model per part, a sentence under each field.

The sentence under a field is its documentation and its ``--help`` text. Nothing here imports torch, Ray or a room of the
project, so every process, an executor node's too, can read it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator


class UserError(Exception):
    """Bad input from the person who started the run: one sentence that says what is wrong, where, and what to do (exit code 2)."""


Baseline = Literal["best", "latest_greedy", "group_mean", "none"]
Normalise = Literal["sequence_sum", "sequence_mean", "token_mean", "constant"]
Beta = Annotated[float, Field(ge=0, lt=1)]


class Part(BaseModel):
    """Base of every part: frozen, unknown keys refused, the docstring under a field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, given: Any) -> Any:
        """`none`, in a file or on the command line, where a field may have no value."""
        if not isinstance(given, dict):
            return given
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        return {name: None if name in optional and value in ("none", "null", "") else value for name, value in given.items()}


class RunConfig(Part):
    """The run as a whole."""

    name: str = ""
    """Name of the run and of its folder; empty: preset name and time of day."""
    folder: str = "runs"
    """Folder in which the run's folder is made."""
    seed: int = 0
    """Seed of everything drawn at random: problem order, sampling, the warm start's programs, a fresh model's weights."""
    deterministic: bool = False
    """Synchronous and repeatable: one actor, every version published and sampled for one step. Sets what it needs (`DETERMINISTIC`)."""
    stall_timeout_s: float = Field(600.0, gt=0)
    """Seconds without a learner step, program or verdict after which the run ends with the name of the part waited for."""


class ProblemsConfig(Part):
    """Where problems come from."""

    train: str = "starter"
    """Training problems: starter | apps:PATH | mbpp:FILE | jsonl:FILE, options after commas (apps:PATH,difficulty=introductory)."""
    held_out: str = "starter,split=heldout"
    """Problems that are only ever evaluated on, written like `train`; empty: no evaluation."""
    checked: str = ""
    """File that `launch.py check-data` wrote: problems quarantined there are left out, the others get their calibrated time limits."""
    limit: int | None = Field(None, ge=1)
    """Use only so many training problems, drawn at random, the same in every run."""


class PolicyConfig(Part):
    """The language model that writes programs."""

    model: str = ""
    """Model folder or hub name for from_pretrained; empty: a fresh model of the shape below."""
    family: Literal["llama", "qwen2", "gpt2", "codegen", "t5"] = "llama"
    """Architecture of a fresh model."""
    d_model: int = Field(128, ge=8)
    """Width of a fresh model."""
    layers: int = Field(4, ge=1)
    """Layers of a fresh model (of the encoder and of the decoder each, for t5)."""
    heads: int = Field(4, ge=1)
    """Attention heads of a fresh model."""
    d_ff: int = Field(352, ge=8)
    """Width of a fresh model's feed-forward layers."""
    tokenizer: str = "train"
    """train: a byte-level BPE trained on the warm-start corpus; else a folder with tokenizer.json or vocab.json and merges.txt."""
    vocab_size: int = Field(384, ge=260)
    """Size of a tokenizer that is trained."""
    max_prompt_tokens: int = Field(128, ge=8)
    """Prompt length in tokens; a longer question is cut inside the question, never in what follows it."""
    max_program_tokens: int = Field(128, ge=4)
    """Most tokens sampled for one program."""
    lora_rank: int = Field(0, ge=0)
    """Rank of low-rank adapters (arXiv 2106.09685): only they are trained and published; 0: none, all weights are."""
    lora_alpha: float = Field(16.0, gt=0)
    """What an adapter adds is scaled by lora_alpha / lora_rank."""
    lora_targets: tuple[str, ...] = ()
    """Names of the linear layers that get an adapter, say [q_proj, v_proj]; empty: those that peft names for the architecture."""


class ActorsConfig(Part):
    """The workers that generate programs."""

    count: int = Field(1, ge=1)
    """Number of actors."""
    gpus_per_actor: float = Field(0.0, ge=0)
    """GPUs each actor asks Ray for; 0: it runs on the CPU."""
    cpus_per_actor: float = Field(1.0, ge=0)
    """CPUs each actor asks Ray for."""
    threads: int = Field(1, ge=1)
    """Torch threads of one actor on the CPU; on a shared machine one is fastest."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format in which programs are sampled."""
    problems_per_batch: int = Field(24, ge=1)
    """Problems whose programs are sampled together."""
    samples_per_problem: int = Field(8, ge=1)
    """Sampled programs of one visit of a problem (n)."""
    greedy: bool = False
    """Whether each visit also writes one greedy program, the baseline that the rltf objective starts from."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus: the smallest set of tokens whose probabilities add up to this is sampled from."""


class ExecutorConfig(Part):
    """The workers that run programs against tests."""

    count: int = Field(1, ge=1)
    """Number of executors."""
    cpus_per_executor: float = Field(0.5, ge=0)
    """CPUs each executor asks Ray for."""
    lanes: int = Field(1, ge=1)
    """Programs that one executor runs at the same time."""
    time_limit_s: float = Field(4.0, gt=0)
    """CPU seconds per test where the problem names no limit of its own."""
    memory_limit_mb: int = Field(1024, ge=64)
    """Memory of one program in MiB where the problem names no limit of its own."""
    python: str = ""
    """Interpreter that programs run on, 3.11 to 3.13; empty: the one that runs the executor. One built with LTO forks fastest."""
    unsafe: bool = False
    """Run programs even where the machine allows neither namespaces nor Landlock with seccomp: they can then do what their user can."""


class BufferConfig(Part):
    """The online buffer between executors and learner, and the work queue between actors and executors."""

    capacity: int = Field(6400, ge=1)
    """Length of the online buffer in samples; beyond it the oldest groups are evicted and counted."""
    work_capacity: int = Field(2048, ge=1)
    """Length of the work queue in programs; when it is full the actors wait."""
    fill_before_start: int = Field(0, ge=0)
    """Samples that must be buffered before the learner's first step."""
    refresh_steps: int = Field(1, ge=1)
    """Learner steps between two snapshots of the buffer; batches are drawn from the newest snapshot."""
    max_staleness: int | None = Field(2, ge=0)
    """Most policy versions between the one that sampled a program and the learner's own; none: no bound."""
    when_stale: Literal["drop", "wait"] = "wait"
    """drop: samples beyond the bound are set aside and counted; wait: actors pause before they would overproduce."""
    lease_s: float = Field(60.0, gt=0)
    """Seconds after which a claimed program that its executor neither graded nor refreshed is another's; longer than any grading."""
    archive_capacity: int = Field(8192, ge=1)
    """Samples with a known fate that are kept for the driver to write out; beyond it the oldest are lost and counted."""


class RedisConfig(Part):
    """The Redis server that holds work queue, online buffer and ledger."""

    url: str = ""
    """An existing server (redis://[:password@]host:port/db, rediss:// for TLS); empty: a server of the run's own is started."""
    timeout_s: float = Field(10.0, gt=0)
    """Longest wait for an answer of the server."""
    fsync: Literal["everysec", "always"] = "everysec"
    """When the run's own server makes the disk durable: a power loss costs its last seconds, or with always nothing (slower)."""
    outage_s: float = Field(60.0, gt=0)
    """Longest time for which a server that does not answer is tried again; then the run ends, and can be resumed."""


class WarmStartConfig(Part):
    """Supervised training before the first program is sampled."""

    steps: int = Field(0, ge=0)
    """Optimizer steps of the warm start; 0: none."""
    batch_size: int = Field(64, ge=1)
    """Programs per step."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate; warmed up over a twentieth of the steps, then decayed by a cosine to a tenth."""
    until_pass: bool = False
    """Go on in rounds of `steps` until one sample at temperature 1 on a training problem passes (small models on real problems)."""
    reuse: str = ""
    """Folder of a warm-started model to begin from instead of training one (an earlier run's `warm_start` folder)."""

    @field_validator("reuse")
    @classmethod
    def _from_anywhere(cls, folder: str) -> str:
        """The learner's working directory is another one."""
        return str(Path(folder).expanduser().resolve()) if folder else ""


class ObjectiveConfig(Part):
    """What the sections of all reinforcement objectives have in common: guards, each off unless set."""

    log_prob_floor: float | None = Field(None, lt=0)
    """A token is not pushed further down once its log-probability is below this, say -10; none: no floor, as in the paper."""
    importance_cap: float | None = Field(None, gt=0)
    """Weight each token by its ratio to the sampling policy, at most this (truncated importance sampling); none: see docs/objectives.md."""
    kl: float = Field(0.0, ge=0)
    """Weight of the divergence, per program token, from the policy at the start of training; above 0 a frozen copy of it is kept."""

    _presets: ClassVar[tuple[str, dict[str, dict[str, Any]]]] = ("", {})

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Values of the chosen preset under those that are given."""
        field, presets = cls._presets
        chosen = presets.get(given[field]) if isinstance(given, dict) and isinstance(given.get(field), str) else None
        return {**chosen, **given} if chosen else given


class RltfConfig(ObjectiveConfig):
    """The RLTF objective of arXiv 2307.04349. The fine-grained fields also hold where another objective has `fine` true."""

    preset: Literal["paper", "released_code"] = "paper"
    """paper: its equations; released_code: the authors' program. Sets the fields below; each that is given too wins over it."""
    coarse: bool = True
    """Use the coarse term (Eq. 3, 8)."""
    fine: bool = True
    """Use the fine-grained term (Eq. 4, 9)."""
    adaptive: bool = True
    """Use the adaptive term (Eq. 5, 10)."""
    fine_reward: float = Field(-0.3, le=0)
    """Reward of the tokens of a failing line (R_fine)."""
    critic_weighting: bool = False
    """Multiply the coarse and the adaptive term of each token by a critic's probability of the true outcome (CodeRL)."""
    critic: str = ""
    """Folder of the critic, which `launch.py train-critic` makes from the samples of a run."""
    fine_grained_type: Literal[0, 1] = 0
    """1: the critic weighs the fine term, too."""
    adaptive_mode: Literal["add", "replace"] = "add"
    """add: a term of its own beside the coarse one (Eq. 6); replace: of a failure it stands in the coarse reward's place."""
    alpha: Literal["span_ratio", "const"] = "span_ratio"
    """Factor of the fine term: T / (E - S) (Eq. 9), or 1."""
    baseline: Baseline = "best"
    """What a program is compared with: the problem's best so far, begun by a greedy one; its newest greedy one; its group; nothing."""
    normalise: Normalise = "sequence_sum"
    """Sum over a program's tokens (Eq. 2) or mean over them, averaged over programs; mean over a step's tokens; sum over the limit."""
    timeouts: Literal["global", "ignore"] = "global"
    """Whether all of a program that runs too long gets fine-grained feedback, or none of it (Table 2: U_global)."""
    indentation_errors: Literal["ignore", "by_message"] = "ignore"
    """by_message: only inconsistent tabs and unmatched dedents are ignored, other indentation errors blame a line (Table 2: ignored)."""
    triple_quoted: Literal["ignore", "line"] = "ignore"
    """Whether an unterminated triple-quoted string is ignored or blames a line (Table 2: ignored)."""
    unfinished: Literal["length", "last_line"] = "length"
    """U_global: a syntax error on the last line of a program cut off at the length limit; or one of three messages on any last line."""
    other_errors: Literal["line", "ignore"] = "line"
    """RuntimeError, crashes, exit codes and compile errors that Python finds after parsing blame their line (Table 2: Else), or nothing."""
    lines: Literal["offsets", "first_text"] = "offsets"
    """Tokens of a failing line: by position; or the first place where its stripped text occurs in the program."""
    decoder_only_lines: bool = True
    """Whether a failing line is blamed where the policy is decoder-only."""

    _presets = (
        "preset",
        {
            "released_code": {
                "critic_weighting": True,
                "fine_grained_type": 1,
                "adaptive_mode": "replace",
                "alpha": "const",
                "baseline": "latest_greedy",
                "normalise": "token_mean",
                "timeouts": "ignore",
                "indentation_errors": "by_message",
                "triple_quoted": "line",
                "unfinished": "last_line",
                "other_errors": "ignore",
                "lines": "first_text",
                "decoder_only_lines": False,
            }
        },
    )


class AdvantageConfig(ObjectiveConfig):
    """What the objectives with one advantage per program have in common."""

    reward: Literal["binary", "pass_ratio", "coarse", "adaptive"] = "binary"
    """1 if every test passes, else 0; share of tests that pass; RLTF's coarse reward (Eq. 3); coarse with Eq. 5 for wrong answers."""
    fine: bool = False
    """Add RLTF's fine-grained term (Eq. 9, fields of `rltf`) to the advantage of each token: credit by line."""
    normalise: Normalise = "token_mean"
    """Sum over a program's tokens or mean over them, averaged over programs; mean over a step's tokens; sum over the token limit."""


class ReinforceConfig(AdvantageConfig):
    """REINFORCE (Williams 1992): the reward less a baseline."""

    baseline: Baseline = "group_mean"
    """What a program's reward is compared with: the problem's best so far; its newest greedy program's; the mean of its group; nothing."""
    normalise: Normalise = "sequence_sum"
    """As in the other objectives; a program is one action here, so its log-probability is the sum over its tokens."""


class RlooConfig(AdvantageConfig):
    """REINFORCE leave-one-out (arXiv 2402.14740): the reward less the mean of the rest of the group."""

    normalise: Normalise = "sequence_sum"
    """As in the other objectives; a program is one action here, so its log-probability is the sum over its tokens."""


class GrpoConfig(AdvantageConfig):
    """Group-relative policy optimisation (arXiv 2402.03300): advantage by group, ratio clip."""

    variant: Literal["grpo", "dr"] = "grpo"
    """dr: Dr. GRPO (arXiv 2503.20783), scale none and normalise constant; a field that is given too wins over it."""
    scale: Literal["deviation", "none"] = "deviation"
    """Whether the advantage is divided by the standard deviation of the group's rewards."""
    clip_low: float = Field(0.2, ge=0)
    """The ratio to the sampling policy is clipped below 1 - clip_low."""
    clip_high: float = Field(0.28, ge=0)
    """The ratio to the sampling policy is clipped above 1 + clip_high."""

    _presets = ("variant", {"dr": {"scale": "none", "normalise": "constant"}})


class PpoClipConfig(AdvantageConfig):
    """PPO's clipped surrogate (arXiv 1707.06347) without a value function: the reward less a baseline, whitened over the step."""

    baseline: Baseline = "group_mean"
    """What a program's reward is compared with: the problem's best so far; its newest greedy program's; the mean of its group; nothing."""
    whiten: bool = True
    """Whether the step's advantages are shifted and scaled to mean 0 and standard deviation 1."""
    clip_low: float = Field(0.2, ge=0)
    """The ratio to the sampling policy is clipped below 1 - clip_low."""
    clip_high: float = Field(0.2, ge=0)
    """The ratio to the sampling policy is clipped above 1 + clip_high."""


class LearnerConfig(Part):
    """The DeepSpeed worker group that trains."""

    workers: int = Field(1, ge=1)
    """Data-parallel learner workers (world size)."""
    gpus_per_worker: float = Field(0.0, ge=0)
    """GPUs each worker asks Ray for; 0: it runs on the CPU."""
    cpus_per_worker: float = Field(1.0, ge=0)
    """CPUs each worker asks Ray for."""
    threads: int = Field(1, ge=1)
    """Torch threads of a worker on the CPU while programs are being written at the same time."""
    warm_start_threads: int = Field(2, ge=1)
    """Torch threads of a worker on the CPU during the warm start, when the actors are idle."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO stage."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What is kept in the host's memory instead of the GPU's: optimizer: its state (zero_stage 1 or more); parameters: these too (3)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of training."""
    gradient_checkpointing: bool = False
    """Keep each layer's input alone and compute the rest again in the backward pass: less memory, a third more time."""
    mixed_precision: Literal["auto", "never"] = "auto"
    """auto: on a CPU with instructions for it, matrix products of short sequences in bfloat16 (1.7x faster); weights stay float32."""
    objective: Literal["grpo", "rltf", "reinforce", "rloo", "ppo_clip", "supervised"] = "grpo"
    """What is minimised; supervised trains on the corpus alone, the control without reinforcement learning."""
    steps: int = Field(100, ge=1)
    """Optimizer steps after the warm start, reinforcement and supervised ones together."""
    groups_per_step: int = Field(24, ge=1)
    """Groups (visits of a problem) drawn for one step over all workers; times actors.samples_per_problem is the batch in samples."""
    micro_batch_tokens: int = Field(2048, ge=1)
    """Most token positions in one forward pass of one worker, padding included; what programs of one prompt have in common counts once."""
    supervised_ratio: float = Field(0.0, ge=0)
    """Supervised steps per reinforcement step: 1 alternates them one to one as the paper does (half of `steps` each), 0 does none."""
    supervised_mixing: Literal["step", "micro_batch"] = "step"
    """step: a step is one or the other; micro_batch: every step is both, its loss the mean weighted by supervised_ratio."""
    supervised_batch_size: int = Field(32, ge=1)
    """Programs of one supervised step over all workers."""
    learning_rate: float = Field(4e-4, gt=0)
    """Learning rate after warm-up."""
    warmup_steps: int = Field(10, ge=0)
    """Steps over which the learning rate rises; the first step already has a rate above zero."""
    final_learning_rate: float = Field(1.0, gt=0, le=1)
    """Share of the learning rate left at the last step, reached linearly; 1 keeps it constant."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """AdamW's running-average coefficients."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's weight decay."""
    gradient_clip: float = Field(1.0, ge=0)
    """Largest gradient norm; 0: no clipping."""
    publish_every: int = Field(1, ge=1)
    """Reinforcement steps between two published policy versions; the supervised steps among them are in the version too."""


class EvaluationConfig(Part):
    """Held-out evaluation during the run."""

    every: int = Field(20, ge=0)
    """Learner steps between two evaluations; 0: only before the first and after the last step."""
    tasks: int = Field(256, ge=1)
    """Held-out problems used, drawn at random, the same in every run (all of them if there are fewer)."""
    samples: int = Field(1, ge=1)
    """Programs per held-out problem, sampled at temperature 1 with actors.top_p 1."""


class CheckpointConfig(Part):
    """Checkpoints of the learner, from which a run is resumed and a dead learner restarted."""

    every: int = Field(20, ge=0)
    """Learner steps between two checkpoints; 0: only after the warm start, when the run is stopped, and at its end."""
    keep: int = Field(2, ge=1)
    """Newest checkpoints that are kept."""
    best: bool = True
    """Also checkpoint every version that is evaluated on held-out problems, and keep the one with the best pass@1."""


class RestartConfig(Part):
    """What happens when a part dies: actors, executors, learner workers, the run's own Redis."""

    limit: int = Field(5, ge=0)
    """Restarts of one part in a row; one death more ends the run with the reason."""
    pause_s: float = Field(0.5, gt=0)
    """Seconds before the first restart of a part; doubled with each further one, up to 30."""
    forget_s: float = Field(300.0, gt=0)
    """Seconds after which a part's last death no longer counts."""
    answer_s: float = Field(60.0, gt=0)
    """Seconds within which a worker has to say that it lives; then it counts as dead."""


class RayConfig(Part):
    """How the run meets Ray."""

    address: str = ""
    """A running cluster; empty: RAY_ADDRESS, else what `ray start` or `ray up` left running here, else one is started; local: start one."""
    wait_s: float = Field(900.0, ge=0)
    """Longest wait for the GPUs asked for on a cluster that is joined; its nodes may still be starting."""
    dashboard: bool = True
    """Start the Ray dashboard when Ray is started here."""


DETERMINISTIC: dict[str, Any] = {
    "actors.count": 1,
    "buffer.fill_before_start": 0,
    "buffer.max_staleness": 0,
    "buffer.refresh_steps": 1,
    "buffer.when_stale": "wait",
    "learner.publish_every": 1,
}
"""What `run.deterministic` sets, beside actors.problems_per_batch, which becomes learner.groups_per_step: each step is trained on exactly
the programs that its version sampled in one batch, so neither the speed of a worker nor a stop and a resumption changes anything."""


class Config(Part):
    """One run. Every field can be set in YAML and on the command line as --part.field VALUE."""

    run: RunConfig = RunConfig()
    problems: ProblemsConfig = ProblemsConfig()
    policy: PolicyConfig = PolicyConfig()
    actors: ActorsConfig = ActorsConfig()
    executor: ExecutorConfig = ExecutorConfig()
    buffer: BufferConfig = BufferConfig()
    redis: RedisConfig = RedisConfig()
    warm_start: WarmStartConfig = WarmStartConfig()
    learner: LearnerConfig = LearnerConfig()
    rltf: RltfConfig = RltfConfig()
    reinforce: ReinforceConfig = ReinforceConfig()
    rloo: RlooConfig = RlooConfig()
    grpo: GrpoConfig = GrpoConfig()
    ppo_clip: PpoClipConfig = PpoClipConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    restart: RestartConfig = RestartConfig()
    ray: RayConfig = RayConfig()

    @property
    def objective(self) -> ObjectiveConfig:
        """The section of the objective that is trained with; for `supervised` one without effect."""
        name = self.learner.objective
        return ObjectiveConfig() if name == "supervised" else getattr(self, name)

    @property
    def group_size(self) -> int:
        """Programs of one visit of a problem, the greedy one included."""
        return self.actors.samples_per_problem + int(self.actors.greedy)

    @property
    def samples_per_step(self) -> int:
        """Samples drawn for one learner step, greedy programs not counted."""
        return self.learner.groups_per_step * self.actors.samples_per_problem

    @model_validator(mode="before")
    @classmethod
    def _set_what_deterministic_needs(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and isinstance(tree.get("run"), dict) and tree["run"].get("deterministic") is True:
            tree = {part: dict(values) for part, values in tree.items()}
            for key, value in DETERMINISTIC.items():
                part, name = key.split(".")
                tree.setdefault(part, {})[name] = value
            groups = tree["learner"].get("groups_per_step", LearnerConfig().groups_per_step)
            tree["actors"]["problems_per_batch"] = groups
        return tree

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Config:
        name = self.learner.objective
        baseline = getattr(self.objective, "baseline", "group_mean" if name in ("grpo", "rloo") else "none")
        if baseline in ("best", "latest_greedy") and not self.actors.greedy:
            raise ValueError(f"learner.objective {name} compares with a greedy program: set actors.greedy true or {name}.baseline none")
        if name == "rltf" and self.rltf.critic_weighting and not self.rltf.critic:
            raise ValueError("rltf.critic_weighting needs a critic: set rltf.critic, or rltf.critic_weighting false")
        if baseline == "group_mean" and self.actors.samples_per_problem < 2:
            raise ValueError(f"learner.objective {name} compares programs of one visit: set actors.samples_per_problem to 2 or more")
        if self.buffer.work_capacity < self.group_size:
            raise ValueError(f"buffer.work_capacity {self.buffer.work_capacity} is less than a group of {self.group_size}")
        if self.buffer.capacity < self.learner.groups_per_step * self.group_size:
            raise ValueError(
                f"buffer.capacity {self.buffer.capacity} is less than one step's {self.learner.groups_per_step} x {self.group_size} "
                "programs: the learner would wait for ever"
            )
        if self.buffer.fill_before_start > self.buffer.capacity:
            raise ValueError("buffer.fill_before_start is more than buffer.capacity: the learner would wait for ever")
        if self.learner.objective == "supervised" and not self.learner.supervised_batch_size:
            raise ValueError("learner.objective supervised needs learner.supervised_batch_size")
        least = {"none": 0, "optimizer": 1, "parameters": 3}[self.learner.offload]
        if self.learner.zero_stage < least:
            raise ValueError(f"learner.offload {self.learner.offload} needs learner.zero_stage {least} or more")
        if self.learner.groups_per_step < self.learner.workers:
            raise ValueError("learner.groups_per_step is less than learner.workers: a worker would have nothing to train on")
        return self


def fields() -> dict[str, str]:
    """Every dotted key with the sentence that documents it."""
    return {
        f"{part}.{name}": f"{field.description} (default: {field.default})"
        for part, model in Config.model_fields.items()
        for name, field in model.annotation.model_fields.items()  # type: ignore[union-attr]
    }


def load(file: Path | None, overrides: Mapping[str, str] | None = None) -> Config:
    """The configuration of a YAML file with dotted overrides on top, e.g. ``{"learner.steps": "50"}``.

    Raises:
        UserError: the file is missing or no YAML, a key is unknown (the nearest right one is named), a value does not fit.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            tree = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise UserError(f"configuration file {file}: {error.strerror}; presets are in configs/") from None
        except UnicodeDecodeError:
            raise UserError(f"configuration file {file} is no text; presets are in configs/") from None
        except yaml.YAMLError as error:
            raise UserError(f"configuration file {file} is not YAML: {' '.join(str(error).split())}") from None
    where = f" in {file}" if file else ""
    if not isinstance(tree, dict) or not all(isinstance(part, dict) for part in tree.values()):
        raise UserError(f"configuration file {file}: expected parts with fields below them, as in configs/starter.yaml")
    known = fields()
    for key in [f"{part}.{name}" for part, values in tree.items() for name in values]:
        _refuse_unknown(key, known, where)
    for key, text in (overrides or {}).items():
        _refuse_unknown(key, known, " on the command line")
        part, name = key.split(".")
        tree.setdefault(part, {})[name] = _value(key, text)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(step) for step in first["loc"][:2])
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{key}: {message}, got {first['input']!r}" if key else f"configuration: {message}") from None


def _value(key: str, text: str) -> Any:
    """What is written on the command line for `key`: text stays as it is, numbers are decimal, lists are YAML."""
    part, name = key.split(".")
    annotation = Config.model_fields[part].annotation.model_fields[name].annotation  # type: ignore[union-attr]
    kinds = {annotation}
    if get_origin(annotation) is Literal:
        kinds = {type(value) for value in get_args(annotation)}
    elif get_origin(annotation) is UnionType:
        kinds = set(get_args(annotation))
    if str in kinds:
        return text
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                return text  # pydantic says what is wrong with it, or Part that it is `none`
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _refuse_unknown(key: str, known: Mapping[str, str], where: str) -> None:
    if key in known:
        return
    namesakes = [full for full in known if full.split(".")[1] == key.rpartition(".")[2]]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.8) or namesakes or difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "; launch.py --help lists all keys"
    raise UserError(f"unknown key {key}{where}{hint}")
