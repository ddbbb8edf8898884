"""What a training step of the learner costs, beside Hugging Face's Trainer and beside the bare computation.

    python -m benchmarks.learner [--quick] [--steps N] [--threads N] [--json FILE] [--groups FILE] [--peer-attention
    eager|sdpa]

Three comparisons, each interleaved step by step in one process, on a fresh Llama shape of 6 million parameters:

1. `trainer`: supervised steps of 64 programs. The peer is transformers.Trainer with a collator that pads to the longest
   of each random batch, in two accumulated batches of 32, on its fastest settings here. Programs are functions of
   Python's standard library with their signature and docstring as the prompt, so that lengths are spread as in real
   code.
2. `groups`: the same peer on a reinforcement step's programs, 8 groups of 8 for one prompt each, which begin alike:
   sampled ones, from `--groups` (JSON lines with task, prompt and code), else drawn from the starter corpus, bugs
   included.
3. `bare`: forward, backward, clipping and the optimizer step in plain torch on the learner's own micro-batches, already
   planned and collated. What the learner takes beyond it is planning, collation, DeepSpeed and the statistics of the
   step.

Useful tokens are the prompt and program tokens of the programs, each counted by itself; tokens that are padding or that
programs have in common do not count twice. Both sides clip the gradient, use AdamW and have their matrix products in
bfloat16 where the CPU can. Medians.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import importlib.util
import json
import os
import platform
import random
import statistics
import sys
import sysconfig
import tempfile
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from rltf.config import LearnerConfig, PolicyConfig, UserError
from rltf.learner.batching import tensors
from rltf.learner.engine import TrainingEngine
from rltf.learner.objectives.base import TrainItem, totals_of
from rltf.learner.objectives.supervised import Supervised
from rltf.learner.world import World
from rltf.policy.encoding import encode_program, encode_prompt
from rltf.policy.log_probs import token_log_probs
from rltf.policy.policy import Policy, build_policy, make_spec
from rltf.problems import corpus_of, load_problems
from rltf.problems.prompts import Prompt
from rltf.telemetry.console import print_error

SHAPE = {"family": "llama", "d_model": 256, "layers": 6, "heads": 8, "d_ff": 704, "vocab_size": 4096}
PROMPT_TOKENS, PROGRAM_TOKENS = 192, 320
BATCH, PEER_BATCH, GROUP = 64, 32, 8
_MODULES = ("argparse", "ast", "calendar", "configparser", "csv", "datetime", "difflib", "fractions", "heapq",
"inspect", "ipaddress",
            "locale", "mailbox", "optparse", "pathlib", "pickle", "pprint", "random", "shlex", "shutil", "statistics",
            "string", "tarfile",
            "textwrap", "tokenize", "traceback", "turtle", "typing", "zipfile")  # fmt: skip
Pair = tuple[Prompt, str]


@dataclass(frozen=True)
class Times:
    """Seconds of each step, one list per side."""

    ours: list[float]
    peer: list[float]

    @property
    def ratio(self) -> float:
        """The peer's median over ours."""
        return statistics.median(self.peer) / statistics.median(self.ours)


def library_functions() -> list[Pair]:
    """Functions of the standard library of this Python: signature and docstring, and what follows them."""
    pairs = []
    for name in _MODULES:
        file = Path(sysconfig.get_path("stdlib")) / f"{name}.py"
        if not file.is_file():  # a package in some versions of Python
            continue
        source = file.read_text()
        for node in ast.walk(ast.parse(source)):
            body = getattr(node, "body", [])
            if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) and len(body) > 1:
                segment = textwrap.dedent("\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno]))
                cut = (body[0].end_lineno or node.lineno) - node.lineno + 1
                lines = segment.splitlines(keepends=True)
                pairs.append((Prompt("", "".join(lines[:cut]), ""), "".join(lines[cut:]) + "\n"))
    return pairs


def sampled_groups(file: Path) -> list[list[Pair]]:
    """Programs of one task together, as many as a group has. Raises UserError when the file has too few."""
    tasks: dict[str, list[Pair]] = defaultdict(list)
    opened = gzip.open(file, "rt") if file.suffix == ".gz" else file.open()
    with opened as lines:
        for line in lines:
            record = json.loads(line)
            tasks[record["task"]].append(
                (Prompt("", record.get("prompt") or f"{record['task']}\n", ""), record["code"])
            )
    groups = [pairs[:GROUP] for pairs in tasks.values() if len(pairs) >= GROUP]
    if not groups:
        raise UserError(f"--groups {file}: no task has {GROUP} programs")
    return groups


def starter_groups(number: int) -> list[list[Pair]]:
    """Programs that the starter corpus draws for the same task."""
    rng = random.Random(0)
    corpus = corpus_of(load_problems("starter"))
    found: dict[Prompt, list[Pair]] = defaultdict(list)
    while sum(len(pairs) >= GROUP for pairs in found.values()) < number:
        prompt, program = corpus.draw(rng)
        found[Prompt(prompt.before, prompt.question, prompt.after)].append((prompt, program))
    return [pairs[:GROUP] for pairs in found.values() if len(pairs) >= GROUP]


def encode(policy: Policy, pairs: Sequence[Pair], name: str) -> list[TrainItem]:
    """Items of weight one for every token."""
    encoded = [
        (encode_prompt(policy, prompt), encode_program(policy, program)[:PROGRAM_TOKENS]) for prompt, program in pairs
    ]
    return Supervised().items(encoded, name)


def policy_of(texts: Sequence[str]) -> Policy:
    """The same weights at every call."""
    config = PolicyConfig.model_validate(
        SHAPE | {"max_prompt_tokens": PROMPT_TOKENS, "max_program_tokens": PROGRAM_TOKENS}
    )
    return build_policy(make_spec(config, texts), seed=0)


class Ours:
    """The learner's engine."""

    def __init__(self, texts: Sequence[str], config: LearnerConfig) -> None:
        self.policy = policy_of(texts)
        self.engine = TrainingEngine(self.policy, config, World())
        self.engine.reset_optimizer(config.betas, 0.0)

    def step(self, items: Sequence[TrainItem]) -> float:
        """Seconds of one step, planning included."""
        began = time.perf_counter()
        mine = self.engine.plan(items)
        self.engine.step(mine.micro_batches, Supervised().loss, totals_of(items), 1e-4)
        return time.perf_counter() - began


class Bare:
    """The same computation in plain torch, on micro-batches that are planned and collated already."""

    def __init__(self, ours: Ours, texts: Sequence[str], config: LearnerConfig) -> None:
        self._ours = ours
        self._policy = policy_of(texts)
        self._policy.model.config._attn_implementation = ours.policy.model.config._attn_implementation
        for module in self._policy.model.modules():
            if hasattr(module, "config"):
                module.config._attn_implementation = ours.policy.model.config._attn_implementation
        self._clip = config.gradient_clip
        self._optimizer = torch.optim.AdamW(
            self._policy.model.parameters(), lr=1e-4, betas=config.betas, weight_decay=0.0, fused=True
        )

    def step(self, items: Sequence[TrainItem]) -> float:
        """Seconds of forward, backward, clipping and the optimizer step."""
        engine = self._ours.engine
        totals, loss = totals_of(items), Supervised().loss
        batches = [
            tensors(self._policy, part, mask_dtype=engine.score_dtype) for part in engine.plan(items).micro_batches
        ]
        began = time.perf_counter()
        for batch, signal in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=engine.mixed):
                found = token_log_probs(self._policy.model, batch, entropy=False)
            loss(found.values, found.mask, signal, totals).loss.backward()
        torch.nn.utils.clip_grad_norm_(self._policy.model.parameters(), self._clip, foreach=True)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return time.perf_counter() - began


def beside_trainer(ours: Ours, texts: Sequence[str], batches: Sequence[list[TrainItem]], attention: str) -> Times:
    """Steps of transformers.Trainer with one of ours after each, on the same programs."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    theirs = policy_of(texts)
    theirs.model.set_attn_implementation(attention)
    rng = random.Random(1)
    rows = [item for batch in batches for item in rng.sample(batch, len(batch))]
    times = Times([], [])

    def collate(items: list[TrainItem]) -> dict[str, torch.Tensor]:
        longest = max(item.tokens for item in items)
        ids = torch.full((len(items), longest), theirs.pad_id)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for row, item in enumerate(items):
            ids[row, : item.tokens] = torch.tensor([*item.prompt_ids, *item.token_ids])
            labels[row, len(item.prompt_ids) : item.tokens] = torch.tensor(item.token_ids)
            mask[row, : item.tokens] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    class Turns(TrainerCallback):  # type: ignore[misc]
        began = 0.0

        def on_step_begin(self, *arguments: Any, **fields: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *arguments: Any, **fields: Any) -> None:
            times.peer.append(time.perf_counter() - self.began)
            times.ours.append(ours.step(batches[len(times.ours)]))

    class InOrder(Trainer):  # type: ignore[misc]
        """Programs in the order given: batches are the same for both, and random within."""

        def _get_train_sampler(self, *arguments: Any) -> Any:
            return torch.utils.data.SequentialSampler(rows)

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, use_cpu=True, bf16=ours.engine.mixed, per_device_train_batch_size=PEER_BATCH,
            gradient_accumulation_steps=BATCH // PEER_BATCH, max_steps=len(batches), learning_rate=1e-4,
            max_grad_norm=1.0,
            optim="adamw_torch_fused", lr_scheduler_type="constant", save_strategy="no", logging_strategy="no",
            report_to="none",
            remove_unused_columns=False, disable_tqdm=True,
        )  # fmt: skip
        InOrder(
            model=theirs.model, args=settings, train_dataset=rows, data_collator=collate, callbacks=[Turns()]
        ).train()
    return times


def beside_bare(ours: Ours, bare: Bare, batches: Sequence[list[TrainItem]]) -> Times:
    """Steps of both in an order that changes."""
    times = Times([], [])
    for number, batch in enumerate(batches):
        for side, into in (
            ((ours, times.ours), (bare, times.peer)) if number % 2 else ((bare, times.peer), (ours, times.ours))
        ):
            into.append(side.step(batch))
    return times


def steps_of(items: Sequence[TrainItem], number: int, seed: int) -> list[list[TrainItem]]:
    """Random batches."""
    rng = random.Random(seed)
    return [rng.sample(list(items), BATCH) for _ in range(number)]


def group_steps(groups: Sequence[list[TrainItem]], number: int) -> Iterator[list[TrainItem]]:
    """Batches of whole groups."""
    rng = random.Random(2)
    for _ in range(number):
        yield [item for group in rng.sample(list(groups), BATCH // GROUP) for item in group]


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 with a sentence when the command line is wrong or accelerate is missing."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.learner", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two steps each: only to see that it runs")
    parser.add_argument(
        "--steps", type=int, default=12, metavar="N", help="measured steps of each comparison (default: 12)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    parser.add_argument(
        "--groups",
        type=Path,
        metavar="FILE",
        help="sampled programs: JSON lines with task, prompt and code, gzipped or not",
    )
    parser.add_argument(
        "--peer-attention",
        choices=("eager", "sdpa"),
        default="eager",
        help="attention of the peer (default: the faster)",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    steps = 2 if options.quick else options.steps
    try:
        if importlib.util.find_spec("accelerate") is None:
            raise UserError("transformers.Trainer needs accelerate: install the extra `benchmark`")
        groups = sampled_groups(options.groups) if options.groups else starter_groups(2 * BATCH // GROUP)
    except UserError as error:
        print_error(f"error: {error}")
        return 2
    functions = library_functions()
    texts = [prompt.question + program for pairs in (functions, *groups) for prompt, program in pairs]
    config = LearnerConfig(threads=options.threads)
    ours = Ours(texts, config)
    items = encode(ours.policy, functions, "function")
    grouped = [encode(ours.policy, pairs, f"group-{number}") for number, pairs in enumerate(groups)]
    comparisons: list[tuple[str, list[list[TrainItem]], Callable[[list[list[TrainItem]]], Times]]] = [
        (
            "trainer",
            steps_of(items, steps + 2, 3),
            lambda found: beside_trainer(ours, texts, found, options.peer_attention),
        ),
        (
            "groups",
            list(group_steps(grouped, steps + 2)),
            lambda found: beside_trainer(ours, texts, found, options.peer_attention),
        ),
        ("bare", steps_of(items, steps + 2, 4), lambda found: beside_bare(ours, Bare(ours, texts, config), found)),
        (
            "bare, groups",
            list(group_steps(grouped, steps + 2)),
            lambda found: beside_bare(ours, Bare(ours, texts, config), found),
        ),
    ]
    table = Table(title=f"One step of {BATCH} programs, {options.threads} thread(s): medians of {steps}")
    for column in (
        "comparison",
        "useful tokens",
        "padding",
        "shared",
        "learner",
        "peer",
        "learner tokens/s",
        "peer tokens/s",
        "peer / learner",
    ):
        table.add_column(column, justify="right")
    rows = []
    for name, batches, run in comparisons:
        times = run(batches)
        times = Times(times.ours[2:], times.peer[2:])
        useful = statistics.mean(sum(item.tokens for item in batch) for batch in batches[2:])
        plans = [ours.engine.plan(batch) for batch in batches[2:]]
        seconds = [statistics.median(side) for side in (times.ours, times.peer)]
        row = {
            "comparison": name, "useful_tokens": useful, "ours_s": seconds[0], "peer_s": seconds[1],
            "ratio": times.ratio,
            "padding_share": statistics.mean(plan.padding_share for plan in plans),
            "shared_share": statistics.mean(plan.shared_share for plan in plans),
            "peer_padding_share": _peer_padding(batches[2:]), "all_ours_s": times.ours, "all_peer_s": times.peer,
        }  # fmt: skip
        rows.append(row)
        shares = [f"{row[key]:.1%}" for key in ("padding_share", "shared_share")]
        table.add_row(
            name,
            f"{useful:,.0f}",
            *shares,
            *(f"{value * 1e3:.0f} ms" for value in seconds),
            *(f"{useful / value:,.0f}" for value in seconds),
            f"{times.ratio:.2f}",
        )
    Console(highlight=False, soft_wrap=True).print(table)
    if options.json:
        facts = {
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "threads": options.threads,
            "torch": torch.__version__,
        }
        facts |= {
            "mixed": ours.engine.mixed,
            "peer_attention": options.peer_attention,
            "parameters": ours.policy.parameters,
        }
        options.json.write_text(json.dumps({"rows": rows, **facts}, indent=1) + "\n")
    return 0


def _peer_padding(batches: Sequence[list[TrainItem]]) -> float:
    """Share of padding in random batches that are padded to their longest."""
    rng = random.Random(1)
    real = padded = 0
    for batch in batches:
        mixed = rng.sample(batch, len(batch))
        for start in range(0, len(mixed), PEER_BATCH):
            part = [item.tokens for item in mixed[start : start + PEER_BATCH]]
            real, padded = real + sum(part), padded + len(part) * max(part)
    return 1.0 - real / padded


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
