"""What is trained on, the policy, and the workers that sample programs and run them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from rltf.config.base import ConfigSection, Folder, from_anywhere
from rltf.config.choice import OneOf, Word


def _as_text(given: Any) -> Any:
    """A share, or nothing, as YAML has it."""
    if given is None:
        return "none"
    return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given


HeldOutSpec = Annotated[str, BeforeValidator(_as_text), Word("SPEC")]


class ProblemsConfig(ConfigSection):
    """Where problems come from."""

    train: Annotated[str, Word("SPEC")] = "starter"
    """Training problems; several sets are joined by commas, and `weight=3` after each says what share of the visits it
    has."""
    held_out: HeldOutSpec = "auto"
    """Problems that are only ever evaluated on, written like `train`; a number, say 0.2: that share of the training
    problems, which are then not trained on, the same ones in every run; auto: the starter's own for starter, else 0.1;
    none or empty: no evaluation."""
    prompt_style: Annotated[str, Word("STYLE")] = "auto"
    """Format in which problems are shown to the model; auto: each data set's own; FILE.jinja: a Jinja file of your own
    (docs/prompts.md); MODULE:NAME: a function of your own, of run.code."""
    shown_tests: int = Field(3, ge=0)
    """Tests of a problem that prompt styles which show tests show the model, the first ones; 0: none."""
    checked: str = ""
    """File that the command check-data wrote: problems quarantined there are left out, the others get their calibrated
    time limits."""
    limit: int | None = Field(None, ge=1)
    """Use only so many training problems, of `evaluate` so many of each set, drawn at random, the same each time."""

    @field_validator("prompt_style")
    @classmethod
    def _file_from_anywhere(cls, style: str) -> str:
        return from_anywhere(style) if style.endswith(".jinja") else style


class PolicyConfig(ConfigSection):
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
    """train: a byte-level BPE trained on the warm-start corpus; else a folder with tokenizer.json or vocab.json and
    merges.txt."""
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
    """Names of the linear layers that get an adapter, say [q_proj, v_proj]; empty: those that peft names for the
    architecture."""


ENGINES = {"own": "the project's own, for decoder-only and encoder-decoder models"}
"""What samples programs (`actors.engines`)."""


class ActorsConfig(ConfigSection):
    """The workers that generate programs."""

    count: int = Field(1, ge=1)
    """Number of actors."""
    engine: Annotated[str, OneOf(ENGINES)] = "own"
    """What samples programs."""
    gpus_per_actor: float = Field(0.0, ge=0)
    """GPUs each actor asks Ray for; 0: it runs on the CPU."""
    cpus_per_actor: float = Field(1.0, ge=0)
    """CPUs each actor asks Ray for."""
    threads: int = Field(1, ge=1)
    """Torch threads of one actor on the CPU; on a shared machine one is fastest."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format in which programs are sampled, and versions travel; float16 is for GPUs without bfloat16."""
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
    top_k: int = Field(0, ge=0)
    """The k most probable tokens are sampled from; 0: all."""
    min_p: float = Field(0.0, ge=0, le=1)
    """Tokens at least min_p times as probable as the most probable one are sampled from."""
    repetition_penalty: float = Field(1.0, gt=0)
    """Divides the logits, and multiplies negative ones, of tokens that prompt and program have so far; 1: none."""


JUDGES = {
    "sandbox": "processes of the executor's machine, isolated (docs/sandbox.md)",
    "remote": "the service at `executor.judge_url` (docs/service.md)",
}
"""What judges programs (`executor.judges`)."""


class ExecutorConfig(ConfigSection):
    """The workers that run programs against tests."""

    count: int = Field(1, ge=1)
    """Number of executors; with max_count the fewest."""
    max_count: int = Field(0, ge=0)
    """Most executors: their number follows the work queue between count and this; 0: it is count."""
    cpus_per_executor: float = Field(0.5, ge=0)
    """CPUs each executor asks Ray for."""
    judge: Annotated[str, OneOf(JUDGES)] = "sandbox"
    """What judges programs."""
    judge_url: str = ""
    """Of judge remote: where `serve` listens, say http://10.0.0.5:8080; limits that a problem does not name are the
    service's."""
    judge_token_file: Folder = ""
    """Of judge remote: file with its token; empty: the environment's RLTF_JUDGE_TOKEN, if it is set."""
    lanes: int = Field(1, ge=1)
    """Programs that one executor runs at the same time."""
    time_limit_s: float = Field(4.0, gt=0)
    """CPU seconds per test where the problem names no limit of its own."""
    memory_limit_mb: int = Field(1024, ge=64)
    """Memory of one program in MiB where the problem names no limit of its own."""
    python: str = ""
    """Interpreter that programs run on, 3.11 to 3.13; empty: the one that runs the executor. One built with LTO forks
    fastest."""
    packages: tuple[str, ...] = ("numpy", "sortedcontainers")
    """Modules that programs may import beside the standard library, each with what it requires, where they are
    installed; they are loaded once, before the first program that names one."""
    unproved_tests: bool = False
    """Whether tests count that assert nothing, so that to pass them proves nothing (docs/executor.md)."""
    unsafe: bool = False
    """Run programs even where the machine allows neither namespaces nor Landlock with seccomp: they can then do what
    their user can."""

    @property
    def most(self) -> int:
        """Most executors that there may be at the same time."""
        return max(self.count, self.max_count)

    @model_validator(mode="after")
    def _fewest_is_no_more_than_most(self) -> ExecutorConfig:
        if self.max_count and self.max_count < self.count:
            raise ValueError(f"max_count {self.max_count} is less than count {self.count}")
        return self

    @model_validator(mode="after")
    def _remote_has_a_place(self) -> ExecutorConfig:
        if self.judge == "remote" and not self.judge_url.startswith(("http://", "https://")):
            raise ValueError("judge remote needs judge_url, the http:// or https:// address of a service")
        return self
