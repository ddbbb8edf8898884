"""A data set with one problem of every kind that the judge's commands tell apart, and the commands themselves."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rltf import launch

ADD = "print(sum(map(int, input().split())))\n"
BURN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\nprint(7)\n"
CHECK = "def check(candidate):\n    assert {}\n"
PROGRAM = json.dumps({"problem_id": "fine", "code": ADD})
"""A line of a file of programs: one that passes."""

RECORDS: list[dict[str, Any]] = [
    {"id": "sum", "inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"], "solutions": [ADD, "print(3)\n"]},
    {"id": "fine", "inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"], "solutions": [ADD]},
    {"id": "wrong", "inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "8\n"], "solutions": [ADD]},
    {"id": "constant", "inputs": ["1", "2"], "outputs": ["odd one", "odd one"], "solutions": ["print('odd one')\n"]},
    {"id": "vacuous", "tests": ["pass", "True"], "solutions": ["x = 1\n"]},
    {
        "id": "weak",
        "tests": CHECK.format("isinstance(candidate(1), int)"),
        "entry_point": "f",
        "solutions": ["f = abs\n"],
    },
    {
        "id": "flaky",
        "fn_name": "f",
        "inputs": [[1]],
        "outputs": [0],
        "solutions": ["def f(x): return hash('a') % 2**60 - %d\n"],
    },
    {"id": "slow", "inputs": ["1"], "outputs": ["7"], "time_limit_s": 0.2, "solutions": [BURN.format(0.5)]},
    {"id": "tight", "inputs": ["1"], "outputs": ["7"], "time_limit_s": 0.5, "solutions": [BURN.format(0.35)]},
    {"id": "medium", "inputs": ["1"], "outputs": ["7"], "time_limit_s": 3.0, "solutions": [BURN.format(0.05)]},
    {
        "id": "check",
        "tests": CHECK.format("candidate(1) == 2"),
        "entry_point": "f",
        "solutions": ["def f(x): return x + 1\n"],
    },
    {"id": "broken", "tests": ["assert f(1) == "], "solutions": ["def f(x): return x\n"]},
    {"id": "none", "tests": ["assert f(1) == 9"]},
]


def every_kind(tmp_path: Path) -> Path:
    """A data set with one problem of every kind."""
    hashed = hash_of_a()
    file = tmp_path / "own.jsonl"
    records = [{"question": "q", **record} for record in RECORDS]
    for record in records:
        if record["id"] == "flaky":
            record["solutions"] = [record["solutions"][0].replace("%d", str(hashed))]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


@functools.cache
def hash_of_a() -> int:
    """hash('a') of the seed that programs are judged with, so that the flaky reference passes there and nowhere else."""
    command = [sys.executable, "-c", "print(hash('a') % 2**60)"]
    return int(
        subprocess.run(
            command, env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True, timeout=60
        ).stdout
    )


def run(*arguments: object) -> int:
    return launch.main([str(argument) for argument in arguments])


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]
